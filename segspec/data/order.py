"""Which samples make which batch: plain functions of the batch's number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

_SHUFFLING, _AUGMENTING = 1, 2


@dataclass(frozen=True)
class Position:
    """One sample of a stream: its index in the source and the epoch, None where nothing may be random."""

    epoch: int | None
    index: int

    def generator(self, seed: int) -> np.random.Generator | None:
        """The source of randomness that belongs to this sample in this epoch."""
        return None if self.epoch is None else _generator(seed, _AUGMENTING, self.epoch, self.index)


class Plan(Protocol):
    """The order of samples."""

    def positions(self, batch: int) -> tuple[list[Position], int] | None:
        """The samples of this batch and how many of them are real; None past the end."""


@dataclass(frozen=True)
class Training:
    """Epochs without end. Sample p of the stream belongs to epoch p // length; batches ignore where epochs end."""

    length: int
    batch_size: int
    seed: int
    shuffle: bool

    def positions(self, batch: int) -> tuple[list[Position], int]:
        stream = range(batch * self.batch_size, (batch + 1) * self.batch_size)
        return [self._position(*divmod(place, self.length)) for place in stream], self.batch_size

    def _position(self, epoch: int, offset: int) -> Position:
        return Position(epoch, int(_permutation(self.length, self.seed, epoch)[offset]) if self.shuffle else offset)


@dataclass(frozen=True)
class Evaluation:
    """Every sample once, in order; the last batch is filled with samples from the start."""

    length: int
    batch_size: int

    def positions(self, batch: int) -> tuple[list[Position], int] | None:
        first = batch * self.batch_size
        if first >= self.length:
            return None
        stream = range(first, first + self.batch_size)
        return [Position(None, place % self.length) for place in stream], min(self.batch_size, self.length - first)


@lru_cache(maxsize=4)
def _permutation(length: int, seed: int, epoch: int) -> np.ndarray:
    return _generator(seed, _SHUFFLING, epoch).permutation(length)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
