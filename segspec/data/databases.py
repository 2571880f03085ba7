"""Images in an LMDB of Caffe: keys in order, each value a serialized Datum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segspec.data.decode import decode_image, load_pixels, open_picture
from segspec.data.labels import check_values
from segspec.data.sample import Sample, StoredSource, refuse_other_size
from segspec.data.transform import Transform
from segspec.errors import DataError
from segspec.layers.stored import Data
from segspec.proto.datum import Datum, read_datum
from segspec.proto.wire import Message
from segspec.spec.classes import ClassTable


class Database(NamedTuple):
    """An open LMDB.

    Attributes:
        path: its folder.
        environment: the handle of the `lmdb` package.
        keys: in their order, which is the order of the samples.
    """

    path: str
    environment: Any
    keys: tuple[bytes, ...]

    def name(self, index: int) -> str:
        """What to call a value in a message."""
        return f"{self.path}, key {self.keys[index].decode('utf-8', 'backslashreplace')}"

    def datum(self, index: int) -> Datum:
        """One value. Raises DataError where it is no Datum."""
        with self.environment.begin() as transaction:
            value: bytes = transaction.get(self.keys[index])
        return read_datum(Message(value, 0, len(value), self.name(index), DataError))


@dataclass(frozen=True)
class DatabaseSource(StoredSource):
    """Samples of one LMDB of images, with class numbers of its own or maps of a second LMDB."""

    images: Database
    maps: Database | None
    layer: Data
    transform: Transform
    table: ClassTable | None

    @property
    def names(self) -> Sequence[str]:
        return [f"{Path(self.images.path).name}/{key.decode('utf-8', 'backslashreplace')}" for key in self.images.keys]

    def __len__(self) -> int:
        return len(self.images.keys)

    @property
    def has_labels(self) -> bool:
        return self.table is not None

    def raw(self, index: int) -> Sample:
        """The decoded values. Raises DataError, with the key, where they cannot be used or differ in size."""
        name, datum = self.images.name(index), self.images.datum(index)
        image = _image(name, datum, self.layer)
        if image.shape[2] != self.layer.channels and self.layer.channels_ is not None:
            message = f"the image has {image.shape[2]} channel(s), others {self.layer.channels}"
            raise DataError(message, place=name, hint="declare 'force_color' or 'force_gray'")
        label = None
        if self.table is not None:
            label = self._map(index) if self.maps else check_number(name, datum.label, self.table)
            refuse_other_size(image, label, name)
        return Sample(image, label, name)

    def label(self, index: int) -> np.ndarray | None:
        """The label alone. Raises DataError where it cannot be used."""
        if self.table is None:
            return None
        if self.maps:
            return self._map(index)
        return check_number(self.images.name(index), self.images.datum(index).label, self.table)

    def _map(self, index: int) -> np.ndarray:
        assert self.maps is not None and self.table is not None
        name, datum = self.maps.name(index), self.maps.datum(index)
        values = _picture(name, datum.encoded) if datum.array is None else datum.array.transpose(1, 2, 0)
        if values.shape[2] != 1:
            message = f"a label has 1 channel of class numbers, this one {values.shape[2]}"
            raise DataError(message, place=name, hint="is it the database of images?")
        return check_values(name, as_whole_numbers(name, values[..., 0]), self.table)


def open_database(layer: Data, transform: Transform, table: ClassTable | None, folder: Path) -> DatabaseSource:
    """The source that a `Data` layer declares.

    Raises:
        DataError: a database cannot be read, or images and labels differ in number.
    """
    if not layer.source:
        raise DataError("the layer names no database", hint="set its 'source'")
    if layer.labels == "pixels" and not layer.label_source:
        raise DataError("the layer names no database of label maps", hint="set its 'label_source'")
    images = _open(folder / layer.source, layer.backend)
    maps = _open(folder / layer.label_source, layer.backend) if layer.label_source else None
    if maps is not None and len(maps.keys) != len(images.keys):
        message = f"{len(images.keys)} images in {images.path}, but {len(maps.keys)} labels"
        raise DataError(message, place=maps.path, hint="images and labels are paired in the order of their keys")
    return DatabaseSource(images, maps, layer, transform, table)


def _open(path: Path, backend: str) -> Database:
    if any(path.glob("*.ldb")) or any(path.glob("*.sst")) or (path / "CURRENT").exists():
        hint = "write the images to an LMDB with Caffe's convert_imageset --backend=lmdb, or to files with a list"
        raise DataError("is a LevelDB, which cannot be read", place=str(path), hint=hint)
    if not path.exists():
        kind = "LMDB" if backend == "LMDB" else "database"
        raise DataError(f"no such {kind}", place=str(path), hint="check 'source'")
    return _open_lmdb(str(path.resolve()))


@cache
def _open_lmdb(path: str) -> Database:
    """An LMDB; a process may open each but once."""
    try:
        import lmdb
    except ImportError:
        hint = "install the extra: pip install 'segspec[lmdb]'"
        raise DataError("reading an LMDB needs the package lmdb", place=path, hint=hint) from None
    try:
        environment = lmdb.open(
            path, subdir=Path(path).is_dir(), readonly=True, create=False, lock=False, readahead=False, max_dbs=0
        )
        with environment.begin() as transaction:
            keys = tuple(map(bytes, transaction.cursor().iternext(values=False)))
    except lmdb.Error as error:
        raise DataError(f"is no LMDB that can be read: {error}", place=path, hint="check 'source'") from None
    if not keys:
        raise DataError("the database is empty", place=path)
    return Database(path, environment, keys)


def _image(name: str, datum: Datum, layer: Data) -> np.ndarray:
    if datum.array is not None:
        return np.ascontiguousarray(datum.array.transpose(1, 2, 0))
    if layer.force_color or layer.force_gray:
        return decode_image(name, datum.encoded, 1 if layer.force_gray else 3)
    return _picture(name, datum.encoded)


def _picture(name: str, encoded: bytes) -> np.ndarray:
    """An encoded picture with the channels that it has: 1, or 3."""
    with open_picture(name, encoded) as header:
        if header.mode == "P":
            return np.asarray(load_pixels(name, header))[..., None]
        grey = header.mode in ("L", "1", "I", "I;16", "F")
    return decode_image(name, encoded, 1 if grey else 3)


def as_whole_numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Labels as whole numbers. Raises DataError where one is not."""
    if np.issubdtype(values.dtype, np.integer):
        return values
    whole = np.rint(values)
    if not np.isfinite(values).all() or (whole != values).any():
        raise DataError("labels are not whole numbers", place=name, hint="is it the array of images?")
    numbers: np.ndarray = whole.astype(np.int64)
    return numbers


def check_number(name: str, number: int, table: ClassTable) -> np.ndarray:
    """The class number of a whole image: int32 (). Raises DataError where it is no class."""
    if not 0 <= number < table.count and number != table.ignore_label:
        message = f"label {number} is outside the {table.count} classes (0 to {table.count - 1})"
        raise DataError(message, place=name, hint="correct the label, or the number of classes")
    return np.array(number, np.int32)
