"""Caffe's files in HDF5: `.caffemodel.h5` and `.solverstate.h5`, through h5py where it is installed.

Weights are arrays `data/LAYER/NUMBER`, a history `history/NUMBER` beside `iter`, `learned_net` and `current_step`. Only
arrays that lie in the file itself are read, as Caffe writes them: neither links to other files nor what a filter would
have to unpack. Source: BVLC Caffe, net.cpp, sgd_solver.cpp and hdf5.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from segspec.errors import WeightsError
from segspec.proto.blob import Array

SUFFIX = ".h5"
_DEEPEST = 32  # groups within groups, where a layer's name holds slashes


def read_layers(path: Path) -> dict[str, tuple[Array, ...]]:
    """The blobs of each layer of a `.caffemodel.h5`.

    Raises:
        WeightsError: h5py is not installed, or the file is missing, damaged or no net.
    """
    with _opened(path) as file:
        return dict(_layers(_group(file, "data", path), "", path, _DEEPEST))


def read_state(path: Path) -> tuple[int, tuple[Array, ...], str, int]:
    """The iteration, history, path of the weights and step of a `.solverstate.h5`.

    Raises:
        WeightsError: h5py is not installed, or the file is missing, damaged or no state of a solver.
    """
    with _opened(path) as file:
        iteration, step = (int(_array(file, name, path).ravel()[0]) for name in ("iter", "current_step"))
        net = _array(file, "learned_net", path).ravel()[0]
        history = _numbered(_group(file, "history", path), path)
        return iteration, history, net.decode("utf-8", "replace") if isinstance(net, bytes) else str(net), step


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file; whatever HDF5 finds wrong with it while it is open is one mistake."""
    try:
        import h5py
    except ImportError:
        hint = "pip install 'segspec[hdf5]'"
        raise WeightsError("reading HDF5 needs the package h5py", place=str(path), hint=hint) from None
    if not path.is_file():
        raise WeightsError("no such file", place=str(path))
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, IndexError) as error:
        raise WeightsError(f"damaged, or not a file of HDF5 ({error})", place=str(path)) from None


def _layers(group: Any, name: str, path: Path, depth: int) -> Iterator[tuple[str, tuple[Array, ...]]]:
    """The layers within a group: a group that holds numbers is a layer, by its path."""
    import h5py

    if not depth:
        raise WeightsError("groups are nested too deeply", place=str(path))
    if name and all(key.isdecimal() for key in group):
        yield name, _numbered(group, path)
        return
    for key in group:
        if group.get(key, getclass=True, getlink=True) is h5py.HardLink and group.get(key, getclass=True) is h5py.Group:
            yield from _layers(group[key], f"{name}/{key}" if name else key, path, depth - 1)


def _numbered(group: Any, path: Path) -> tuple[Array, ...]:
    """The arrays 0, 1, ... of a group."""
    return tuple(_array(group, str(index), path) for index in range(len(group)))


def _group(file: Any, name: str, path: Path) -> Any:
    import h5py

    if name not in file or not isinstance(file[name], h5py.Group):
        raise WeightsError(f"holds no group '{name}'", place=str(path), hint="is it a file of Caffe?")
    return file[name]


def _array(group: Any, name: str, path: Path) -> Array:
    """An array that lies in the file as Caffe writes it."""
    import h5py

    place = f"{group.name}/{name}".replace("//", "/")
    if group.get(name, getclass=True, getlink=True) is not h5py.HardLink or not isinstance(group[name], h5py.Dataset):
        raise WeightsError(f"holds no array '{place}'", place=str(path), hint="is it a file of Caffe?")
    found = group[name]
    whole = found.id.get_storage_size() >= found.dtype.itemsize * found.size
    if found.is_virtual or found.external or found.chunks or found.dtype.hasobject or not whole:
        message = f"the array '{place}' does not lie in the file as Caffe writes it"
        raise WeightsError(message, place=str(path), hint="save it again without compression")
    return np.asarray(found[()])
