from __future__ import annotations

import numpy as np
import pytest

from segspec.errors import DataError
from segspec.proto.datum import Datum, read_datum
from segspec.proto.encode import integer, message
from segspec.proto.wire import Message


def shaped(channels: int, height: int, width: int) -> bytes:
    return b"".join((*integer(1, channels), *integer(2, height), *integer(3, width)))


def read(content: bytes) -> Datum:
    return read_datum(Message(content, 0, len(content), "db, key 1", DataError))


def test_bytes_are_channels_rows_columns() -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    found = read(shaped(2, 3, 4) + b"".join(message(4, (values.tobytes(),))) + b"".join(integer(5, 7)))
    np.testing.assert_array_equal(found.array, values)
    assert (found.encoded, found.label) == (b"", 7)


@pytest.mark.parametrize("packed", [True, False])
def test_real_numbers_packed_or_not(packed: bool) -> None:
    values = np.array([0.5, -1.25, 3.0], "<f4")
    one_by_one = b"".join(b"\x35" + value.tobytes() for value in values)
    found = read(shaped(3, 1, 1) + (b"".join(message(6, (values.tobytes(),))) if packed else one_by_one))
    assert found.array is not None and found.array.dtype == np.float32
    np.testing.assert_array_equal(found.array.ravel(), values)


def test_an_encoded_picture_is_handed_on() -> None:
    assert read(b"".join((*message(4, (b"PNG",)), *integer(7, 1)))) == Datum(None, b"PNG", 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        shaped(1, 2, 2) + b"".join(message(4, (b"abc",))),
        shaped(0, 2, 2) + b"".join(message(4, (b"abcd",))),
        shaped(1, 2, 2) + b"\x22\x09abc",
    ],
)
def test_damage_is_told_with_its_key(content: bytes) -> None:
    with pytest.raises(DataError, match="damaged at byte") as caught:
        read(content)
    assert caught.value.diagnostics[0].place == "db, key 1"
