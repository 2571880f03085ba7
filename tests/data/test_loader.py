from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from segspec.data.loader import Batch, Loader, evaluation_batches, training_batches
from segspec.data.sample import Sample
from segspec.data.sources import DrawnSource
from segspec.data.transform import Transform
from segspec.errors import DataError
from segspec.layers.data import SyntheticSquares

ROOT = Path(__file__).parents[2]


def nothing(index: int) -> None:
    return None


@dataclass
class Numbers:
    """A source whose image number i holds i, and whose label is drawn from the generator it is given."""

    length: int
    before: Callable[[int], None] = nothing
    sizes: Sequence[int] = (4,)
    has_labels: bool = True
    loaded: list[int] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [f"image {index}" for index in range(self.length)]

    @property
    def size(self) -> tuple[int, int]:
        return (2, 4)

    def __len__(self) -> int:
        return self.length

    def label(self, index: int) -> np.ndarray | None:
        return None

    def raw(self, index: int) -> Sample:
        return self.load(index)

    def load(self, index: int, rng: np.random.Generator | None = None) -> Sample:
        self.before(index)
        self.loaded.append(index)
        width = self.sizes[index % len(self.sizes)]
        drawn = 0 if rng is None else int(rng.integers(200))
        label = np.full((2, width), drawn, np.uint8) if self.has_labels else None
        return Sample(np.full((2, width, 3), index, np.uint8), label, self.names[index])


def indices(batch: Batch) -> list[int]:
    return batch.data[:, 0, 0, 0].tolist()


def drawn(batch: Batch) -> list[int]:
    assert batch.label is not None
    return batch.label[:, 0, 0, 0].tolist()


def stream(source: Numbers, batches: int, **options: int | bool) -> list[tuple[list[int], list[int]]]:
    with training_batches(source, 4, **options) as loader:
        return [(indices(batch), drawn(batch)) for _, batch in zip(range(batches), loader, strict=False)]


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("segspec-loader")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> object:
    yield
    gc.collect()
    deadline = time.monotonic() + 5
    while loader_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not loader_threads()


def test_shapes_and_types() -> None:
    with training_batches(Numbers(5), 3) as loader:
        batch = next(loader)
    assert batch.data.shape == (3, 2, 4, 3) and batch.data.dtype == np.uint8
    assert batch.label is not None and batch.label.shape == (3, 2, 4, 1) and batch.label.dtype == np.int32
    assert batch.names == ("image 0", "image 1", "image 2") and batch.count == 3


def test_without_shuffle_the_order_is_the_lists_and_wraps_inside_a_batch() -> None:
    assert [found for found, _ in stream(Numbers(6), 3)] == [[0, 1, 2, 3], [4, 5, 0, 1], [2, 3, 4, 5]]


def test_every_epoch_holds_every_sample_once_in_its_own_order() -> None:
    found = [index for batch, _ in stream(Numbers(10), 10, shuffle=True, seed=3) for index in batch]
    epochs = [found[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_seed_decides_order_and_augmentation() -> None:
    first, again, other = (stream(Numbers(10), 5, shuffle=True, seed=seed) for seed in (1, 1, 2))
    assert first == again and first != other


def test_a_sample_is_drawn_anew_in_each_epoch() -> None:
    batches = stream(Numbers(4), 6)
    assert len({tuple(labels) for _, labels in batches}) == 6


@pytest.mark.parametrize("workers", [0, 1, 4, 8])
def test_the_stream_does_not_depend_on_the_number_of_workers(workers: int) -> None:
    def stumble(index: int) -> None:
        time.sleep(0.003 * (index % 3))

    assert stream(Numbers(7, stumble), 8, shuffle=True, workers=workers) == stream(
        Numbers(7), 8, shuffle=True, workers=0
    )


@pytest.mark.parametrize("start", [1, 3, 5])
def test_resuming_needs_the_number_of_the_next_batch_alone(start: int) -> None:
    whole = stream(Numbers(7), 8, shuffle=True, seed=5)
    source = Numbers(7)
    assert stream(source, 8 - start, shuffle=True, seed=5, start=start, workers=0) == whole[start:]
    assert len(source.loaded) == 4 * (8 - start)


def test_the_loader_says_where_it_stands() -> None:
    with training_batches(Numbers(5), 2, start=10) as loader:
        next(loader)
        next(loader)
        assert loader.batch == 12


@pytest.mark.parametrize(("length", "sizes", "counts"), [(6, [2, 2, 2], [2, 2, 2]), (5, [2, 2, 2], [2, 2, 1])])
def test_evaluation_sees_every_sample_once(length: int, sizes: list[int], counts: list[int]) -> None:
    with evaluation_batches(Numbers(length), 2) as loader:
        batches = list(loader)
    assert [len(batch.data) for batch in batches] == sizes and [batch.count for batch in batches] == counts
    assert [index for batch in batches for index in indices(batch)[: batch.count]] == list(range(length))
    assert all(set(drawn(batch)) == {0} for batch in batches)


def test_a_batch_larger_than_the_source_repeats_it() -> None:
    with evaluation_batches(Numbers(2), 5) as loader:
        (batch,) = loader
    assert indices(batch) == [0, 1, 0, 1, 0] and batch.count == 2


def test_labels_are_optional() -> None:
    with evaluation_batches(Numbers(2, has_labels=False), 2) as loader:
        assert next(loader).label is None


@pytest.mark.parametrize("workers", [0, 3])
def test_an_error_in_a_worker_arrives_as_it_was_when_its_batch_is_due(workers: int) -> None:
    error = DataError("damaged picture", place="b.png")

    def fail(index: int) -> None:
        if index == 5:
            raise error

    with training_batches(Numbers(8, fail), 2, workers=workers) as loader:
        assert indices(next(loader)) == [0, 1]
        assert indices(next(loader)) == [2, 3]
        with pytest.raises(DataError) as caught:
            next(loader)
        assert caught.value is error
        with pytest.raises(StopIteration):
            next(loader)


def test_images_of_different_size_in_one_batch_are_an_error() -> None:
    with training_batches(Numbers(4, sizes=(4, 6)), 2) as loader, pytest.raises(DataError) as caught:
        next(loader)
    text = str(caught.value)
    assert "image 0 is 2 x 4, image 1 is 2 x 6" in text and "batch_size: 1" in text
    with training_batches(Numbers(4, sizes=(4, 6)), 1) as loader:
        assert [next(loader).data.shape[2] for _ in range(2)] == [4, 6]


def test_prefetching_is_bounded() -> None:
    source = Numbers(1000)
    with training_batches(source, 4) as loader:
        next(loader)
        time.sleep(0.1)
        assert len(source.loaded) <= 4 * 4


def test_a_hung_sample_is_named() -> None:
    release = threading.Event()

    def hang(index: int) -> None:
        if index == 3:
            release.wait(20)

    loader = training_batches(Numbers(8, hang), 2, timeout=1.0)
    next(loader)
    start = time.monotonic()
    with pytest.raises(DataError, match="image 3: loading has hung for") as caught:
        next(loader)
    assert time.monotonic() - start < 10 and "network share" in caught.value.diagnostics[0].hint
    release.set()


def test_closing_ends_the_threads_at_once() -> None:
    loader = training_batches(Numbers(100, lambda index: time.sleep(0.02)), 8, workers=4)
    next(loader)
    start = time.monotonic()
    loader.close()
    loader.close()
    assert not loader_threads() and time.monotonic() - start < 5
    with pytest.raises(StopIteration):
        next(loader)


def test_a_forgotten_loader_ends_its_threads() -> None:
    next(training_batches(Numbers(10), 2, workers=3))


UNCLOSED = """
import time
from segspec.data.loader import training_batches
from tests.data.test_loader import Numbers

def load(index):
    print("begun", flush=True)
    time.sleep(0.3)
    print("ended", flush=True)

loader = training_batches(Numbers(100, load), 2, workers=2)
next(loader)
"""


def test_a_process_ends_once_the_threads_of_an_unclosed_loader_have() -> None:
    done = subprocess.run([sys.executable, "-c", UNCLOSED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("begun") == done.stdout.count("ended") > 2


def test_a_drawn_source_runs_through() -> None:
    source = DrawnSource(SyntheticSquares(count=3, height=16, width=20), Transform(crop=(8, 8)))
    loader: Loader
    with evaluation_batches(source, 2) as loader:
        assert [batch.data.shape for batch in loader] == [(2, 8, 8, 3)] * 2
