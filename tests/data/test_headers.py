"""The sizes that headers tell are those of a reader of all kinds, or none."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segspec.data.headers import read_size


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (37, 21), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def with_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    "data",
    [
        encoded("PNG"),
        encoded("PNG", "P"),
        encoded("PNG", "1", (1, 70000)),
        encoded("JPEG"),
        encoded("JPEG", "L", progressive=True),
        encoded("JPEG", "CMYK", optimize=True),
        encoded("JPEG", exif=with_exif(), icc_profile=bytes(70000), comment=b"drawn"),
    ],
)
def test_headers_tell_the_size_as_stored(data: bytes) -> None:
    width, height = Image.open(io.BytesIO(data)).size
    assert read_size(data) == (height, width)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_other_kinds_are_left_to_others(kind: str) -> None:
    assert read_size(encoded(kind)) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_breaks_off_or_is_damaged_has_the_right_size_or_none(kind: str) -> None:
    whole, rng = encoded(kind), np.random.default_rng(0)
    for end in range(60):
        assert read_size(whole[:end]) in (None, (21, 37))
    for _ in range(500):
        data = bytearray(whole)
        data[int(rng.integers(2, 160)) % len(data)] = int(rng.integers(256))
        read_size(bytes(data))
    assert read_size(b"\xff\xd8" + b"\xff" * 40) is None
    assert read_size(b"\xff\xd8\xff\xe0\0\0" * 3) is None
