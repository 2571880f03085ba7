"""Training on images of different sizes: which may not meet in a batch, and one compiled step for each size."""

from __future__ import annotations

from functools import lru_cache

import jax
import numpy as np
import optax

from segspec.data.sample import ImageSource
from segspec.errors import DataError
from segspec.train.session import Plan
from segspec.train.step import Metrics, MicroBatches, Step, TrainState, make_step

KEPT_SIZES = 64


def make_sized_step(plan: Plan, optimizer: optax.GradientTransformation, dtype: str) -> Step:
    """A training step for batches of any size of image that the net can be built for.

    As with Caffe, images that are neither resized nor cropped are trained on one by one, each at its own size. A step
    is compiled when a size is first met; those of the sizes seen lately are kept.
    """

    @lru_cache(KEPT_SIZES)
    def step_at(size: tuple[int, int]) -> Step:
        graph, solver = plan.graph_at(size), plan.solver
        return make_step(graph, plan.data, optimizer, seed=solver.random_seed, dtype=dtype, remat=solver.remat)

    def step(state: TrainState, batches: MicroBatches, iteration: jax.Array) -> tuple[TrainState, Metrics]:
        height, width = batches.data.shape[2:4]
        return step_at((height, width))(state, batches, iteration)

    return step


def refuse_sizes(plan: Plan, phase: str, sizes: np.ndarray) -> None:
    """Refuses, before the first iteration, images whose sizes would end the training in the middle.

    Args:
        plan: what is trained.
        phase: `train` or `test`: which images.
        sizes: (images, 2), height and width as stored.

    Raises:
        DataError: two images that differ in size would meet in one batch, or in one iteration; or an image is smaller
            than what is to be cut out of it.
    """
    layer, solver = plan.spec.data[phase], plan.solver
    source = plan.train if phase == "train" or plan.test is None else plan.test
    if layer.size is not None:
        for index in sorted({int(sizes[:, side].argmin()) for side in (0, 1)}):
            source.load(index)
        return
    together, batches = layer.batch_size * solver.iter_size, solver.max_iter
    if phase == "test":
        together, batches = layer.batch_size, -(-len(sizes) // layer.batch_size)
        batches = min(batches, solver.test_iter or batches)
    pair = find_meeting(sizes, together, together * batches, shuffle=phase == "train" and layer.shuffle)
    if pair is not None:
        kind = "training" if source is plan.train else "test"
        raise _differing(kind, source, sizes, pair, layer.batch_size, together // layer.batch_size)


def find_meeting(sizes: np.ndarray, together: int, images: int, *, shuffle: bool) -> tuple[int, int] | None:
    """Two images of different sizes that are taken together.

    Args:
        sizes: (images, 2) of the list.
        together: how many images in a row must be of one size.
        images: how many are taken in all, the list being gone through again and again.
        shuffle: whether they are taken in random orders; then any two may meet.

    Returns:
        Their numbers in the list, or None.
    """
    if together == 1:
        return None
    if shuffle:
        others = np.flatnonzero((sizes != sizes[0]).any(axis=1))
        return (0, int(others[0])) if others.size else None
    count = len(sizes)
    changes = np.flatnonzero((sizes != np.roll(sizes, -1, axis=0)).any(axis=1))
    # Where the length of the list is no multiple of `together`, another round cuts it at other places.
    places = np.concatenate([changes, changes + count]) + 1
    found = places[(places % together != 0) & (places < images)]
    return (int(found[0] - 1) % count, int(found[0]) % count) if found.size else None


def _differing(
    kind: str, source: ImageSource, sizes: np.ndarray, pair: tuple[int, int], batch: int, batches: int
) -> DataError:
    what = "batch" if batch > 1 else "iteration"
    found = ", ".join(f"{source.names[index]} is {sizes[index][0]} x {sizes[index][1]}" for index in pair)
    single = " and ".join([*["batch_size: 1"] * (batch > 1), *["the solver's iter_size: 1"] * (batches > 1)])
    hint = f"set new_height and new_width, or crop_size, or {single}"
    return DataError(f"{kind} images of one {what} differ in size: {found} (height x width)", hint=hint)
