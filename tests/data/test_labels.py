from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from segspec.data import labels
from segspec.data.labels import read_label
from segspec.data.palette import palette_mask
from segspec.errors import DataError
from segspec.spec.classes import ClassTable

TABLE = ClassTable(("sky", "road", "car"), ((128, 128, 128), (128, 64, 128), (64, 0, 128)), 255, (0, 0, 0))
BINARY = ClassTable(("background", "object"), ((0, 0, 0), (255, 255, 255)))
VALUES = np.array([[0, 0, 1, 1], [2, 2, 255, 1], [0, 1, 2, 2]], np.uint8)
COLORS = np.array([*TABLE.colors, *[(0, 0, 0)] * 253], np.uint8)[VALUES]


def encoded(array: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(buffer, kind, **options)
    return buffer.getvalue()


def palette(values: np.ndarray, colors: list[int]) -> Image.Image:
    picture = Image.fromarray(values)
    picture.putpalette(colors + [7] * (768 - len(colors)))
    return picture


def few_bits(depth: int) -> bytes:
    """A grey PNG of 2 or 4 bits a pixel, which Pillow cannot write."""
    values = np.where(VALUES == 255, 1, VALUES)
    per_byte = 8 // depth
    rows = b""
    for row in values.tolist():
        padded = [*row, *[0] * (-len(row) % per_byte)]
        packed = bytes(
            sum(value << (8 - depth * (place + 1)) for place, value in enumerate(padded[start : start + per_byte]))
            for start in range(0, len(padded), per_byte)
        )
        rows += b"\0" + packed

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", VALUES.shape[1], VALUES.shape[0], depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


NO_VOID = np.where(VALUES == 255, 1, VALUES)
EXACT: dict[str, tuple[bytes, np.ndarray]] = {
    "grey png": (encoded(VALUES), VALUES),
    "grey tiff": (encoded(VALUES, "TIFF"), VALUES),
    "grey bmp": (encoded(VALUES, "BMP"), VALUES),
    "pgm": (encoded(VALUES, "PPM"), VALUES),
    "tga": (encoded(VALUES, "TGA"), VALUES),
    "gif": (encoded(NO_VOID, "GIF"), NO_VOID),
    "grey and alpha": (encoded(Image.fromarray(VALUES).convert("LA")), VALUES),
    "16-bit png": (encoded(VALUES.astype(np.uint16)), VALUES),
    "16-bit tiff": (encoded(VALUES.astype(np.uint16), "TIFF"), VALUES),
    "32-bit tiff": (encoded(VALUES.astype(np.int32), "TIFF"), VALUES),
    "one bit": (encoded(VALUES == 1), (VALUES == 1).astype(np.uint8)),
    "two bits": (few_bits(2), NO_VOID),
    "four bits": (few_bits(4), NO_VOID),
    "palette, other colours": (encoded(palette(VALUES, [9, 9, 9, 200, 0, 0])), VALUES),
    "palette of two bits": (encoded(palette(NO_VOID, [9, 9, 9, 200, 0, 0]), bits=2), NO_VOID),
    "palette with transparency": (encoded(palette(VALUES, [9, 9, 9]), transparency=0), VALUES),
    "three equal channels": (encoded(np.stack([VALUES] * 3, -1)), VALUES),
    "three equal channels and alpha": (encoded(np.dstack([VALUES] * 3 + [VALUES * 0 + 255])), VALUES),
    "colours of the table": (encoded(COLORS), VALUES),
    "colours, bmp": (encoded(COLORS, "BMP"), VALUES),
    "colours, lossless webp": (encoded(COLORS, "WEBP", lossless=True), VALUES),
    "colours, quantised palette": (encoded(Image.fromarray(COLORS).convert("RGBA")), VALUES),
    "grey colour of a class": (encoded(np.full((2, 2, 3), 128, np.uint8)), np.zeros((2, 2), np.uint8)),
}


@pytest.mark.parametrize("kind", EXACT)
def test_odd_but_valid_labels_decode_exactly(tmp_path: Path, kind: str) -> None:
    data, expected = EXACT[kind]
    path = tmp_path / "ein label.bin"
    path.write_bytes(data)
    found = read_label(path, TABLE)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


def with_orientation(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture, exif=exif)


@pytest.mark.parametrize("picture", [Image.fromarray(VALUES), palette(VALUES, [9, 9, 9])], ids=["grey", "palette"])
def test_labels_are_turned_as_their_images_are(tmp_path: Path, picture: Image.Image) -> None:
    (tmp_path / "a.png").write_bytes(with_orientation(picture))
    np.testing.assert_array_equal(read_label(tmp_path / "a.png", TABLE), np.rot90(VALUES, -1))


def outcome(path: Path, table: ClassTable) -> object:
    try:
        return read_label(path, table).tolist()
    except DataError as error:
        return str(error)


def test_palettes_that_pass_without_counting_would_pass_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of few colours, so that classes share them, greys are class numbers, and palettes are moved, all often."""
    random, known, verdicts = np.random.default_rng(0), [(0, 0, 0), (1, 1, 1), (2, 2, 2), (9, 9, 9), (5, 0, 0)], []
    judge = labels._is_own_palette
    for _ in range(400):
        picked = [known[place] for place in random.integers(0, 5, 6)]
        own = [known[place] for place in random.integers(0, 5, 3)] if random.random() < 0.3 else picked[:3]
        table = ClassTable(("a", "b", "c"), (own[0], own[1], own[2]), (None, 3, 9)[random.integers(3)], (9, 9, 9))
        used = random.integers(0, random.integers(1, 5), (3, 4), np.uint8)
        (tmp_path / "a.png").write_bytes(encoded(palette(used, [value for color in picked for value in color])))
        verdicts.append(judge(tuple(Image.open(tmp_path / "a.png").getpalette() or ()), table))
        quick = outcome(tmp_path / "a.png", table)
        with monkeypatch.context() as patch:
            patch.setattr(labels, "_is_own_palette", lambda *_: False)
            assert outcome(tmp_path / "a.png", table) == quick
    assert 20 < sum(verdicts) < 380


def test_a_label_we_write_reads_back(tmp_path: Path) -> None:
    palette_mask(VALUES, TABLE).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png", TABLE), VALUES)
    assert Image.open(tmp_path / "a.png").convert("RGB").getpixel((2, 0)) == (128, 64, 128)


def changed(value: int, row: int = 1, column: int = 2) -> np.ndarray:
    values = NO_VOID.astype(np.int32)
    values[row, column] = value
    return values


def smoothed() -> np.ndarray:
    return cv2.resize(COLORS, (40, 30), interpolation=cv2.INTER_LINEAR)


def deep() -> bytes:
    return cv2.imencode(".png", COLORS.astype(np.uint16))[1].tobytes()


def near() -> np.ndarray:
    colors = COLORS.copy()
    colors[0, 2:] = (130, 63, 128)
    return colors


BAD: dict[str, tuple[Callable[[], bytes], list[str], str]] = {
    "value above": (
        lambda: encoded(changed(7).astype(np.uint8)),
        ["outside the 3 classes (0 to 2; 255 is ignored)", "value 7: 1 pixels, first at row 1, column 2"],
        "classes",
    ),
    "first value above": (lambda: encoded(changed(3).astype(np.uint8)), ["value 3: 1 pixels"], "'ids' of the class"),
    "16-bit value": (lambda: encoded(changed(258).astype(np.uint16)), ["value 258: 1 pixels"], "classes"),
    "32-bit value": (lambda: encoded(changed(65536), "TIFF"), ["value 65536: 1 pixels"], "classes"),
    "negative value": (lambda: encoded(changed(-1), "TIFF"), ["value -1: 1 pixels"], "classes"),
    "counts from 1": (lambda: encoded(NO_VOID + np.uint8(1)), ["value 3"], "count from 1"),
    "many values": (
        lambda: encoded(np.arange(240, dtype=np.uint8).reshape(12, 20)),
        ["and 229 more values", "value 3: 1 pixels, first at row 0, column 3"],
        "photograph",
    ),
    "palette index": (lambda: encoded(palette(changed(9).astype(np.uint8), [9])), ["value 9: 1 pixels"], "classes"),
    "three equal channels": (
        lambda: encoded(np.stack([changed(9).astype(np.uint8)] * 3, -1)),
        ["value 9: 1 pixels"],
        "classes",
    ),
    "quantised colours": (
        lambda: encoded(palette(NO_VOID, [128, 64, 128, 128, 128, 128, 64, 0, 128])),
        ["palette index 0 means class 'sky', but its colour (128, 64, 128) means 'road'"],
        "RGB",
    ),
    "gif of fewer greys": (
        lambda: encoded(np.where(NO_VOID == 1, 0, NO_VOID).astype(np.uint8), "GIF"),
        ["palette index 1 means class 'road', but its colour (2, 2, 2) means 'car'"],
        "grey PNG",
    ),
    "unknown colour": (
        lambda: encoded(np.where(COLORS == (64, 0, 128), (1, 2, 250), COLORS).astype(np.uint8)),
        ["belong to no class: ", "pixels, first at row"],
        "class table",
    ),
    "near colour": (lambda: encoded(near()), ["(130, 63, 128): 2 pixels", "near 'road' (128, 64, 128)"], "class table"),
    "smoothed colours": (lambda: encoded(smoothed()), ["more colours"], "resized or compressed"),
    "photograph": (
        lambda: encoded(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)),
        ["belong to no class: 400", "and 392 more colours"],
        "photograph",
    ),
    "all black colour": (lambda: encoded(np.zeros((4, 4, 3), np.uint8)), ["may mean class number 0"], "single-channel"),
    "16-bit colour": (deep, ["16-bit colour"], "8 bits"),
    "float tiff": (lambda: encoded(VALUES.astype(np.float32), "TIFF"), ["mode F"], "grey PNG"),
    "jpeg": (lambda: encoded(VALUES, "JPEG"), ["lossy JPEG"], "PNG"),
    "lossy webp": (lambda: encoded(COLORS, "WEBP"), ["lossy WEBP"], "PNG"),
    "jpeg in tiff": (lambda: encoded(COLORS, "TIFF", compression="jpeg"), ["lossy TIFF"], "PNG"),
    "jpeg 2000": (lambda: encoded(COLORS, "JPEG2000"), ["lossy JPEG2000"], "PNG"),
    "avif": (lambda: encoded(COLORS, "AVIF"), ["lossy AVIF"], "PNG"),
    "half a png": (lambda: encoded(VALUES)[:-30], ["damaged picture"], "again"),
    "half a tiff": (lambda: encoded(VALUES, "TIFF")[:-8], ["picture"], "again"),
    "empty": (lambda: b"", ["empty file"], "again"),
    "text": (lambda: b"0 0 1 1\n2 2 1 1\n", ["is not a picture"], "PNG"),
    "numpy": (lambda: b"\x93NUMPY\x01\0" + bytes(100), ["NumPy"], "PNG"),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_bad_label_is_one_error_with_a_remedy(tmp_path: Path, kind: str) -> None:
    make, messages, hint = BAD[kind]
    path = tmp_path / "bad.png"
    path.write_bytes(make())
    with pytest.raises(DataError) as caught:
        read_label(path, TABLE)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.place == str(path)
    for message in messages:
        assert message in diagnostic.message
    assert hint in diagnostic.hint


def test_a_black_and_white_mask_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(encoded((NO_VOID == 1) * np.uint8(255)))
    with pytest.raises(DataError, match="value 255: 5 pixels") as caught:
        read_label(path, BINARY)
    assert "divide its values by 255" in caught.value.diagnostics[0].hint


def test_a_black_and_white_colour_mask_is_read_by_colour(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(encoded(np.stack([(NO_VOID == 1) * np.uint8(255)] * 3, -1)))
    np.testing.assert_array_equal(read_label(path, BINARY), NO_VOID == 1)


def test_one_value_beside_the_classes_may_be_the_ignored_label(tmp_path: Path) -> None:
    path = tmp_path / "void.png"
    path.write_bytes(encoded(np.where(VALUES == 255, 3, VALUES)))
    with pytest.raises(DataError, match="value 3: 1 pixels") as caught:
        read_label(path, ClassTable(TABLE.names, TABLE.colors))
    assert "if 3 marks pixels to leave out, give the class table 'ignore: {label: 3}'" in str(caught.value)


def test_255_without_an_ignored_label_says_how_to_declare_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(VALUES))
    with pytest.raises(DataError) as caught:
        read_label(path, ClassTable(TABLE.names, TABLE.colors))
    assert "ignore: {label: 255}" in caught.value.diagnostics[0].hint


NUMBERED = ClassTable(TABLE.names, TABLE.colors, 255, (0, 0, 0), ids=(7, 11, 26), ignore_ids=(0, 4))
FILE = np.array([[7, 11, 26, 0], [4, 255, 7, 7]], np.uint8)


@pytest.mark.parametrize(
    "picture",
    [FILE, np.repeat(FILE[..., None], 3, 2), palette(FILE, [9, 9, 9, 7, 7, 7])],
    ids=["grey", "rgb", "palette"],
)
def test_numbers_of_a_data_set_become_places_in_the_table(picture: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture))
    expected = [[0, 1, 2, 255], [255, 255, 0, 0]]
    np.testing.assert_array_equal(read_label(tmp_path / "a.png", NUMBERED), expected)


def test_colours_need_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(COLORS))
    np.testing.assert_array_equal(read_label(tmp_path / "a.png", NUMBERED), VALUES)


def test_a_number_that_the_table_does_not_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(np.array([[7, 3]], np.uint8)))
    with pytest.raises(DataError, match=r"'ids' do not name\n  value 3: 1 pixels, first at row 0, column 1"):
        read_label(tmp_path / "a.png", NUMBERED)
