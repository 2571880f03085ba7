from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segspec.data import decode
from segspec.data.decode import read_image
from segspec.errors import DataError

HEIGHT, WIDTH = 12, 18


def colors() -> np.ndarray:
    """A smooth picture in blue, green, red."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([rows * 20, columns * 14, 255 - rows * 10], -1).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb() -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(colors()[..., ::-1]))


def with_alpha() -> Image.Image:
    picture = rgb().convert("RGBA")
    picture.putalpha(77)
    return picture


def turned(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(rgb(), kind, exif=exif)


def opencv(suffix: str, array: np.ndarray) -> bytes:
    return cv2.imencode(suffix, array)[1].tobytes()


GREY = colors()[..., 1]
EXACT: dict[str, tuple[bytes, np.ndarray]] = {
    "png": (encoded(rgb(), "PNG"), colors()),
    "interlaced-free png, level 0": (encoded(rgb(), "PNG", compress_level=0), colors()),
    "alpha dropped": (encoded(with_alpha(), "PNG"), colors()),
    "palette": (encoded(rgb().quantize(256), "PNG"), np.array(rgb().quantize(256).convert("RGB"))[..., ::-1]),
    "palette with transparency": (
        encoded(rgb().quantize(16), "PNG", transparency=0),
        np.array(rgb().quantize(16).convert("RGB"))[..., ::-1],
    ),
    "grey png": (encoded(Image.fromarray(GREY), "PNG"), np.stack([GREY] * 3, -1)),
    "grey and alpha": (encoded(Image.fromarray(GREY).convert("LA"), "PNG"), np.stack([GREY] * 3, -1)),
    "one bit": (encoded(Image.fromarray(GREY > 100), "PNG"), np.stack([(GREY > 100) * np.uint8(255)] * 3, -1)),
    "16-bit grey": (encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"), np.stack([GREY] * 3, -1)),
    "16-bit colour": (opencv(".png", colors().astype(np.uint16) * 257), colors()),
    "16-bit tiff": (opencv(".tiff", colors().astype(np.uint16) * 257), colors()),
    "bmp": (encoded(rgb(), "BMP"), colors()),
    "ppm": (encoded(rgb(), "PPM"), colors()),
    "tiff": (encoded(rgb(), "TIFF"), colors()),
    "lzw tiff": (encoded(rgb(), "TIFF", compression="tiff_lzw"), colors()),
    "many pages": (encoded(rgb(), "TIFF", save_all=True, append_images=[Image.new("RGB", (4, 4))]), colors()),
    "lossless webp": (encoded(rgb(), "WEBP", lossless=True), colors()),
    "exif orientation, png": (turned("PNG"), np.rot90(colors(), -1)),
    "bytes after the end": (encoded(rgb(), "PNG") + b"trailing", colors()),
}


@pytest.mark.parametrize("kind", EXACT)
def test_odd_but_valid_pictures_decode_exactly(tmp_path: Path, kind: str) -> None:
    data, expected = EXACT[kind]
    path = tmp_path / "größe und leer.bin"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize(
    "data",
    [
        encoded(rgb(), "JPEG", quality=98),
        encoded(rgb(), "JPEG", quality=98, progressive=True),
        encoded(rgb(), "JPEG", quality=98) + b"\0" * 40,
        encoded(Image.merge("CMYK", [*rgb().split(), Image.new("L", rgb().size)]).convert("RGB"), "JPEG", quality=98),
    ],
    ids=["baseline", "progressive", "padded", "from CMYK"],
)
def test_jpeg_decodes_in_size_and_type(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert (read_image(path).shape, read_image(path).dtype) == ((HEIGHT, WIDTH, 3), np.uint8)


def test_cmyk_is_shown_in_colour(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))
    blue, green, red = read_image(path)[4, 4].tolist()
    assert red > 180 and blue < 80 and green < 80


def test_exif_orientation_is_applied_as_viewers_do(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(turned("JPEG"))
    assert read_image(path).shape == (WIDTH, HEIGHT, 3)


def test_grey_is_read_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(GREY), "PNG"))
    np.testing.assert_array_equal(read_image(path, 1), GREY[..., None])
    path.write_bytes(encoded(rgb(), "PNG"))
    assert read_image(path, 1).shape == (HEIGHT, WIDTH, 1)


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.png", "")
    return buffer.getvalue()


def array_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, GREY)
    return buffer.getvalue()


def flipped(data: bytes) -> bytes:
    middle = data.index(b"IDAT") + 12
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def bomb() -> bytes:
    """A small PNG whose header claims 60000 x 60000 pixels."""
    data = encoded(rgb(), "PNG")
    header = b"IHDR" + (60000).to_bytes(4, "big") * 2 + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def half(kind: str, **options: object) -> bytes:
    data = encoded(rgb(), kind, **options)
    return data[: len(data) * 6 // 10]


BAD: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "empty": (lambda: b"", "empty file", "again"),
    "zero bytes": (lambda: bytes(500), "only zero bytes", "again"),
    "text": (lambda: b"this is not a picture", "is not a picture", "PNG or JPEG"),
    "one byte": (lambda: b"\x89", "is not a picture", "PNG or JPEG"),
    "web page": (lambda: b"\n<!DOCTYPE html><html>404</html>", "is a web page", "download"),
    "git lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS", "git lfs pull"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG", "export"),
    "xml": (lambda: b"<?xml version='1.0'?><annotation/>", "XML", "export"),
    "pdf": (lambda: b"%PDF-1.7 ...", "PDF", "export"),
    "zip": (archive, "archive", "unpack"),
    "numpy": (array_file, "NumPy", "PNG"),
    "heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(40), "HEIC", "export"),
    "bomb": (bomb, "too many pixels", "tiles"),
    "bit flip": (lambda: flipped(encoded(rgb(), "PNG")), "damaged picture", "again"),
    "png signature only": (lambda: encoded(rgb(), "PNG")[:8], "picture", "again"),
    "half a png": (lambda: half("PNG"), "damaged picture", "again"),
    "half a baseline jpeg": (lambda: half("JPEG"), "damaged picture", "again"),
    "half a progressive jpeg": (lambda: half("JPEG", progressive=True), "damaged picture", "again"),
    "jpeg without its end": (lambda: encoded(rgb(), "JPEG")[:-30], "damaged picture", "again"),
    "half a bmp": (lambda: half("BMP"), "damaged picture", "again"),
    "half a gif": (lambda: half("GIF"), "damaged picture", "again"),
    "half a tiff": (lambda: half("TIFF"), "damaged picture", "again"),
    "half a webp": (lambda: half("WEBP", lossless=True), "picture", "again"),
    "half a ppm": (lambda: half("PPM"), "damaged picture", "again"),
    "float tiff": (lambda: opencv(".tiff", colors().astype(np.float32)), "picture", "8-bit"),
    "tga": (lambda: encoded(rgb(), "TGA"), "cannot decode a TGA picture", "PNG"),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_bad_picture_is_one_error_with_a_remedy(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    make, message, hint = BAD[kind]
    path = tmp_path / "bad.png"
    path.write_bytes(make())
    with pytest.raises(DataError) as caught:
        read_image(path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.place == str(path)
    assert message in diagnostic.message and hint in diagnostic.hint
    assert "OpenCV" not in capfd.readouterr().err


def test_places_that_hold_no_picture(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    cases = {
        "none.png": "no such file",
        ".": "is a folder",
        "loop": "cannot be read",
        "gone": "no such file",
        "pipe": "not a regular file",
        "x" * 300: "cannot be read",
        "zero\0byte": "cannot be read",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message) as caught:
            read_image(f"{tmp_path}/{name}")
        assert len(caught.value.diagnostics) == 1 and caught.value.diagnostics[0].hint


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may read everything")
def test_a_file_without_rights(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(rgb(), "PNG"))
    path.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        read_image(path)


def test_large_files_and_pictures_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(rgb(), "PNG"))
    monkeypatch.setattr(decode, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(DataError, match="too many pixels: 18 x 12"):
        read_image(path)
    monkeypatch.setattr(decode, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="too large a file"):
        read_image(path)


def test_damage_anywhere_is_an_error_or_a_picture_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged"
    whole = [encoded(rgb(), kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP")]
    refused = 0
    for number in range(240):
        data = bytearray(whole[number % len(whole)])
        start = int(rng.integers(len(data)))
        data[start : start + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(9)))
        path.write_bytes(data)
        try:
            read_image(path)
        except DataError:
            refused += 1
    assert 60 < refused < 240
