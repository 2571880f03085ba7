"""Samples that are files on disk, named by a list, with labels of three kinds: class numbers, edges, and one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segspec.data import transform
from segspec.data.databases import check_number
from segspec.data.decode import read_image
from segspec.data.labels import check_values, read_label
from segspec.data.listing import Listing
from segspec.data.sample import Sample, refuse_size
from segspec.data.transform import Transform
from segspec.errors import DataError, Diagnostic
from segspec.ops.window import Pair
from segspec.spec.classes import ClassTable

EDGE = 128


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
            label = self._label_of(index, image)
        except DataError as error:
            raise self._placed(error, index) from None
        return Sample(image, label, self.names[index])

    def label(self, index: int) -> np.ndarray | None:
        """The decoded label alone. Raises DataError where it cannot be used."""
        try:
            return self._read_label(index)
        except DataError as error:
            raise self._placed(error, index) from None

    def _label_of(self, index: int, image: np.ndarray) -> np.ndarray | None:
        """The label of a decoded image."""
        label = self._read_label(index)
        if label is not None:
            refuse_size(image, label, self.listing.image(index), str(self.listing.label(index)))
        return label

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


@dataclass(frozen=True)
class EdgeSource(FileSource):
    """Labels are grey pictures of edges: class 1 where they are at least 128, else 0."""

    def _read_label(self, index: int) -> np.ndarray | None:
        path = self.listing.label(index)
        if path is None or self.table is None:
            return None
        edges = read_image(path, 1)[..., 0] >= EDGE
        return check_values(path, edges.astype(np.uint8), self.table)


@dataclass(frozen=True)
class NumberSource(FileSource):
    """Labels are class numbers, one an image.

    Attributes:
        numbers: of each image.
        fills: whether every pixel of an image has the number as its label, instead of the image as a whole.
    """

    numbers: Sequence[int]
    fills: bool

    @property
    def has_labels(self) -> bool:
        return self.table is not None

    def _label_of(self, index: int, image: np.ndarray) -> np.ndarray | None:
        label = self._read_label(index)
        return np.full(image.shape[:2], label, np.uint8) if self.fills and label is not None else label

    def _read_label(self, index: int) -> np.ndarray | None:
        if self.table is None:
            return None
        return check_number(self.listing.image(index), self.numbers[index], self.table)
