"""Files that nobody would write: each is read, or refused at once. `tools/fuzz_weights.py` tries a million."""

from __future__ import annotations

import struct
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import fuzz_weights as fuzz
import pytest

from segspec.errors import WeightsError
from segspec.run.blobs import read_blobs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count", "seed"),
    [
        *(("caffemodel", 20_000, seed) for seed in (1, 2, 3, 4)),
        ("solverstate", 2000, 1),
        ("safetensors", 2000, 1),
    ],
)
def test_mutants(kind: str, count: int, seed: int) -> None:
    complaints: list[str] = []
    outcomes = fuzz.run(kind, count, seed, complaints.append)
    assert not complaints, complaints[0]
    assert outcomes["read"] > count / 20
    assert outcomes["refused"] > count / 20


def test_the_tool_notices_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(fuzz, "read_blobs", crash)
    assert "KeyError: 'x'" in fuzz.attempt(tmp_path / "net.caffemodel")


FOUR_GIGABYTES = b"\xff\xff\xff\xff\x0f"
LIES = {
    "layer.caffemodel": b"\xa2\x06" + FOUR_GIGABYTES + b"x",
    "data.caffemodel": b"\xa2\x06\x0d\x3a\x0b\x2a" + FOUR_GIGABYTES + b"12345",
    "shape.caffemodel": b"\xa2\x06\x0d\x3a\x0b\x3a\x07\x08" + FOUR_GIGABYTES + b"\x08\x01\x00\x00",
    "sizes.caffemodel": b"\xa2\x06\x0e\x3a\x0c\x08\xff\xff\xff\xff\x07\x10\x7f\x18\x01\x20\x01",
    "header.safetensors": struct.pack("<Q", 2**40) + b"{}",
    "array.safetensors": struct.pack("<Q", 64)
    + b'{"a.b":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'.ljust(64),
}


@pytest.mark.parametrize("name", LIES)
def test_a_claim_of_gigabytes_takes_none(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(LIES[name])
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError):
            read_blobs(path, fuzz.GRAPH)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


PIECES = [b"\x08\x00", b"\x2d\x00\x00\x00\x00\x08\x00", b"\x3a\x00", b"\x2a\x04\x00\x00\x00\x00"]


@pytest.mark.parametrize("piece", PIECES)
def test_many_small_fields_take_linear_time(piece: bytes, tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        blob = piece * count
        content = b"\x3a" + _length(len(blob)) + blob
        (tmp_path / "net.caffemodel").write_bytes(b"\xa2\x06" + _length(len(content)) + content)
        start = time.thread_time()
        with suppress(WeightsError):
            read_blobs(tmp_path / "net.caffemodel", fuzz.GRAPH)
        return time.thread_time() - start

    seconds(10)
    # The quickest of three: the collection of a long run's garbage may fall into any one.
    assert min(seconds(40_000) for _ in range(3)) < 30 * seconds(4000) + 0.1


def _length(value: int) -> bytes:
    return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14 & 127 | 128, value >> 21))
