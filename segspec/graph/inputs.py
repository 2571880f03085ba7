"""What a net is fed: the shape of every input, for one size of image."""

from __future__ import annotations

from segspec.errors import SpecError
from segspec.graph.build import image_inputs
from segspec.layers.base import Blob
from segspec.layers.data import DataLayer
from segspec.ops.order import stored_shape
from segspec.spec.netspec import FedShape, NetSpec, is_label


def net_inputs(spec: NetSpec, size: tuple[int, int] | None, batch: int = 1, *, labels: bool = True) -> dict[str, Blob]:
    """The inputs of a net.

    Args:
        spec: the net.
        size: (height, width) of the images; by default what the spec declares.
        batch: images in a batch; every input that the file gives as many of as of images follows it.
        labels: whether labels are fed.

    Raises:
        SpecError: no size is given or declared, and the net reads images.
    """
    shapes: dict[str, FedShape] = {**spec.fed, **spec.declared}
    flat = len(shapes.get("data", ())) not in (0, 4)
    size = size or declared_size(spec) or ((1, 1) if flat else None)
    if size is None:
        hint = (
            "call check with --size 360x480, that of any one image if they differ; or have all resized or cut to one, "
            "which batches of several need: new_height and new_width, or crop_size; or add "
            "'input: {height: 360, width: 480}' to a spec in YAML"
        )
        raise SpecError("the size of the images is not known", place=spec.source.name, hint=hint)
    inputs = image_inputs(batch, *size, image_channels(spec), labels=labels)
    if labels and any(layer.labels == "image" for layer in spec.data.values()):
        inputs["label"] = Blob((batch,), "int32")
    coarse = next((layer for layer in spec.data.values() if layer.label_divisor > 1), None)
    if labels and coarse is not None:
        inputs["label"] = Blob((batch, *coarse.label_size(size), 1), "int32")
        shapes.pop("label", None)
    own = shapes.get("data", ())
    for name, shape in shapes.items():
        if (name != "data" or flat) and (labels or not is_label(name)):
            first = batch if shape[:1] == own[:1] or name in spec.fed else shape[0]
            inputs[name] = _blob(name, (first, *_resized(shape, own, size)), size)
    return inputs


def source_inputs(layer: DataLayer, size: tuple[int, int], batch: int) -> dict[str, Blob]:
    """What a source feeds: images of one (height, width), and labels of the kind it has."""
    inputs = image_inputs(batch, *size, layer.channels)
    label = (batch,) if layer.labels == "image" else (batch, *layer.label_size(size), 1)
    return {**inputs, "label": Blob(label, "int32")}


def image_channels(spec: NetSpec) -> int:
    """Colours of the images a net is fed."""
    layer = spec.data.get("train") or spec.data.get("test")
    if layer is not None:
        return layer.channels
    fed = spec.fed.get("data", ())
    return (len(fed) == 4 and fed[1]) or (spec.input.channels if spec.input else 3)


def declared_size(spec: NetSpec) -> tuple[int, int] | None:
    """The (height, width) a spec declares: of its training data, else its nominal input."""
    for layer in spec.data.values():
        if layer.size is not None:
            return layer.size
    if spec.input is not None:
        return (spec.input.height, spec.input.width)
    match spec.fed.get("data"):
        case (_, _, int(height), int(width)):
            return (height, width)
    return None


def _resized(shape: FedShape, own: FedShape, size: tuple[int, int]) -> FedShape:
    """All but the batch of an input: in the same proportion to images of another size as to those declared."""
    match (shape, own):
        case ((_, channels, int(height), int(width)), (_, _, int(rows), int(columns))):
            return (channels, max(1, height * size[0] // rows), max(1, width * size[1] // columns))
    return shape[1:]


def _blob(name: str, shape: FedShape, size: tuple[int, int]) -> Blob:
    """An input as it is stored; heights and widths that only files tell are those of the images."""
    ends = (*(None,) * (len(shape) - 2), *size) if len(shape) > 2 else shape
    known = tuple(end or 1 if number is None else number for number, end in zip(shape, ends, strict=True))
    return Blob(stored_shape(known), "int32" if is_label(name) else "float32")
