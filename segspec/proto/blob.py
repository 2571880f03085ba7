"""Caffe's BlobProto: an array of any shape, as weights, histories of a solver and mean images are kept.

Source: BVLC Caffe, caffe.proto and blob.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from segspec.proto.wire import BYTES, FIXED32, FIXED64, VARINT, Field, Message

Array = npt.NDArray[np.generic]

_DIMENSIONS = (1, 2, 3, 4)  # num, channels, height and width of the files before 2015
_DATA, _SHAPE, _DOUBLES = 5, 7, 8
_MOST_AXES = 32


def read_blob(message: Message, subject: str) -> Array:
    """The array of a BlobProto, as float32 or float64.

    Args:
        message: the blob.
        subject: what it is, for the message.

    Raises:
        SegspecError: the message is damaged, or the numbers do not fill the shape.
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
    single = {field.number: field.int32 for field in fields if field.kind == VARINT and field.number in _DIMENSIONS}
    if single:
        return tuple(single.get(number, 0) for number in _DIMENSIONS)
    shapes = [message.message(field) for field in fields if (field.number, field.kind) == (_SHAPE, BYTES)]
    return tuple(size for shape in shapes for size in _sizes(shape))


def _sizes(shape: Message) -> Iterator[int]:
    for field in shape:
        if field.number == 1 and field.kind in (VARINT, BYTES):
            yield from shape.integers(field)
