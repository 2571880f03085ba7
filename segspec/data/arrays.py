"""Images in HDF5 files: arrays as Caffe's HDF5Data reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segspec.data.databases import as_whole_numbers, check_number
from segspec.data.labels import check_values
from segspec.data.sample import Sample, StoredSource, refuse_other_size
from segspec.data.transform import Transform
from segspec.errors import DataError
from segspec.layers.stored import HDF5Data
from segspec.spec.classes import ClassTable


class ArrayFile(NamedTuple):
    """The two datasets of one file; `labels` is None where it has none.

    Attributes:
        path: the file.
        images: (images, channels, height, width).
        labels: (images, 1, height, width), (images, height, width), (images, 1) or (images,).
    """

    path: str
    images: Any
    labels: Any | None


@dataclass(frozen=True)
class ArraySource(StoredSource):
    """Samples of the files in their order."""

    files: tuple[ArrayFile, ...]
    transform: Transform
    table: ClassTable | None

    @cached_property
    def names(self) -> Sequence[str]:
        return [f"{file.path}[{index}]" for file in self.files for index in range(len(file.images))]

    @cached_property
    def _starts(self) -> np.ndarray:
        """The number of the first sample of each file."""
        return np.cumsum([0, *(len(file.images) for file in self.files)])

    @property
    def has_labels(self) -> bool:
        return self.table is not None and all(file.labels is not None for file in self.files)

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return int(self.files[0].images.shape[1])

    @property
    def labels_are_maps(self) -> bool:
        """Whether labels are maps rather than one number an image."""
        labels = self.files[0].labels
        return labels is None or labels.ndim > 2

    def raw(self, index: int) -> Sample:
        file, row = self._locate(index)
        image = np.asarray(file.images[row])
        kind = np.uint8 if image.dtype == np.uint8 else np.float32
        stored = np.ascontiguousarray(image.transpose(1, 2, 0), kind)
        label = self.label(index)
        if label is not None:
            refuse_other_size(stored, label, self.names[index])
        return Sample(stored, label, self.names[index])

    def label(self, index: int) -> np.ndarray | None:
        """The label alone. Raises DataError where it cannot be used."""
        file, row = self._locate(index)
        if file.labels is None or self.table is None:
            return None
        values = as_whole_numbers(self.names[index], np.asarray(file.labels[row]))
        if not self.labels_are_maps:
            return check_number(self.names[index], int(values.reshape(())), self.table)
        plane = values[0] if values.ndim == 3 else values
        return check_values(self.names[index], plane, self.table)

    def _locate(self, index: int) -> tuple[ArrayFile, int]:
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.files[file], index - int(self._starts[file])


def open_arrays(layer: HDF5Data, transform: Transform, table: ClassTable | None, folder: Path) -> ArraySource:
    """The source that an `HDF5Data` layer declares.

    Raises:
        DataError: the list or a file cannot be read, or a dataset is missing or has no fitting shape.
    """
    listing = folder / layer.source
    files = tuple(_open(path, layer) for path in _listed_files(listing))
    first = files[0]
    for file in files:
        if file.images.shape[1] != first.images.shape[1]:
            message = f"images have {file.images.shape[1]} channels, in {first.path} {first.images.shape[1]}"
            raise DataError(message, place=file.path)
    return ArraySource(files, transform, table)


def _listed_files(listing: Path) -> list[Path]:
    """The files of a list, relative to it, or to the current folder where they are found there."""
    try:
        lines = listing.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is no text of file names"
        hint = "name a text file with one HDF5 file a line"
        raise DataError(f"cannot be read: {reason}", place=str(listing), hint=hint) from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError("the list names no files", place=str(listing), hint="write one HDF5 file a line")
    return [Path(name) if Path(name).exists() else listing.parent / name for name in names]


def _open(path: Path, layer: HDF5Data) -> ArrayFile:
    try:
        import h5py
    except ImportError:
        hint = "install the extra: pip install 'segspec[hdf5]'"
        raise DataError("reading HDF5 needs the package h5py", place=str(path), hint=hint) from None
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise DataError("no such file", place=str(path), hint="correct the path in the list") from None
    except OSError as error:
        raise DataError(f"is no HDF5 file that can be read: {error}", place=str(path)) from None
    found = {name: file[name] for name in file if isinstance(file[name], h5py.Dataset)}
    images, labels = found.get(layer.data_name), found.get(layer.label_name)
    names = ", ".join(found) or "none"
    if images is None:
        raise DataError(f"has no dataset '{layer.data_name}'", place=str(path), hint=f"its datasets: {names}")
    if images.ndim != 4 or not min(images.shape):
        message = f"'{layer.data_name}' has shape {images.shape}, not (images, channels, height, width)"
        raise DataError(message, place=str(path))
    if labels is not None:
        _check_labels(path, layer.label_name, images.shape, labels.shape)
    return ArrayFile(str(path), images, labels)


def _check_labels(path: Path, name: str, images: tuple[int, ...], labels: tuple[int, ...]) -> None:
    count, _, height, width = images
    fitting = ((count, 1, height, width), (count, height, width), (count,), (count, 1))
    if labels not in fitting:
        message = f"'{name}' has shape {labels} for images of shape {images}"
        hint = f"one of {', '.join(map(str, fitting[:3]))} fits"
        raise DataError(message, place=str(path), hint=hint)
