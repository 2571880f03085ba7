"""From batches to iterations: `iter_size` batches a time, with the names of their images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from segspec.data.loader import Loader
from segspec.data.sources import ImageSource
from segspec.errors import DataError
from segspec.train.step import MicroBatches


class Fed(NamedTuple):
    """What one iteration trains on.

    Attributes:
        batches: the stacked images and labels.
        names: of all images in them.
        waited: seconds spent so far waiting for images.
    """

    batches: MicroBatches
    names: tuple[str, ...]
    waited: float


def feed(loader: Loader, iter_size: int) -> Iterator[Fed]:
    """Iterations without end from a training loader."""
    while True:
        group = [next(loader) for _ in range(iter_size)]
        labels = [batch.label for batch in group if batch.label is not None]
        data = np.stack([batch.data for batch in group])
        names = tuple(name for batch in group for name in batch.names)
        yield Fed(MicroBatches(data, np.stack(labels)), names, loader.waited)  # type: ignore[arg-type]


def require_labels(source: ImageSource, what: str) -> None:
    """Raises DataError when a source cannot be trained or tested on for want of labels."""
    if not source.has_labels:
        hint = "write 'image label' on each line of the list, and declare 'classes' in the spec"
        raise DataError(f"{what} images have no labels", hint=hint)
