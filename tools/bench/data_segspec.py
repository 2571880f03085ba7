"""segspec's side of a contest between loaders."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bench.case import Case
from bench.data_task import FLUSHED_BATCHES, MEAN, SCALE, TIMED_BATCHES, DataTask, loaders
from segspec.data.loader import training_batches
from segspec.data.sources import open_source
from segspec.data.synthetic import STREET_TABLE
from segspec.layers.data import DenseImageData


def open_case(settings: dict[str, Any]) -> Case:
    """A loader that runs; a step takes a number of batches, each normalised on the device."""
    task = DataTask.of(settings)
    height, width = task.size
    cut: dict[str, Any] = {"crop_size": task.size}
    if task.variant == "resize":
        cut = {"new_height": height, "new_width": width}
    layer = DenseImageData(
        source=str(task.folder / "train.txt"),
        batch_size=task.batch,
        shuffle=True,
        mirror=True,
        mean_value=MEAN,
        scale=SCALE,
        **cut,
    )
    source = open_source(layer, STREET_TABLE, task.folder)
    loader = training_batches(source, task.batch, shuffle=True, workers=loaders())
    normalize = jax.jit(layer.normalize)

    def take(batches: int) -> None:
        for _ in range(batches):
            batch = next(loader)
            jax.block_until_ready((normalize(jnp.asarray(batch.data)), jnp.asarray(batch.label)))

    return Case(
        lambda: take(TIMED_BATCHES),
        {"images": TIMED_BATCHES * task.batch, "loaders": loaders()},
        begin_turn=lambda: take(FLUSHED_BATCHES),
    )
