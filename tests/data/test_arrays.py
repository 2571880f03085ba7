from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from segspec.data.sample import ImageSource
from segspec.data.sources import open_source, settle
from segspec.errors import DataError
from segspec.layers.stored import HDF5Data
from segspec.spec.classes import ClassTable

IMAGES = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)
MAPS = np.random.default_rng(1).integers(0, 2, (5, 1, 3, 4))
TWO = ClassTable.numbered(2)


def write(
    folder: Path, *parts: slice, label: np.ndarray | None = MAPS, names: tuple[str, str] = ("data", "label")
) -> None:
    for number, part in enumerate(parts):
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file[names[0]] = IMAGES[part]
            if label is not None:
                file[names[1]] = label[part].astype(np.float32)
    (folder / "list.txt").write_text("".join(f"{number}.h5\n" for number in range(len(parts))))


def opened(folder: Path, table: ClassTable | None = TWO, **fields: object) -> ImageSource:
    return open_source(HDF5Data.model_validate({"source": "list.txt", **fields}), table, folder)


def test_samples_run_through_all_files(tmp_path: Path) -> None:
    write(tmp_path, slice(0, 2), slice(2, 5))
    source = opened(tmp_path)
    assert (len(source), source.size, source.has_labels) == (5, (3, 4), True)
    for index in range(5):
        sample = source.load(index)
        np.testing.assert_array_equal(sample.image, IMAGES[index].transpose(1, 2, 0))
        np.testing.assert_array_equal(sample.label, MAPS[index, 0])


def test_datasets_go_by_their_names(tmp_path: Path) -> None:
    write(tmp_path, slice(0, 5), names=("x", "y"))
    np.testing.assert_array_equal(opened(tmp_path, data_name="x", label_name="y").label(3), MAPS[3, 0])


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_one_number_an_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write(tmp_path, slice(0, 5), label=(np.arange(5) % 2).reshape(shape))
    label = opened(tmp_path).label(3)
    assert label is not None and label.shape == () and int(label) == 1
    settled = settle(HDF5Data(source="list.txt"), tmp_path)
    assert (settled.channels, settled.labels) == (2, "image")


def test_maps_without_an_axis_for_their_channel(tmp_path: Path) -> None:
    write(tmp_path, slice(0, 5), label=MAPS[:, 0])
    np.testing.assert_array_equal(opened(tmp_path).label(4), MAPS[4, 0])
    assert settle(HDF5Data(source="list.txt"), tmp_path).labels == "pixels"


def test_images_alone_have_no_labels(tmp_path: Path) -> None:
    write(tmp_path, slice(0, 5), label=None)
    assert not opened(tmp_path).has_labels and opened(tmp_path).load(0).label is None


@pytest.mark.parametrize(
    ("label", "fields", "words"),
    [
        (MAPS + 4, {}, "label values outside the 2 classes"),
        (MAPS + 0.5, {}, "labels are not whole numbers"),
        (MAPS[:, :, 1:], {}, "has shape"),
        (MAPS, {"data_name": "x"}, "has no dataset 'x'"),
        (MAPS, {"data_name": "label", "label_name": "data"}, "has shape"),
        (MAPS, {"source": "absent.txt"}, "cannot be read: No such file"),
        (MAPS, {"source": "none.txt"}, "names no files"),
        (MAPS, {"source": "missing.txt"}, "no such file"),
        (MAPS, {"source": "text.txt"}, "is no HDF5 file"),
    ],
)
def test_mistakes(tmp_path: Path, label: np.ndarray, fields: dict[str, object], words: str) -> None:
    write(tmp_path, slice(0, 5), label=label)
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "missing.txt").write_text("gone.h5\n")
    (tmp_path / "text.txt").write_text("none.txt\n")
    with pytest.raises(DataError, match=words):
        opened(tmp_path, **fields).load(0)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, slice(0, 5))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"segspec\[hdf5\]"):
        opened(tmp_path)
