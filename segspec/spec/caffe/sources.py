"""Layers of a prototxt that deliver images and labels: which blobs they feed, and of which shapes.

Heights and widths that only the files would tell are None. Whether segspec can read the files is another matter.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from segspec.layers import by_type
from segspec.layers.data import DataLayer
from segspec.layers.stored import Data
from segspec.spec.caffe.fields import anywhere, messages, number_anywhere, text, texts
from segspec.spec.caffe.types import is_true
from segspec.spec.netspec import FedShape
from segspec.syntax.tree import Mapping, Scalar

Part = Literal["image", "label", "other"]

_ONE_NUMBER = frozenset(("Data", "ImageData", "WindowData", "MemoryData"))
"""Types whose label is one class an image, not a picture of labels."""

_SIZES = (
    *(("crop_height", "crop_width"), ("crop_h", "crop_w"), ("crop_size", "crop_size")),
    *(("new_height", "new_width"), ("height", "width")),
)
_COLOURED = frozenset(("data", "color", "hha", "image", "img", "rgb"))
"""Names that tops of Python layers have where they are pictures with three channels."""


@dataclass(frozen=True)
class Fed:
    """One blob that a source delivers.

    Attributes:
        top: its name in the file.
        part: what it is; `label` where a loss or a metric compares with it.
        shape: in Caffe's order, None for what the file does not tell; empty where nothing is known.
    """

    top: Scalar
    part: Part
    shape: FedShape


def is_source(layer: Mapping) -> bool:
    """Whether a layer delivers data, in whichever fork of Caffe: it reads no blob, and its type says so."""
    kind = text(layer, "type")
    known = by_type(kind)
    if known is not None:
        return issubclass(known, DataLayer)
    return layer.key("bottom") is None and layer.key("top") is not None and (kind.endswith("Data") or kind == "Python")


def label_names(layers: list[Mapping]) -> frozenset[str]:
    """The blobs that some loss or metric reads as its second bottom."""
    compared = [texts(layer, "bottom")[1:2] for layer in layers if _compares(layer)]
    return frozenset(bottom.text for bottoms in compared for bottom in bottoms)


def _compares(layer: Mapping) -> bool:
    kind = text(layer, "type")
    known = by_type(kind)
    return known.role in ("loss", "metric") if known else kind.endswith(("Loss", "Accuracy"))


def fed_blobs(layer: Mapping, labels: frozenset[str]) -> tuple[Fed, ...]:
    """What a source delivers, top by top.

    Args:
        layer: its message.
        labels: the blobs that losses and metrics of the net compare with.
    """
    tops = texts(layer, "top")
    compared = [top.text in labels or top.text == "label" for top in tops]
    if len(tops) > 1 and not any(compared) and text(layer, "type") != "DummyData":
        compared[1] = True
    parts: list[Part] = ["label" if each else "other" for each in compared]
    if False in compared:
        parts[compared.index(False)] = "image"
    shapes = list(_shapes(layer, tops, parts))
    return tuple(Fed(top, part, shape) for top, part, shape in zip(tops, parts, shapes, strict=True))


def feeds_labels_alone(layer: Mapping, labels: frozenset[str]) -> bool:
    """Whether all that a source delivers are labels; another source then has the images."""
    parts = {blob.part for blob in fed_blobs(layer, labels)}
    return parts == {"label"}


def pair_sources(images: DataLayer, labels: DataLayer | None) -> DataLayer:
    """The source of images with the labels of another: FCN and DIGITS keep them in two databases."""
    if isinstance(images, Data) and isinstance(labels, Data):
        return images.model_copy(
            update={"label_source": labels.source, "label_kind": None if labels.source else "pixels"}
        )
    return images


def _shapes(layer: Mapping, tops: list[Scalar], parts: list[Part]) -> Iterator[FedShape]:
    kind = text(layer, "type")
    if kind == "DummyData":
        yield from _dummy_shapes(layer, len(tops))
        return
    batch, size = _batch(layer), _size(layer)
    for index, (top, part) in enumerate(zip(tops, parts, strict=True)):
        if part == "label":
            single = kind in _ONE_NUMBER and index > 0
            yield (batch,) if single else (batch, 1, *_divided(size, layer))
        elif kind == "Python" and top.text not in _COLOURED:
            yield (batch, 1, *size)
        elif kind == "ImageSegData" and index > 1:
            yield (batch, 1, 1, 2)
        elif part == "other" and kind in _ONE_NUMBER:
            yield (batch,)
        else:
            yield (batch, _channels(layer), *size)


def _batch(layer: Mapping) -> int:
    found = number_anywhere(layer, "batch_size")
    if found is None:
        stated = python_parameters(layer).get("batch_size")
        found = stated if isinstance(stated, int) and stated > 0 else None
    return found or 1


def _size(layer: Mapping) -> tuple[int | None, int | None]:
    for height, width in _SIZES:
        size = (number_anywhere(layer, height), number_anywhere(layer, width))
        if None not in size:
            return size
    return (None, None)


def _divided(size: tuple[int | None, int | None], layer: Mapping) -> tuple[int | None, int | None]:
    """The size of a label map, which ENet's fork makes smaller than the image by `label_divide_factor`."""
    factor = number_anywhere(layer, "label_divide_factor") or 1
    height, width = size
    return (height and height // factor, width and width // factor)


def _channels(layer: Mapping) -> int:
    """Colours of a picture: what is declared, else 3 (blue, green, red)."""
    declared = number_anywhere(layer, "channels")
    colour = anywhere(layer, "is_color")
    if is_true(anywhere(layer, "force_gray")) or (colour is not None and not is_true(colour)):
        return 1
    return declared or 3


def _dummy_shapes(layer: Mapping, tops: int) -> Iterator[FedShape]:
    """One shape a top, or one for all: `shape` messages, or lists of `num`, `channels`, `height` and `width`."""
    dummy = next(iter(messages(layer, "dummy_data_param")), Mapping((), layer.span))
    shapes = [_numbers(shape, "dim") for shape in messages(dummy, "shape")]
    if not shapes:
        columns = [_numbers(dummy, name) for name in ("num", "channels", "height", "width")]
        length = max(map(len, columns))
        shapes = list(zip(*(column * length if len(column) == 1 else column for column in columns), strict=False))
    for index in range(tops):
        yield shapes[min(index, len(shapes) - 1)] if shapes else ()


def _numbers(node: Mapping, name: str) -> tuple[int, ...]:
    return tuple(item.value for item in texts(node, name) if isinstance(item.value, int) and item.value > 0)


def python_parameters(layer: Mapping) -> dict[object, object]:
    """What a Python layer's `param_str` says, where it is the text of a dictionary."""
    value = anywhere(layer, "param_str")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python finds odd in the text, such as `1if`
            found = ast.literal_eval(value.text) if isinstance(value, Scalar) and len(value.text) < 10_000 else {}
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
