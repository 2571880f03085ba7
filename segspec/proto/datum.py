"""Caffe's Datum: one image with its class number, or one map of labels, as databases keep them.

Source: BVLC Caffe, caffe.proto and io.cpp.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segspec.proto.blob import Array
from segspec.proto.wire import BYTES, FIXED32, VARINT, Message

_SIZES = (1, 2, 3)  # channels, height, width
_BYTES, _LABEL, _REALS, _ENCODED = 4, 5, 6, 7


class Datum(NamedTuple):
    """One image.

    Attributes:
        array: uint8 or float32 (channels, height, width); None where it is encoded.
        encoded: the bytes of a picture such as a PNG; empty where it is not encoded.
        label: the class number.
    """

    array: Array | None
    encoded: bytes
    label: int


def read_datum(message: Message) -> Datum:
    """Reads a Datum.

    Raises:
        SegspecError: the message is damaged, or its bytes do not fill its shape.
    """
    fields = list(message)
    whole = {field.number: field.int32 for field in fields if field.kind == VARINT}
    stretches = [field for field in fields if (field.number, field.kind) == (_BYTES, BYTES)]
    content = bytes(message.buffer[stretches[-1].start : stretches[-1].end]) if stretches else b""
    if whole.get(_ENCODED):
        return Datum(None, content, whole.get(_LABEL, 0))
    reals = [message.reals(f, np.float32) for f in fields if f.number == _REALS and f.kind in (FIXED32, BYTES)]
    values = np.frombuffer(content, np.uint8) if content or not reals else np.concatenate(reals)
    shape = tuple(whole.get(number, 0) for number in _SIZES)
    if min(shape) < 1 or shape[0] * shape[1] * shape[2] != values.size:
        sizes = " x ".join(map(str, shape))
        raise message.error(message.start, f"{sizes} numbers (channels x height x width), found {values.size}")
    return Datum(values.reshape(shape), b"", whole.get(_LABEL, 0))
