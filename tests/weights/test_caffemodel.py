"""Caffe's files of weights: real ones, and ones put together byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from segspec.errors import WeightsError
from segspec.weights.caffemodel import read_caffemodel


def varint(value: int) -> bytes:
    value %= 2**64
    head = b""
    while value > 127:
        head, value = head + bytes([value & 127 | 128]), value >> 7
    return head + bytes([value])


def field(number: int, content: bytes | str | int) -> bytes:
    """A field that holds a message, a text or a number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def shape(*sizes: int) -> bytes:
    return field(7, field(1, b"".join(map(varint, sizes))))


def floats(*values: float) -> bytes:
    return field(5, struct.pack(f"<{len(values)}f", *values))


def layer(name: str, *blobs: bytes, type: str = "Convolution") -> bytes:
    return field(100, field(1, name) + field(2, type) + b"".join(field(7, blob) for blob in blobs))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "net.caffemodel"


def arrays(file: Path, *parts: bytes) -> dict[str, list[object]]:
    file.write_bytes(b"".join(parts))
    return {layer.name: [blob.tolist() for blob in layer.blobs] for layer in read_caffemodel(file)}


def test_layers_keep_their_order_and_may_be_empty_or_twice(file: Path) -> None:
    file.write_bytes(field(1, "net") + layer("a", floats(1)) + layer("b", type="ReLU") + layer("a", floats(2)))
    found = [(each.name, each.type, len(each.blobs)) for each in read_caffemodel(file)]
    assert found == [("a", "Convolution", 1), ("b", "ReLU", 0), ("a", "Convolution", 1)]


def test_numbers_packed_single_and_in_parts(file: Path) -> None:
    single = b"".join(b"\x2d" + struct.pack("<f", value) for value in range(100))
    blobs = (
        shape(2, 2) + floats(1, 2, 3, 4),
        single + shape(100),
        floats(1) + b"\x2d" + struct.pack("<f", 2) + shape(3) + floats(3),
    )
    assert arrays(file, layer("a", *blobs)) == {"a": [[[1, 2], [3, 4]], [*range(100)], [1, 2, 3]]}


def test_doubles_come_before_floats(file: Path) -> None:
    packed = field(8, struct.pack("<2d", 0.1, 2))
    single = b"".join(b"\x41" + struct.pack("<d", value) for value in (0.1, 2))
    for doubles in (packed, single):
        assert arrays(file, layer("a", shape(2) + floats(5, 6) + doubles)) == {"a": [[0.1, 2]]}


def test_four_sizes_of_old_files_come_before_a_shape(file: Path) -> None:
    sizes = field(1, 1) + field(2, 1) + field(3, 1) + field(4, 2)
    assert arrays(file, layer("a", sizes + shape(7) + floats(1, 2))) == {"a": [[[[[1, 2]]]]]}


def test_a_shape_may_be_split(file: Path) -> None:
    split = field(7, field(1, 2)) + field(7, field(1, varint(1))) + field(7, field(1, 2))
    assert arrays(file, layer("a", split + floats(1, 2, 3, 4))) == {"a": [[[[1, 2]], [[3, 4]]]]}


def test_files_before_2015(file: Path) -> None:
    first = field(2, field(6, shape(1) + floats(1)) + field(5, 4) + field(4, "v1"))
    oldest = field(2, field(1, field(1, "v0") + field(2, "conv") + field(50, shape(1) + floats(2))))
    assert arrays(file, first, oldest) == {"v1": [[1]], "v0": [[2]]}
    assert [each.type for each in read_caffemodel(file)] == ["", "conv"]


def test_unknown_fields_are_passed_over(file: Path) -> None:
    unknown = field(1000, 7) + field(1001, "x") + varint(1002 << 3 | 5) + b"1234" + varint(1003 << 3 | 1) + b"12345678"
    content = unknown + field(1, "a") + unknown + field(7, unknown + floats(3) + unknown) + unknown
    assert arrays(file, unknown, field(100, content), unknown) == {"a": [3.0]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (field(1, "net"), "holds no layers"),
        (layer("a", floats(1))[:-1], "damaged at byte 2: expected a length of at most"),
        (
            field(100, varint(7 << 3 | 2) + varint(2**32)),
            "damaged at byte 4: expected a length of at most 0, found 4294",
        ),
        (layer("a", shape(3) + floats(1, 2)), "numbers in layer 'a', blob 0 as its shape 3 says, found 2"),
        (layer("a", shape(-1, -1) + floats(1)), "blob 0 as its shape -1x-1 says, found 1"),
        (layer("a", shape(2**62, 2**62) + floats(1)), "found 1"),
        (layer("a", shape(*[1] * 33) + floats(1)), "found 1"),
        (layer("a", field(5, b"12345")), "expected a multiple of 4 bytes, found 5"),
        (varint(100 << 3 | 3), "damaged at byte 0: expected a field of kind 0, 1, 2 or 5, found 3"),
        (b"\x0d", "expected 4 bytes, found 0"),
        (b"\x02\x00", "expected a field's number from 1 to 2^29 - 1, found 0"),
        (b"\xff", "damaged at byte 1: expected the rest of a number"),
        (b"\xff" * 20, "damaged at byte 0: expected a number of at most 10 bytes"),
    ],
)
def test_damage_is_one_error_with_its_place(content: bytes, message: str, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_caffemodel(file)
    assert len(caught.value.diagnostics) == 1
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


def test_paths_that_lead_to_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read_caffemodel(tmp_path / "none.caffemodel")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_caffemodel(tmp_path)


def test_a_file_that_caffe_wrote(shared: Path) -> None:
    layers = read_caffemodel(shared / "corpus" / "weights" / "manoj_basic_iter_100.caffemodel")
    blobs = [blob for layer in layers for blob in layer.blobs]
    assert (layers[0].name, layers[0].type) == ("data", "DenseImageData")
    assert sum(blob.size for blob in blobs) == 612_418
    assert all(blob.dtype == np.float32 and np.isfinite(blob).all() for blob in blobs)
