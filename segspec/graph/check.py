"""`segspec check`: builds a net as training would and tells what it found."""

from __future__ import annotations

import json as json_text

from segspec.errors import SpecError
from segspec.graph.build import build, image_inputs
from segspec.graph.summary import as_record, as_text, summarize
from segspec.layers.base import Blob
from segspec.ops.order import stored_shape
from segspec.spec.net import NetSpec
from segspec.spec.wire import INPUTS


def check(spec: NetSpec, size: tuple[int, int] | None = None, *, json: bool = False) -> str:
    """The table of a net's layers and costs.

    Args:
        spec: the net.
        size: (height, width) of the images; by default what the spec declares.
        json: whether to give JSON rather than a table.

    Raises:
        SpecError: when shapes do not fit, or no size is known.
    """
    layer = spec.data.get("train") or spec.data.get("test")
    channels = layer.channels if layer else spec.input.channels if spec.input else 3
    size = size or declared_size(spec)
    if size is None:
        hint = "add 'input: {height: 360, width: 480}' to the spec, or call check with --size 360x480"
        raise SpecError("the size of the images is not known", place=spec.source.name, hint=hint)
    inputs = {**image_inputs(1, *size, channels), **_declared_inputs(spec)}
    summary = summarize(build(spec, "TRAIN", inputs))
    if json:
        return json_text.dumps(as_record(summary), indent=1)
    title = f"{spec.name}, images of {size[0]}x{size[1]}x{channels}"
    if spec.classes is not None:
        title += f", {spec.classes.count} classes"
    return f"{title}\n\n{as_text(summary, layer.batch_size if layer else 1)}"


def _declared_inputs(spec: NetSpec) -> dict[str, Blob]:
    """The inputs beside images and labels, which a prototxt may declare with their shapes."""
    others = {name: shape for name, shape in spec.declared.items() if name not in INPUTS}
    return {name: Blob(stored_shape(shape)) for name, shape in others.items()}


def declared_size(spec: NetSpec) -> tuple[int, int] | None:
    """The (height, width) a spec declares: of its training data, else its nominal input."""
    for layer in spec.data.values():
        if layer.size is not None:
            return layer.size
    return (spec.input.height, spec.input.width) if spec.input else None
