"""Work beside the training: a thread that writes or draws while the device computes the next iterations."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

Job = Callable[[], None]


class Background:
    """A thread that does one job at a time; a context manager that ends when the job under way is done.

    What a job raises is raised by whoever next asks: `submit`, `check`, `wait`, or the end of the context.
    """

    def __init__(self, name: str):
        self._pool = ThreadPoolExecutor(1, name)
        self._job: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None and not self._job.done()

    def submit(self, job: Job) -> None:
        """Starts a job; waits for the one before, so that what jobs hold in memory does not pile up."""
        self.wait()
        self._job = self._pool.submit(job)

    def check(self) -> None:
        """Raises what the last job raised, if it is done; does not wait."""
        if not self.busy:
            self.wait()

    def wait(self) -> None:
        """Waits for the job under way."""
        job, self._job = self._job, None
        if job is not None:
            job.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if kind is None:
            self.wait()
