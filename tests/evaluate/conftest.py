from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from segspec.errors import Source
from segspec.evaluate.model import Model
from segspec.graph.nominal import nominal_graph
from segspec.net import Tree, init
from segspec.run.folder import RunFolder
from segspec.run.snapshots import save_snapshot
from segspec.spec.net import read_net

MakeModel = Callable[..., Model]


@pytest.fixture
def make_model() -> MakeModel:
    """Makes a model of a spec's text, with parameters and statistics that are all different from their defaults."""

    def make(text: str, seed: int = 0, **attributes: Any) -> Model:
        head = "segspec: 1\nname: tiny\n" + ("" if "classes:" in text else "classes: [ground, thing]\n")
        spec = read_net(Source("net.yaml", head + text), Path())
        graph = nominal_graph(spec)
        params, state = jax.eval_shape(lambda: init(graph, 0))
        return Model(spec, scatter(params, seed), scatter(state, seed + 1), **attributes)

    return make


def scatter(tree: Any, seed: int) -> Tree:
    """Numbers around 0 in every array, or around 1 where a variance, a factor or a scale is meant."""
    rng = np.random.default_rng(seed)

    def draw(blob: str, value: jax.ShapeDtypeStruct) -> jax.Array:
        around = 1.0 if blob in ("variance", "factor", "scale") else 0.0
        return jax.numpy.asarray(around + 0.3 * rng.normal(size=value.shape).clip(-2, 2), np.float32)

    return {layer: {blob: draw(blob, value) for blob, value in own.items()} for layer, own in tree.items()}


@pytest.fixture
def make_run() -> Callable[..., RunFolder]:
    """Writes a run folder as a training leaves it, with snapshots of a model at some iterations."""

    def make(path: Path, text: str, model: Model, iterations: tuple[int, ...] = (1,)) -> RunFolder:
        path.mkdir(parents=True)
        run = RunFolder(path)
        run.spec.write_text(text)
        run.solver.write_text("base_lr: 1.0\nmax_iter: 1\n")
        for iteration in iterations:
            add_snapshot(run, model, iteration)
        return run

    return make


def add_snapshot(run: RunFolder, model: Model, iteration: int) -> None:
    trees = {"params": model.params, "state": model.state, "optimizer": ()}
    save_snapshot(run, iteration, trees, {"metrics": {"miou": iteration / 1000}}, keep=100)
