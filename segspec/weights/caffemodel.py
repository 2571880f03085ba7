"""A `.caffemodel`: the layers of a net, each with its name, its type and its numbered blobs.

Both forms are read: `layer`, and `layers` of the files before 2015. Source: BVLC Caffe, caffe.proto and blob.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segspec.errors import WeightsError
from segspec.weights.wire import BYTES, FIXED32, FIXED64, VARINT, Field, Message, open_message

Array = npt.NDArray[np.generic]

_LAYER, _LAYERS = 100, 2
_DIMENSIONS = (1, 2, 3, 4)  # num, channels, height and width of the files before 2015
_DATA, _SHAPE, _DOUBLES = 5, 7, 8
_MOST_AXES = 32


@dataclass(frozen=True)
class CaffeLayer:
    """A layer of a file.

    Attributes:
        name: of the layer.
        type: such as `Convolution`; empty where a file before 2015 holds a number instead.
        blobs: its arrays, in Caffe's order and shapes.
    """

    name: str
    type: str
    blobs: tuple[Array, ...]


def read_caffemodel(path: Path) -> tuple[CaffeLayer, ...]:
    """The layers of a file, in its order; a name may stand there more than once.

    The arrays are views of the file, which is mapped into memory: they cost nothing until they are used.

    Raises:
        WeightsError: the file is missing, damaged or no net.
    """
    net = open_message(path)
    layers = []
    for field in net:
        if field.kind == BYTES and field.number == _LAYER:
            layers.append(_layer(net.message(field), name=1, type=2, blobs=7))
        elif field.kind == BYTES and field.number == _LAYERS:
            layers.append(_old_layer(net.message(field)))
    if not layers:
        raise WeightsError("holds no layers", place=str(path), hint="is it a .caffemodel?")
    return tuple(layers)


def _layer(message: Message, *, name: int, type: int | None, blobs: int) -> CaffeLayer:
    """A layer whose parts stand in the fields of these numbers."""
    texts = {name: ""}
    found = []
    for field in message:
        if field.kind == BYTES and field.number in (name, type):
            texts[field.number] = message.text(field)
        elif field.kind == BYTES and field.number == blobs:
            found.append(message.message(field))
    called = f"layer '{texts[name]}', blob"
    arrays = tuple(read_blob(blob, f"{called} {index}") for index, blob in enumerate(found))
    return CaffeLayer(texts[name], texts.get(type or 0, ""), arrays)


def _old_layer(message: Message) -> CaffeLayer:
    """A layer of a file before 2015; in the oldest, name and blobs stand in a message within it."""
    within = [message.message(field) for field in message if (field.number, field.kind) == (1, BYTES)]
    if within:
        return _layer(within[-1], name=1, type=2, blobs=50)
    return _layer(message, name=4, type=None, blobs=6)


def read_blob(message: Message, subject: str) -> Array:
    """The array of a BlobProto, as float32 or float64.

    Args:
        message: the blob.
        subject: what it is, for the message.

    Raises:
        WeightsError: the numbers do not fill the shape.
    """
    fields = list(message)
    array = _numbers(message, fields)
    shape = _shape(message, fields)
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0 or math.prod(shape) != array.size:
        sizes = "x".join(map(str, shape[:_MOST_AXES])) or "a single number"
        raise message.error(
            message.start, f"as many numbers in {subject} as its shape {sizes} says, found {array.size}"
        )
    return array.reshape(shape)


def _numbers(message: Message, fields: list[Field]) -> Array:
    """The values: doubles where there are any, as in Caffe."""
    for number, kind, dtype in ((_DOUBLES, FIXED64, np.float64), (_DATA, FIXED32, np.float32)):
        parts = [message.reals(f, dtype) for f in fields if f.number == number and f.kind in (kind, BYTES)]
        if any(part.size for part in parts):
            return parts[0] if len(parts) == 1 else np.concatenate(parts)
    return np.empty(0, np.float32)


def _shape(message: Message, fields: list[Field]) -> tuple[int, ...]:
    """The shape; four single sizes count before it, as in Caffe."""
    single = {field.number: field.integer for field in fields if field.kind == VARINT and field.number in _DIMENSIONS}
    if single:
        return tuple(single.get(number, 0) for number in _DIMENSIONS)
    shapes = [message.message(field) for field in fields if (field.number, field.kind) == (_SHAPE, BYTES)]
    return tuple(size for shape in shapes for size in _sizes(shape))


def _sizes(shape: Message) -> Iterator[int]:
    for field in shape:
        if field.number == 1 and field.kind in (VARINT, BYTES):
            yield from shape.integers(field)
