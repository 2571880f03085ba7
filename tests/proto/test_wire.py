"""Protobuf's wire format: fields where they lie, and what is wrong with bytes that are none."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segspec.errors import DataError
from segspec.proto import encode
from segspec.proto.wire import BYTES, FIXED32, FIXED64, VARINT, Message, open_message, release


def message(content: bytes) -> Message:
    return Message(content, 0, len(content), "x", DataError)


@given(number=st.integers(1, 2**29 - 1), value=st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_there_and_back(number: int, value: int) -> None:
    (field,) = message(b"".join(encode.integer(number, value)))
    assert (field.number, field.kind, field.value) == (number, VARINT, value % 2**64)
    assert field.int32 == (value + 2**31) % 2**32 - 2**31
    assert message(b"".join(encode.integer(number, value))).integers(field) == [value]


@given(number=st.integers(1, 2**29 - 1), text=st.text(max_size=300).filter(lambda text: text.isprintable()))
def test_texts_there_and_back(number: int, text: str) -> None:
    content = message(b"".join(encode.text(number, text)))
    (field,) = content
    assert (field.number, field.kind, content.text(field)) == (number, BYTES, text)


def test_a_text_that_is_none_is_shown_as_well_as_it_can_be() -> None:
    content = message(b"\x0a\x02\xc3\x28")
    assert content.text(next(iter(content))) == "\N{REPLACEMENT CHARACTER}("


@given(
    width=st.sampled_from([4, 8]),
    number=st.sampled_from([5, 15, 16, 3000]),
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=4),
)
def test_runs_of_single_numbers_are_one_field(width: int, number: int, lengths: list[int]) -> None:
    kind, form, dtype = (FIXED32, "<f", np.float32) if width == 4 else (FIXED64, "<d", np.float64)
    tag = encode.integer(number, 0)[0][:-1]
    tag = bytes((tag[0] | kind, *tag[1:]))
    parts = [b"".join(tag + struct.pack(form, value) for value in range(length)) for length in lengths]
    content = message(b"\x08\x01".join(parts) + b"\x08\x01")
    runs = [field for field in content if field.kind == kind]
    assert [field.number for field in runs] == [number] * len(lengths)
    for field, length in zip(runs, lengths, strict=True):
        np.testing.assert_array_equal(content.reals(field, dtype), np.arange(length))


def test_packed_numbers_are_a_view() -> None:
    content = message(b"\x2a\x08" + struct.pack("<2f", 1, 2) + b"\x0a\x03\x01\xac\x02")
    reals, integers = content
    array = content.reals(reals, np.float32)
    assert array.tolist() == [1, 2] and not array.flags.owndata
    assert content.integers(integers) == [1, 300]


def test_a_mistake_is_of_the_kind_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="x: damaged at byte 1: expected the rest of a number"):
        list(message(b"\x80"))
    with pytest.raises(DataError, match="no such file"):
        open_message(tmp_path / "none", DataError)


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_within_them_or_a_mistake(content: bytes) -> None:
    with contextlib.suppress(DataError):
        for field in message(content):
            assert 0 < field.start <= field.end <= len(content)


def test_a_view_is_read_again_after_its_pages_were_given_back(tmp_path: Path) -> None:
    values = np.arange(10_000, dtype=np.float32)
    (tmp_path / "x").write_bytes(b"".join(encode.blob(1, values)))
    outer = open_message(tmp_path / "x", DataError)
    inner = outer.message(next(iter(outer)))
    array = inner.reals(next(field for field in inner if field.number == 5), np.float32)
    for part in (array, array[5000:], array[:1], array[:0], array[::-1], array[:-2000:-1], values):
        release(part)
    np.testing.assert_array_equal(array, values)
