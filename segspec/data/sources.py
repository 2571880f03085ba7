"""Where samples come from: files on disk, or a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from segspec.data import synthetic, transform
from segspec.data.decode import read_image
from segspec.data.labels import read_label
from segspec.data.listing import Listing, listing_of, read_listing
from segspec.data.transform import Pair, Transform
from segspec.errors import DataError, Diagnostic
from segspec.layers.data import DataLayer, DenseImageData, SyntheticSquares, SyntheticStreet
from segspec.spec.classes import ClassTable


class Sample(NamedTuple):
    """One image with its label.

    Attributes:
        image: uint8 (height, width, channels): blue, green, red, or grey.
        label: uint8 (height, width), or None.
        name: what to call it in a message: the image's path, or the drawing's number.
    """

    image: np.ndarray
    label: np.ndarray | None
    name: str


class ImageSource(Protocol):
    """Samples by number. Loading is a pure function of its arguments and safe from many threads."""

    @property
    def names(self) -> Sequence[str]:
        """The name of each sample."""

    @property
    def has_labels(self) -> bool:
        """Whether samples have labels."""

    @property
    def size(self) -> Pair:
        """(height, width) of the first sample as delivered."""

    def __len__(self) -> int: ...

    def raw(self, index: int) -> Sample:
        """A sample as stored, before any transform."""

    def label(self, index: int) -> np.ndarray | None:
        """The label of a sample alone, before any transform."""

    def load(self, index: int, rng: np.random.Generator | None = None) -> Sample:
        """A sample as the net sees it; `rng` drives the augmentation, None does without."""


def open_source(layer: DataLayer, table: ClassTable | None, folder: Path) -> ImageSource:
    """The source that a data layer declares.

    Args:
        layer: the declaration.
        table: the classes that labels mean; None reads images alone.
        folder: what a relative `source` and `root_folder` are relative to.

    Raises:
        DataError: the list cannot be used, or the drawing's classes are not the table's.
    """
    steps = Transform.of(layer, table.ignore_label if table else None)
    match layer:
        case DenseImageData():
            root = str(folder / layer.root_folder) if layer.root_folder else ""
            return FileSource(read_listing(folder / layer.source, root), steps, table, layer.channels)
        case SyntheticSquares():
            _need_classes(table, synthetic.SQUARES_TABLE, layer.type)
            return DrawnSource(layer, steps)
        case SyntheticStreet():
            _need_classes(table, synthetic.STREET_TABLE, layer.type)
            return DrawnSource(layer, steps)
    raise DataError(f"'{layer.type}' is no source of images")


def open_images(images: list[str], layer: DataLayer) -> ImageSource:
    """A source of image files without labels, resized and cropped as the layer says."""
    return FileSource(listing_of(images), Transform.of(layer, None), None, layer.channels)


def _need_classes(table: ClassTable | None, drawn: ClassTable, kind: str) -> None:
    """Refuses a table that gives the drawn class numbers another meaning."""
    if table is not None and table.count != drawn.count:
        raise DataError(
            f"{kind} draws {drawn.count} classes, but the class table has {table.count}",
            hint=f"set 'classes' to a table of {drawn.count} classes",
        )
    if table is not None and drawn.ignore_label is not None and table.ignore_label != drawn.ignore_label:
        raise DataError(
            f"{kind} draws label {drawn.ignore_label} where no class belongs, but the class table does not ignore it",
            hint=f"give the class table 'ignore: {{label: {drawn.ignore_label}}}'",
        )


@dataclass(frozen=True)
class FileSource:
    """Samples read from files that a list names."""

    listing: Listing
    transform: Transform
    table: ClassTable | None
    channels: int

    @property
    def names(self) -> Sequence[str]:
        return self.listing.images

    @property
    def has_labels(self) -> bool:
        return self.table is not None and self.listing.labels is not None

    @property
    def size(self) -> Pair:
        return self.transform.crop or self.transform.resize or self._image_size(0)

    def __len__(self) -> int:
        return len(self.listing)

    def raw(self, index: int) -> Sample:
        """The decoded files. Raises DataError, with the list's line, where they cannot be used or differ in size."""
        try:
            image = read_image(self.listing.image(index), self.channels)
            label = self._read_label(index)
            if label is not None and label.shape != image.shape[:2]:
                raise self._size_mismatch(index, image, label)
        except DataError as error:
            raise self._placed(error, index) from None
        return Sample(image, label, self.names[index])

    def label(self, index: int) -> np.ndarray | None:
        """The decoded label alone. Raises DataError where it cannot be used."""
        try:
            return self._read_label(index)
        except DataError as error:
            raise self._placed(error, index) from None

    def _read_label(self, index: int) -> np.ndarray | None:
        path = self.listing.label(index)
        return None if path is None or self.table is None else read_label(path, self.table)

    def load(self, index: int, rng: np.random.Generator | None = None) -> Sample:
        sample = self.raw(index)
        try:
            image, label = transform.apply(self.transform, sample.image, sample.label, rng)
        except DataError as error:
            raise self._placed(error, index) from None
        return Sample(image, label, sample.name)

    def _image_size(self, index: int) -> Pair:
        height, width = self.raw(index).image.shape[:2]
        return height, width

    def _placed(self, error: DataError, index: int) -> DataError:
        """The error with the list's line added, so that the entry is found at once."""
        first = error.diagnostics[0]
        place = first.place or self.listing.image(index)
        named = f"{place} ({self.listing.place(index)})"
        return DataError(Diagnostic(first.message, hint=first.hint, place=named))

    def _size_mismatch(self, index: int, image: np.ndarray, label: np.ndarray) -> DataError:
        height, width = image.shape[:2]
        turned = label.shape == (width, height)
        hint = "one of them is turned: save both without an EXIF orientation" if turned else "export the label again"
        return DataError(
            f"the label is {label.shape[0]} x {label.shape[1]} pixels (height x width), "
            f"but its image {self.listing.image(index)} is {height} x {width}",
            place=str(self.listing.label(index)),
            hint=hint,
        )


@dataclass(frozen=True)
class DrawnSource:
    """Samples drawn from their number."""

    layer: SyntheticSquares | SyntheticStreet
    transform: Transform

    @property
    def names(self) -> Sequence[str]:
        return [f"{self.layer.type} {index}" for index in range(self.layer.count)]

    @property
    def has_labels(self) -> bool:
        return True

    @property
    def size(self) -> Pair:
        return self.transform.size_of((self.layer.height, self.layer.width))

    def __len__(self) -> int:
        return self.layer.count

    def raw(self, index: int) -> Sample:
        image, label = synthetic.draw(self.layer, index)
        return Sample(image, label, f"{self.layer.type} {index}")

    def label(self, index: int) -> np.ndarray:
        """The drawn label alone."""
        return synthetic.draw(self.layer, index)[1]

    def load(self, index: int, rng: np.random.Generator | None = None) -> Sample:
        sample = self.raw(index)
        image, label = transform.apply(self.transform, sample.image, sample.label, rng)
        return Sample(image, label, sample.name)
