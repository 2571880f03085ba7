"""From batches to iterations: `iter_size` batches a time, with the names of their images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from segspec.data.loader import Batch, Loader
from segspec.data.sample import ImageSource
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
    """Iterations without end from a training loader.

    Raises:
        DataError: the images of one iteration differ in size.
    """
    while True:
        group = [next(loader) for _ in range(iter_size)]
        _refuse_sizes(group)
        labels = [batch.label for batch in group if batch.label is not None]
        # On their way to the device while the step before still computes there.
        batches = MicroBatches(jnp.asarray(np.stack([batch.data for batch in group])), jnp.asarray(np.stack(labels)))
        yield Fed(batches, tuple(name for batch in group for name in batch.names), loader.waited)


def _refuse_sizes(group: Sequence[Batch]) -> None:
    """Within a batch the loader has refused different sizes; this is about the batches of one iteration."""
    first = group[0]
    for batch in group:
        if batch.data.shape != first.data.shape:
            sizes = [f"{each.names[0]} is {each.data.shape[1]} x {each.data.shape[2]}" for each in (first, batch)]
            message = f"training images of one iteration differ in size: {sizes[0]}, {sizes[1]} (height x width)"
            raise DataError(message, hint="set new_height and new_width, or crop_size, or iter_size: 1")


def require_labels(source: ImageSource, what: str) -> None:
    """Raises DataError when a source cannot be trained or tested on for want of labels."""
    if not source.has_labels:
        hint = "write 'image label' on each line of the list, and declare 'classes' in the spec"
        raise DataError(f"{what} images have no labels", hint=hint)
