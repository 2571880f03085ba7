"""Loading batches ahead of their use, with threads.

Every sample is a function of (seed, epoch, index), and which samples make a batch is a function of its number. So the
stream does not depend on the number of threads, and resuming needs the number of the next batch and nothing else.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from segspec.data.order import Evaluation, Plan, Position, Training
from segspec.data.sample import ImageSource, Sample
from segspec.errors import DataError

JOIN_SECONDS = 1.0


@dataclass(frozen=True)
class Batch:
    """Samples stacked.

    Attributes:
        data: uint8 or float32 (batch, height, width, channels).
        label: int32 (batch, height, width, 1); (batch,) where a label is a class number for the whole image; or None.
        names: the samples' names.
        count: how many are real; the rest of a last batch repeats samples to fill it.
    """

    data: np.ndarray
    label: np.ndarray | None
    names: tuple[str, ...]
    count: int


class _Task(NamedTuple):
    position: Position
    future: Future[Sample]


class _Work(NamedTuple):
    """What the threads share: the source, tasks (None: stop) and who works on what since when."""

    source: ImageSource
    seed: int
    queue: SimpleQueue[_Task | None]
    busy: dict[str, tuple[int, float]]


def training_batches(
    source: ImageSource,
    batch_size: int,
    *,
    seed: int = 0,
    shuffle: bool = False,
    start: int = 0,
    workers: int = 2,
    timeout: float = 120.0,
) -> Loader:
    """Batches without end; a batch may straddle two epochs, as in Caffe.

    Args:
        source: where samples come from.
        batch_size: samples in a batch.
        seed: of the shuffling and the augmentation.
        shuffle: whether each epoch has its own order.
        start: number of the first batch; resuming passes how many were consumed.
        workers: threads; 0 loads in the caller's.
        timeout: seconds after which a sample that does not arrive is an error.
    """
    return Loader(source, Training(len(source), batch_size, seed, shuffle), seed, start, workers, timeout)


def evaluation_batches(source: ImageSource, batch_size: int, *, workers: int = 2, timeout: float = 120.0) -> Loader:
    """Every sample once, in order, without augmentation; the last batch is filled up and says its `count`."""
    return Loader(source, Evaluation(len(source), batch_size), 0, 0, workers, timeout)


class Loader(Iterator[Batch]):
    """An iterator over batches that are loaded ahead by threads. Close it, or use it in a `with` statement.

    Attributes:
        batch: number of the next batch: the state from which training resumes.
    """

    def __init__(
        self, source: ImageSource, plan: Plan, seed: int, start: int, workers: int, timeout: float, prefetch: int = 2
    ):
        self.batch = start
        self._plan = plan
        self._timeout = timeout
        self._prefetch = prefetch if workers else 0
        self._planned = start
        self._pending: deque[tuple[list[_Task], int]] = deque()
        self._work = _Work(source, seed, SimpleQueue(), {})
        self._threads = _start(self._work, workers)
        self._finalizer = weakref.finalize(self, _stop, self._work, self._threads)

    def __next__(self) -> Batch:
        try:
            self._plan_ahead()
            if not self._pending:
                raise StopIteration
            tasks, count = self._pending.popleft()
            batch = _stack([self._result(task) for task in tasks], count)
        except BaseException:
            self.close()
            raise
        self._plan_ahead()
        self.batch += 1
        return batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads; what they were loading is dropped. The iterator is then at its end."""
        self._pending.clear()
        self._finalizer()

    def _plan_ahead(self) -> None:
        """Queues the samples of the next batches, up to the number that are kept ahead."""
        while self._finalizer.alive and len(self._pending) <= self._prefetch:
            planned = self._plan.positions(self._planned)
            if planned is None:
                return
            positions, count = planned
            tasks = [_Task(position, Future()) for position in positions]
            self._pending.append((tasks, count))
            self._planned += 1
            for task in tasks if self._threads else ():
                self._work.queue.put(task)

    def _result(self, task: _Task) -> Sample:
        if not self._threads:
            return _load(self._work, task.position)
        try:
            return task.future.result(self._timeout)
        except TimeoutError:
            if task.future.done():
                return task.future.result()
            raise self._hung(task) from None

    def _hung(self, task: _Task) -> DataError:
        """The error that names the sample which has kept a thread busy for longest."""
        busy = sorted(self._work.busy.values(), key=lambda entry: entry[1])
        index, since = busy[0] if busy else (task.position.index, time.monotonic() - self._timeout)
        seconds = time.monotonic() - since
        return DataError(
            f"loading has hung for {seconds:.0f} seconds",
            place=self._work.source.names[index],
            hint="is the disk or the network share that holds it still there?",
        )


def _start(work: _Work, workers: int) -> tuple[threading.Thread, ...]:
    threads = tuple(
        threading.Thread(target=_run, args=(work,), name=f"segspec-loader-{number}", daemon=True)
        for number in range(workers)
    )
    for thread in threads:
        thread.start()
    return threads


def _stop(work: _Work, threads: Sequence[threading.Thread]) -> None:
    """Empties the queue, tells each thread to end and waits for it. Knows no Loader, so that one can be collected.

    This is also how a process ends that has closed no loader: a thread that is still in OpenCV's C++ when Python ends
    would abort the process. A disk that hangs is not waited for.
    """
    while not work.queue.empty():
        work.queue.get()
    for _ in threads:
        work.queue.put(None)
    deadline = time.monotonic() + JOIN_SECONDS
    for thread in threads:
        if thread is not threading.current_thread():  # whose allocations may be what has a loader collected
            thread.join(max(0.0, deadline - time.monotonic()))


def _run(work: _Work) -> None:
    """A thread: loads until told to stop. Whatever goes wrong is handed to whoever waits for the sample."""
    name = threading.current_thread().name
    while (task := work.queue.get()) is not None:
        work.busy[name] = (task.position.index, time.monotonic())
        try:
            task.future.set_result(_load(work, task.position))
        except BaseException as error:
            task.future.set_exception(error)
        work.busy.pop(name)
        del task


def _load(work: _Work, position: Position) -> Sample:
    return work.source.load(position.index, position.generator(work.seed))


def _stack(samples: list[Sample], count: int) -> Batch:
    first = samples[0]
    for sample in samples:
        if sample.image.shape != first.image.shape:
            raise _sizes_differ(first, sample)
    labels = [sample.label for sample in samples if sample.label is not None]
    label = np.stack(labels, dtype=np.int32) if labels else None
    if label is not None and label.ndim == 3:
        label = label[..., None]
    return Batch(np.stack([sample.image for sample in samples]), label, tuple(sample.name for sample in samples), count)


def _sizes_differ(first: Sample, other: Sample) -> DataError:
    sizes = [f"{sample.image.shape[0]} x {sample.image.shape[1]}" for sample in (first, other)]
    return DataError(
        f"images of one batch differ in size: {first.name} is {sizes[0]}, {other.name} is {sizes[1]} (height x width)",
        hint="set new_height and new_width, or crop_size, or batch_size: 1",
    )
