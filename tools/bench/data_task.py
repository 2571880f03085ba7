"""What both sides of a contest between loaders share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bench.machine import usable_cores

FLUSHED_BATCHES = 8
"""Batches taken outside the time, at the start of a turn: those that were loaded ahead while others had theirs."""

TIMED_BATCHES = 25
MEAN, SCALE = (104.0, 117.0, 123.0), 1 / 64
"""(image - MEAN) * SCALE is what the net is given."""

VARIANTS = ("resize", "crop")


class DataTask(NamedTuple):
    """A pipeline: decode image and label, resize or crop at random, mirror at random, normalise.

    Attributes:
        folder: with `train.txt`, lines `image label` of paths relative to it.
        variant: `resize` or `crop`, to `size`.
        size: (height, width) that images come out with.
        batch: images in a batch.
    """

    folder: Path
    variant: str
    size: tuple[int, int]
    batch: int

    @classmethod
    def of(cls, task: dict[str, Any]) -> DataTask:
        """The task of a request."""
        return cls(Path(task["folder"]), task["variant"], tuple(task["size"]), task["batch"])


def loaders() -> int:
    """Threads or processes that read: one a core, up to 4."""
    return min(4, usable_cores())
