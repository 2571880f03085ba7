"""Training on images of different sizes: one compiled step for each size."""

from __future__ import annotations

from functools import lru_cache

import jax
import optax

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
        return make_step(plan.graph_at(size), plan.data, optimizer, seed=plan.solver.random_seed, dtype=dtype)

    def step(state: TrainState, batches: MicroBatches, iteration: jax.Array) -> tuple[TrainState, Metrics]:
        height, width = batches.data.shape[2:4]
        return step_at((height, width))(state, batches, iteration)

    return step
