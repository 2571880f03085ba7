"""Caffe's own training runs, update by update: a convolution, ReLU, max pooling, product and softmax loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segspec.spec.solver import Solver
from segspec.train.caffe_history import history_of
from segspec.train.optimizer import make_optimizer

BATCH = 4
MULTIPLIERS = {"conv1": {"0": (1.0, 1.0), "1": (2.0, 0.0)}, "ip": {"0": (0.5, 3.0), "1": (1.0, 1.0)}}
PLAIN: dict[str, Any] = {"base_lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
ADAPTIVE: dict[str, Any] = {"base_lr": 0.05, "weight_decay": 0.01}
SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": PLAIN,
    "sgd_nomomentum_nodecay": {"base_lr": 0.05},
    "sgd_itersize2": {**PLAIN, "iter_size": 2},
    "sgd_clip": {**PLAIN, "clip_gradients": 0.7},
    "sgd_L1": {**PLAIN, "regularization_type": "L1"},
    "nesterov": {**PLAIN, "type": "Nesterov"},
    "adagrad": {**ADAPTIVE, "type": "AdaGrad"},
    "rmsprop": {**ADAPTIVE, "type": "RMSProp", "base_lr": 0.01, "rms_decay": 0.95},
    "adadelta": {**PLAIN, "type": "AdaDelta", "base_lr": 1.0, "momentum": 0.95, "delta": 1e-6},
    "adam": {**PLAIN, "type": "Adam", "base_lr": 0.01},
    "lr_step": {**PLAIN, "lr_policy": "step", "gamma": 0.5, "stepsize": 7},
    "lr_exp": {**PLAIN, "lr_policy": "exp", "gamma": 0.95},
    "lr_inv": {**PLAIN, "lr_policy": "inv", "gamma": 0.1, "power": 0.75},
    "lr_poly": {**PLAIN, "lr_policy": "poly", "power": 0.9},
}
ONLY_BVLC = ("rmsprop", "adadelta", "adam")
RUNS = [("bvlc" if name in ONLY_BVLC else "tiny", name) for name in SOLVERS] + [
    ("bvlc", "sgd_clip"),
    ("bvlc", "nesterov"),
]
Params = dict[str, dict[str, Any]]


def loss_of(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    """The net's loss on images (batch, channels, height, width), as Caffe lays them out."""
    filters, bias = params["conv1"]["0"], params["conv1"]["1"]
    exact = jax.lax.Precision.HIGHEST
    features = jax.lax.conv_general_dilated(images, filters, (1, 1), ((1, 1), (1, 1)), precision=exact)
    features = jax.nn.relu(features + bias[:, None, None])
    pooled = features.reshape(len(images), 4, 4, 2, 4, 2).max((3, 5)).reshape(len(images), -1)
    scores = jnp.matmul(pooled, params["ip"]["0"].T, precision=exact) + params["ip"]["1"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()


def recorded(run: Any, t: int) -> Params:
    return {layer: {blob: run[f"params/{layer}:{blob}"][t] for blob in "01"} for layer in ("conv1", "ip")}


gradients_of = jax.jit(jax.vmap(jax.value_and_grad(loss_of), (None, 0, 0)))
"""The losses and gradients of every batch of an iteration."""


def deviations(run: Any, solver: Solver) -> tuple[float, float, float]:
    """The greatest differences from Caffe: of a weight after an update, of a last batch's loss, of the history."""
    optimizer = make_optimizer(solver, MULTIPLIERS)
    update = jax.jit(optimizer.update)
    state = jax.jit(optimizer.init)(recorded(run, 0))
    size = solver.iter_size
    worst = worst_loss = 0.0
    for t, loss in enumerate(run["loss"]):
        picks = np.arange(t * size * BATCH, (t + 1) * size * BATCH).reshape(size, BATCH) % len(run["X"])
        before, expected = recorded(run, t), recorded(run, t + 1)
        losses, gradients = gradients_of(before, run["X"][picks], run["Y"][picks].astype(np.int32))
        updates, state = update(jax.tree.map(lambda each: np.asarray(each).sum(0), gradients), state, before)
        differences = jax.tree.map(
            lambda old, step, new: np.abs(old + np.asarray(step) - new).max(), before, updates, expected
        )
        worst = max(worst, *map(float, jax.tree.leaves(differences)))
        worst_loss = max(worst_loss, abs(float(losses[-1]) - float(loss)))
    return worst, worst_loss, history_deviation(run, state)


def history_deviation(run: Any, state: optax.OptState) -> float:
    """The greatest relative difference of the history after the last update."""
    ours = [tree[layer][blob] for tree in history_of(state) for layer in ("conv1", "ip") for blob in "01"]
    theirs = [run[f"history/{index}"] for index in range(sum(key.startswith("history/") for key in run))]
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)


@pytest.mark.parametrize(("program", "name"), RUNS)
def test_every_update_is_caffes(shared: Path, program: str, name: str) -> None:
    run = dict(np.load(shared / "golden" / "traj" / f"{program}_{name}.npz"))
    worst, worst_loss, worst_history = deviations(run, Solver(max_iter=100, **SOLVERS[name]))
    print(f"{program}_{name}: weights {worst:.1e}, loss {worst_loss:.1e}, history {worst_history:.1e}")
    assert worst < 2e-5
    assert worst_loss < 2e-5
    assert worst_history < 1e-4
