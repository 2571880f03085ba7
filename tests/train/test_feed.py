"""Iterations made of batches: what they hold, which may not be stacked, and sources without labels."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segspec.data.loader import Batch
from segspec.errors import DataError
from segspec.train.feed import Ahead, Fed, feed, require_labels


class Batches(Iterator[Batch]):
    """A loader of batches of given sizes, numbered by their pixels."""

    def __init__(self, *sizes: tuple[int, int]):
        self.sizes = sizes
        self.batch = 0

    def __next__(self) -> Batch:
        number = self.batch
        height, width = self.sizes[number % len(self.sizes)]
        self.batch += 1
        data = np.full((2, height, width, 3), number, np.uint8)
        label = np.full((2, height, width, 1), number, np.int32)
        return Batch(data, label, (f"{number}a.png", f"{number}b.png"), 2)


def fed(*sizes: tuple[int, int], iter_size: int) -> Any:
    return feed(Batches(*sizes), iter_size)


def test_an_iteration_stacks_its_batches_in_order() -> None:
    stream = fed((3, 4), iter_size=2)
    for first in (0, 2):
        item = next(stream)
        assert item.batches.data.shape == (2, 2, 3, 4, 3) and item.batches.label.shape == (2, 2, 3, 4, 1)
        assert [int(batch.max()) for batch in item.batches.data] == [first, first + 1]
        assert [int(batch.min()) for batch in item.batches.label] == [first, first + 1]
        assert item.names == tuple(f"{number}{letter}.png" for number in (first, first + 1) for letter in "ab")


def test_sizes_may_differ_between_iterations_but_not_within_one() -> None:
    stream = fed((3, 4), (5, 6), iter_size=1)
    assert [next(stream).batches.data.shape[2:4] for _ in range(2)] == [(3, 4), (5, 6)]
    with pytest.raises(DataError, match=r"differ in size: 0a\.png is 3 x 4, 1a\.png is 5 x 6 \(height x width\)\n"):
        next(fed((3, 4), (5, 6), iter_size=2))


def test_one_iteration_is_made_ahead_and_no_more() -> None:
    batches = Batches((3, 4))
    with Ahead(feed(batches, 1)) as ahead:
        for number in range(3):
            assert next(ahead).names[0] == f"{number}a.png"
            wait_until(lambda made=number + 2: batches.batch == made)
    time.sleep(0.05)
    assert batches.batch == 4
    assert not [thread for thread in threading.enumerate() if thread.name == "segspec-feed"]


def test_what_goes_wrong_ahead_is_raised_when_it_is_asked_for() -> None:
    def items() -> Iterator[Fed]:
        yield from itertools.islice(feed(Batches((3, 4)), 1), 1)
        raise DataError("bad picture")

    with Ahead(items()) as ahead:
        next(ahead)
        for _ in range(2):
            with pytest.raises(DataError, match="bad picture"):
                next(ahead)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_source_without_labels_is_named_by_its_use() -> None:
    require_labels(SimpleNamespace(has_labels=True), "training")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="training images have no labels\n  write 'image label' on each line"):
        require_labels(SimpleNamespace(has_labels=False), "training")  # type: ignore[arg-type]
