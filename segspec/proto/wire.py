"""Protobuf's wire format, read where it lies: a message is a stretch of a mapped file, and no number is copied.

A message is a row of fields. Each begins with a tag, the field's number times 8 plus its kind, and then holds a varint
(seven bits a byte, the lowest first, the top bit set in all but the last), 4 or 8 bytes, or a length and as many bytes.
Source: protobuf.dev, Encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import byte_bounds

from segspec.errors import SegspecError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10
_GREATEST_NUMBER = 2**29 - 1


class Field(NamedTuple):
    """One field, or a run of fields with the same number that each hold 4 or 8 bytes.

    Attributes:
        number: which field of the message it is.
        kind: VARINT, FIXED64, BYTES or FIXED32.
        value: of a varint, as an unsigned number of 64 bits; else 0.
        start, end: the offsets of its content: the bytes after a length, or from a run's first value to its last.
        stride: bytes from one value of a run to the next.
    """

    number: int
    kind: int
    value: int
    start: int
    end: int
    stride: int = 0

    @property
    def int32(self) -> int:
        """The value of a varint as a signed number of 32 bits; the bits above do not count."""
        return _signed(self.value, 32)


@dataclass(frozen=True)
class Message:
    """A stretch of a buffer that holds one message; iterating over it gives its fields.

    Attributes:
        buffer: the whole file.
        start, end: the stretch.
        place: the file's name, for messages.
        fault: what is raised where the bytes are not what they should be.
    """

    buffer: mmap.mmap | bytes
    start: int
    end: int
    place: str
    fault: type[SegspecError]

    def __iter__(self) -> Iterator[Field]:
        at = self.start
        while at < self.end:
            field = self._field(at)
            yield field
            at = field.end

    def message(self, field: Field) -> Message:
        """The message that a field of BYTES holds."""
        return Message(self.buffer, field.start, field.end, self.place, self.fault)

    def text(self, field: Field) -> str:
        """The text that a field of BYTES holds."""
        return self.buffer[field.start : field.end].decode("utf-8", "replace")

    def integers(self, field: Field) -> list[int]:
        """The whole numbers of a repeated field: those packed into its bytes, or its own."""
        if field.kind == VARINT:
            return [_signed(field.value, 64)]
        at, found = field.start, []
        while at < field.end:
            value, at = self._varint(at, field.end)
            found.append(_signed(value, 64))
        return found

    def reals(self, field: Field, dtype: type[np.float32 | np.float64]) -> npt.NDArray[np.generic]:
        """The real numbers of a repeated field, packed or not, as a view of the file."""
        kind = np.dtype(dtype).newbyteorder("<")
        stride = field.stride or kind.itemsize
        count, rest = divmod(field.end - field.start + stride - kind.itemsize, stride)
        if rest:
            raise self.error(field.start, f"a multiple of {kind.itemsize} bytes, found {field.end - field.start}")
        return np.ndarray((count,), kind, self.buffer, field.start, (stride,))

    def error(self, offset: int, expected: str) -> SegspecError:
        """What to raise where the bytes are not what they should be."""
        hint = "is it a binary file of Caffe, and whole?"
        return self.fault(f"damaged at byte {offset}: expected {expected}", place=self.place, hint=hint)

    def _field(self, tag_at: int) -> Field:
        tag, at = self._varint(tag_at, self.end)
        number, kind = tag >> 3, tag & 7
        if not 1 <= number <= _GREATEST_NUMBER:
            raise self.error(tag_at, f"a field's number from 1 to 2^29 - 1, found {number}")
        if kind == VARINT:
            value, end = self._varint(at, self.end)
            return Field(number, kind, value, at, end)
        if kind == BYTES:
            length, start = self._varint(at, self.end)
            if length > self.end - start:
                raise self.error(at, f"a length of at most {self.end - start}, found {length}")
            return Field(number, kind, 0, start, start + length)
        if kind not in _WIDTH:
            raise self.error(tag_at, f"a field of kind 0, 1, 2 or 5, found {kind}")
        if at + _WIDTH[kind] > self.end:
            raise self.error(at, f"{_WIDTH[kind]} bytes, found {self.end - at}")
        stride = at - tag_at + _WIDTH[kind]
        return Field(number, kind, 0, at, tag_at + stride * self._run(tag_at, at, stride), stride)

    def _run(self, tag_at: int, at: int, stride: int) -> int:
        """How many fields in a row begin with the same tag, a stride apart: looked for in ever longer stretches."""
        tag = np.frombuffer(self.buffer, np.uint8, at - tag_at, tag_at)
        count, ahead = 1, 8
        while True:
            ahead = min(2 * ahead, (self.end - tag_at) // stride - count)
            bytes_ahead = np.frombuffer(self.buffer, np.uint8, ahead * stride, tag_at + count * stride)
            same = (bytes_ahead.reshape(ahead, stride)[:, : tag.size] == tag).all(axis=1)
            equal = ahead if same.all() else int(same.argmin())
            count += equal
            if equal < ahead or not ahead:
                return count

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """The number that begins at an offset, and the offset behind it."""
        if at < end and (byte := self.buffer[at]) < 0x80:  # most are that short
            return byte, at + 1
        value = 0
        for index in range(min(_LONGEST_VARINT, end - at)):
            byte = self.buffer[at + index]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return value & (2**64 - 1), at + index + 1
        if end - at >= _LONGEST_VARINT:
            raise self.error(at, f"a number of at most {_LONGEST_VARINT} bytes")
        raise self.error(end, "the rest of a number")


def release(array: npt.NDArray[np.generic]) -> None:
    """Gives back the memory that a view of a mapped file took while it was read; it can be read again all the same."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and array.size:
        start = np.frombuffer(base, np.uint8, 1).ctypes.data
        low, high = (address - start for address in byte_bounds(array))
        first = -(-low // mmap.PAGESIZE) * mmap.PAGESIZE
        if high > first:
            base.madvise(mmap.MADV_DONTNEED, first, high - first)


def _signed(value: int, bits: int) -> int:
    value %= 2**bits
    return value - 2**bits if value >= 2 ** (bits - 1) else value


def open_message(path: Path, fault: type[SegspecError]) -> Message:
    """The message that a file holds, mapped into memory.

    Args:
        path: the file.
        fault: the kind of mistake that a damaged file is.

    Raises:
        SegspecError: of that kind, when the file is missing, empty or cannot be read.
    """
    try:
        with path.open("rb") as file:
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise fault("no such file", place=str(path)) from None
    except OSError as error:
        raise fault(f"cannot be read: {error.strerror or error}", place=str(path)) from None
    except ValueError:
        raise fault("the file is empty", place=str(path)) from None
    return Message(buffer, 0, len(buffer), str(path), fault)
