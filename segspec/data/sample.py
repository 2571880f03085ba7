"""What a source of images is: samples by number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from segspec.data import transform
from segspec.data.transform import Transform
from segspec.errors import DataError, Diagnostic
from segspec.ops.window import Pair


class Sample(NamedTuple):
    """One image with its label.

    Attributes:
        image: uint8 or float32 (height, width, channels): blue, green, red, or grey.
        label: uint8 (height, width); int32 () where a class number stands for the whole image; or None.
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


class StoredSource(ABC):
    """Samples that lie in a database or in arrays: everything but how one is read."""

    transform: Transform

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The name of each sample."""

    @abstractmethod
    def raw(self, index: int) -> Sample:
        """A sample as stored, before any transform."""

    @property
    def size(self) -> Pair:
        """(height, width) of the first sample as delivered."""
        height, width = self.raw(0).image.shape[:2]
        return self.transform.size_of((height, width))

    def __len__(self) -> int:
        return len(self.names)

    def label(self, index: int) -> np.ndarray | None:
        """The label of a sample alone, before any transform."""
        return self.raw(index).label

    def load(self, index: int, rng: np.random.Generator | None = None) -> Sample:
        """A sample as the net sees it. Raises DataError, with its name, where it cannot be transformed."""
        sample = self.raw(index)
        try:
            image, label = transform.apply(self.transform, sample.image, sample.label, rng)
        except DataError as error:
            first = error.diagnostics[0]
            raise DataError(Diagnostic(first.message, hint=first.hint, place=first.place or sample.name)) from None
        return Sample(image, label, sample.name)


def refuse_size(image: np.ndarray, label: np.ndarray, image_name: str, label_name: str) -> None:
    """Raises DataError where a label map that was decoded from a file has another size than its image."""
    if label.shape == image.shape[:2]:
        return
    sizes = [f"{array.shape[0]} x {array.shape[1]}" for array in (label, image)]
    message = f"the label is {sizes[0]} pixels (height x width), but its image {image_name} is {sizes[1]}"
    turned = label.shape == image.shape[1::-1]
    hint = "one of them is turned: save both without an EXIF orientation" if turned else "export the label again"
    raise DataError(message, place=label_name, hint=hint)


def refuse_other_size(image: np.ndarray, label: np.ndarray, name: str) -> None:
    """Raises DataError where a label map has another size than its image."""
    if label.ndim == 2 and label.shape != image.shape[:2]:
        sizes = [f"{array.shape[0]} x {array.shape[1]}" for array in (label, image)]
        message = f"the label is {sizes[0]} pixels (height x width), but its image {sizes[1]}"
        raise DataError(message, place=name, hint="images and labels must be in the same order and of the same size")
