"""Writing protobuf's wire format: a message as pieces that are joined in the end, so that arrays are copied once."""

from __future__ import annotations

import numpy as np

from segspec.proto.blob import Array
from segspec.proto.wire import BYTES, VARINT

Pieces = tuple[bytes | memoryview, ...]


def integer(number: int, value: int) -> Pieces:
    """A field that holds a whole number of at most 64 bits."""
    return (_varint(number << 3 | VARINT) + _varint(value),)


def text(number: int, value: str) -> Pieces:
    """A field that holds a text."""
    return message(number, (value.encode(),))


def message(number: int, content: Pieces) -> Pieces:
    """A field that holds a message, or bytes."""
    return (_varint(number << 3 | BYTES) + _varint(sum(map(len, content))), *content)


def blob(number: int, array: Array) -> Pieces:
    """A field that holds a BlobProto: shape and float32 numbers, packed."""
    shape = message(7, message(1, tuple(map(_varint, array.shape))))
    values = np.ascontiguousarray(array, np.dtype("<f4")).reshape(-1).view(np.uint8).data
    return message(number, (*shape, *message(5, (values,))))


def _varint(value: int) -> bytes:
    value %= 2**64
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*head, value))
