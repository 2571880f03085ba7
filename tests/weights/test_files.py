from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from segspec.errors import WeightsError
from segspec.weights.files import read_weights, write_weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "w.safetensors"


def raw(path: Path, kind: str, shape: list[int], data: bytes) -> None:
    """A safetensors file of one array, made by hand."""
    header = json.dumps({"a.weight": {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_what_was_written_is_read_back(file: Path) -> None:
    params = {"e1/conv.2": {"weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "bias": np.float32(3)}}
    state = {"bn": {"factor": np.ones((), np.float32), "mean": np.zeros(2, np.float64)}}
    write_weights(file, params, state, about={"iteration": "7"})
    blobs, about = read_weights(file)
    assert about == {"format": "segspec-1", "iteration": "7"}
    assert {name: list(own) for name, own in blobs.items()} == {
        "e1/conv.2": ["bias", "weight"],
        "bn": ["factor", "mean"],
    }
    for tree in (params, state):
        for layer, own in tree.items():
            for blob, array in own.items():
                found = blobs[layer][blob]
                np.testing.assert_array_equal(found, array)
                assert (found.shape, found.dtype) == (np.shape(array), np.asarray(array).dtype)


def test_a_file_is_replaced_whole_and_readable_by_others(file: Path) -> None:
    write_weights(file, {"a": {"weight": np.zeros(3)}})
    write_weights(file, {"b": {"weight": np.ones(3)}})
    assert list(read_weights(file)[0]) == ["b"]
    assert [path.name for path in file.parent.iterdir()] == ["w.safetensors"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


def test_a_file_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match=r"file/w\.safetensors: cannot write"):
        write_weights(tmp_path / "file" / "w.safetensors", {"a": {"weight": np.zeros(3)}})


def test_half_precision_is_read(file: Path) -> None:
    raw(file, "BF16", [2], np.asarray([1.5, -2], ml_dtypes.bfloat16).tobytes())
    np.testing.assert_array_equal(read_weights(file)[0]["a"]["weight"].astype(np.float32), [1.5, -2])


def test_a_type_that_numpy_lacks_is_refused(file: Path) -> None:
    raw(file, "F8_E4M3", [2], b"ab")
    with pytest.raises(WeightsError, match="numbers of a type that cannot be read") as caught:
        read_weights(file)
    assert "save it as float32" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}tail", b"PK\x03\x04zip"])
def test_damage_is_one_error(content: bytes, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged, or not a safetensors file"):
        read_weights(file)


def test_a_cut_file_is_one_error(file: Path) -> None:
    write_weights(file, {"a": {"weight": np.zeros(100)}})
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(file)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".PKL", ".ckpt", ".bin"])
def test_no_pickle_is_ever_opened(suffix: str, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(WeightsError, match="a pickle can run any program when it is opened"):
        read_weights(path)


def test_the_state_of_a_solver_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the state of a solver, not weights\n  train --solverstate goes on from it"):
        read_weights(tmp_path / "net_iter_10.solverstate")


def test_paths_that_lead_to_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read_weights(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="this is a folder"):
        read_weights(tmp_path)
