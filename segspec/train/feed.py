"""From batches to iterations: `iter_size` batches a time, with the names of their images, one iteration ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import NamedTuple, Self

import jax
import numpy as np

from segspec.data.loader import JOIN_SECONDS, Batch
from segspec.data.sample import ImageSource
from segspec.errors import DataError
from segspec.train.step import MicroBatches


class Fed(NamedTuple):
    """What one iteration trains on.

    Attributes:
        batches: the stacked images and labels.
        names: of all images in them.
    """

    batches: MicroBatches
    names: tuple[str, ...]


def feed(loader: Iterator[Batch], iter_size: int) -> Iterator[Fed]:
    """Iterations without end from a training loader.

    Raises:
        DataError: the images of one iteration differ in size.
    """
    while True:
        group = [next(loader) for _ in range(iter_size)]
        _refuse_sizes(group)
        labels = [batch.label for batch in group if batch.label is not None]
        # `device_put` and not `jnp.asarray`, which would compile a program for every shape and copy on a CPU.
        batches = MicroBatches(*jax.device_put((_stack([batch.data for batch in group]), _stack(labels))))
        yield Fed(batches, tuple(name for batch in group for name in batch.names))


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The arrays as one; a single one is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


class Ahead(Iterator[Fed]):
    """The same iterations, each made by a thread while the one before is in use; a context manager.

    So batches are stacked and on their way to the device while the step before still computes there, and the time that
    `next` takes is the time that the training waits for images.
    """

    def __init__(self, items: Iterator[Fed]):
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._made: SimpleQueue[Fed | BaseException] = SimpleQueue()
        work = (items, self._wanted, self._made)
        self._thread = threading.Thread(target=_make, args=work, name="segspec-feed", daemon=True)
        self._thread.start()
        self._wanted.put(True)

    def __next__(self) -> Fed:
        made = self._made.get()
        if isinstance(made, BaseException):
            self._made.put(made)  # for whoever asks again
            raise made
        self._wanted.put(True)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the thread; a disk that hangs is not waited for."""
        self._wanted.put(False)
        self._thread.join(JOIN_SECONDS)


def _make(items: Iterator[Fed], wanted: SimpleQueue[bool], made: SimpleQueue[Fed | BaseException]) -> None:
    """The thread: makes an item whenever one is wanted. Whatever goes wrong is handed on, and is the end."""
    while wanted.get():
        try:
            made.put(next(items))
        except BaseException as error:
            made.put(error)
            return


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
