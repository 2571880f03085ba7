"""Caffe's files in HDF5."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segspec.errors import WeightsError
from segspec.weights.caffemodel import read_caffemodel
from segspec.weights.solverstate import read_solverstate


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """An open file to fill."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "net.caffemodel.h5", "w") as file:
        yield file


def layers(file: Any) -> dict[str, list[object]]:
    path = Path(file.filename)
    file.close()
    return {layer.name: [blob.tolist() for blob in layer.blobs] for layer in read_caffemodel(path)}


def state(file: Any) -> tuple[object, ...]:
    path = Path(file.filename)
    file.close()
    found = read_solverstate(path)
    return found.iteration, found.learned_net, found.current_step, [array.tolist() for array in found.history]


def test_layers_and_their_numbered_blobs(file: Any) -> None:
    for number in range(11):
        file[f"data/many/{number}"] = np.full(1, number, np.float32)
    file["data/a/conv/0"] = np.ones((2, 1), np.float32)
    file["data/a/conv/1"] = np.float32(3)
    file.create_group("data/relu")
    assert layers(file) == {"a/conv": [[[1], [1]], 3], "many": [[float(n)] for n in range(11)], "relu": []}


def test_a_state_of_a_solver(file: Any) -> None:
    file["iter"], file["current_step"] = np.int32([20]), np.int32([2])
    file["learned_net"] = np.bytes_("net_iter_20.caffemodel.h5")
    file["history/0"], file["history/1"] = np.ones(2, np.float32), np.zeros(1, np.float32)
    assert state(file) == (20, "net_iter_20.caffemodel.h5", 2, [[1, 1], [0]])


def test_what_is_no_file_of_caffe_is_one_error(file: Any, tmp_path: Path) -> None:
    file["model_weights/a"] = np.ones(1)
    with pytest.raises(WeightsError, match="holds no group 'data'"):
        layers(file)
    with pytest.raises(WeightsError, match="holds no array '/iter'"):
        read_solverstate(tmp_path / "net.caffemodel.h5")
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 99)
    with pytest.raises(WeightsError, match="damaged, or not a file of HDF5"):
        read_caffemodel(tmp_path / "x.h5")
    with pytest.raises(WeightsError, match="no such file"):
        read_caffemodel(tmp_path / "none.h5")


def test_nothing_outside_the_file_and_nothing_packed_is_read(file: Any, tmp_path: Path) -> None:
    import h5py

    group = file.create_group("data/a")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.ones(2, np.float32)
    group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    with pytest.raises(WeightsError, match="holds no array '/data/a/0'"):
        layers(file)
    with h5py.File(tmp_path / "bomb.caffemodel.h5", "w") as bomb:
        bomb.create_dataset("data/a/0", (2**34,), np.float32, chunks=(2**16,), compression="gzip")
    with pytest.raises(WeightsError, match="'/data/a/0' does not lie in the file as Caffe writes it"):
        read_caffemodel(tmp_path / "bomb.caffemodel.h5")


def test_groups_that_hold_themselves_end(file: Any) -> None:
    file.create_group("data/a")
    file["data/a/b"] = file["data"]
    with pytest.raises(WeightsError, match="groups are nested too deeply"):
        layers(file)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError, match=r"needs the package h5py\n  pip install 'segspec\[hdf5\]'"):
        read_caffemodel(tmp_path / "net.caffemodel.h5")
