from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import numpy.typing as npt
import pytest

from segspec.spec.solver import Solver
from segspec.train.optimizer import make_optimizer

Array = npt.NDArray[np.float64]
Arrays = dict[str, dict[str, npt.NDArray[np.float32]]]
History = dict[str, Array]

MULTIPLIERS = {
    "conv/1": {"weight": (1.0, 1.0), "bias": (2.0, 0.0)},
    "ip": {"weight": (0.5, 3.0)},
    "fixed": {"w": (0.0, 1.0)},
}
SHAPES = {
    "conv/1": {"weight": (3, 3, 2, 4), "bias": (4,)},
    "ip": {"weight": (5, 2), "bias": (2,)},
    "fixed": {"w": (3,)},
}
ITERATIONS = 6


def draw(seed: int, scale: float = 1.0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        layer: {blob: (scale * rng.standard_normal(shape)).astype(np.float32) for blob, shape in blobs.items()}
        for layer, blobs in SHAPES.items()
    }


def rate_of(solver: Solver, t: int) -> float:
    return solver.base_lr * (solver.gamma or 1) ** (t // (solver.stepsize or 10**9))


def sgd(s: Solver, h: History, g: Array, r: float, t: int) -> Array:
    h["v"] = s.momentum * h.get("v", 0 * g) + r * g
    return h["v"]


def nesterov(s: Solver, h: History, g: Array, r: float, t: int) -> Array:
    old = h.get("v", 0 * g)
    h["v"] = s.momentum * old + r * g
    return np.asarray((1 + s.momentum) * h["v"] - s.momentum * old)


def adagrad(s: Solver, h: History, g: Array, r: float, t: int) -> Array:
    h["h"] = h.get("h", 0 * g) + g**2
    return np.asarray(r * g / (np.sqrt(h["h"]) + s.delta))


def rmsprop(s: Solver, h: History, g: Array, r: float, t: int) -> Array:
    h["h"] = s.rms_decay * h.get("h", 0 * g) + (1 - s.rms_decay) * g**2
    return np.asarray(r * g / (np.sqrt(h["h"]) + s.delta))


def adadelta(s: Solver, h: History, g: Array, r: float, t: int) -> Array:
    h["h"] = s.momentum * h.get("h", 0 * g) + (1 - s.momentum) * g**2
    v = g * np.sqrt((h.get("d", 0 * g) + s.delta) / (h["h"] + s.delta))
    h["d"] = s.momentum * h.get("d", 0 * g) + (1 - s.momentum) * v**2
    return np.asarray(r * v)


def adam(s: Solver, h: History, g: Array, r: float, t: int) -> Array:
    h["m"] = s.momentum * h.get("m", 0 * g) + (1 - s.momentum) * g
    h["v"] = s.momentum2 * h.get("v", 0 * g) + (1 - s.momentum2) * g**2
    correction = np.sqrt(1 - s.momentum2 ** (t + 1)) / (1 - s.momentum ** (t + 1))
    return np.asarray(r * correction * h["m"] / (np.sqrt(h["v"]) + s.delta))


RULES: dict[str, tuple[Callable[[Solver, History, Array, float, int], Array], dict[str, float]]] = {
    "SGD": (sgd, {"momentum": 0.9}),
    "Nesterov": (nesterov, {"momentum": 0.9}),
    "AdaGrad": (adagrad, {"delta": 1e-3}),
    "RMSProp": (rmsprop, {"rms_decay": 0.9, "delta": 1e-3}),
    "AdaDelta": (adadelta, {"momentum": 0.95, "delta": 1e-4}),
    "Adam": (adam, {"momentum": 0.9, "momentum2": 0.99, "delta": 1e-3}),
}


def train_by_caffe(solver: Solver, gradients: list[Arrays]) -> list[Arrays]:
    """Caffe's solver, blob by blob, in double precision: the weights after each iteration."""
    rule = RULES[solver.type][0]
    weights = {layer: {b: w.astype(np.float64) for b, w in blobs.items()} for layer, blobs in draw(0).items()}
    history: dict[tuple[str, str], History] = {}
    trace = []
    for t, summed in enumerate(gradients):
        learned = {
            (a, b): g.astype(np.float64) for a, blobs in summed.items() for b, g in blobs.items() if a != "fixed"
        }
        norm = np.sqrt(sum((g**2).sum() for g in learned.values()))
        clip = solver.clip_gradients / norm if 0 < solver.clip_gradients < norm else 1.0
        for (layer, blob), gradient in learned.items():
            lr_mult, decay_mult = MULTIPLIERS.get(layer, {}).get(blob, (1.0, 1.0))
            w = weights[layer][blob]
            pull = np.sign(w) if solver.regularization_type == "L1" else w
            g = gradient * clip / solver.iter_size + solver.weight_decay * decay_mult * pull
            own = history.setdefault((layer, blob), {})
            weights[layer][blob] = w - rule(solver, own, g, rate_of(solver, t) * lr_mult, t)
        trace.append({layer: {b: w.astype(np.float32) for b, w in blobs.items()} for layer, blobs in weights.items()})
    return trace


def train(solver: Solver, gradients: list[Arrays]) -> list[Arrays]:
    optimizer = make_optimizer(solver, MULTIPLIERS)
    update = jax.jit(optimizer.update)
    params = draw(0)
    state = jax.jit(optimizer.init)(params)
    trace = []
    for summed in gradients:
        updates, state = update(summed, state, params)
        params = jax.tree.map(lambda weights, step: np.asarray(weights) + np.asarray(step), params, updates)
        trace.append(params)
    return trace


CLIPPED: dict[str, object] = {"clip_gradients": 2.0, "iter_size": 2}
CASES: list[tuple[str, dict[str, object]]] = [(rule, CLIPPED) for rule in RULES]


@pytest.mark.parametrize(
    ("rule", "extra"), [*CASES, ("SGD", {}), ("SGD", {"iter_size": 3}), ("Adam", {"regularization_type": "L1"})]
)
def test_a_rule_is_caffes_while_the_rate_changes(rule: str, extra: dict[str, object]) -> None:
    fields = {"base_lr": 0.1, "weight_decay": 0.05, "lr_policy": "step", "gamma": 0.3, "stepsize": 2}
    solver = Solver(type=rule, max_iter=ITERATIONS, **{**fields, **RULES[rule][1], **extra})
    gradients = [draw(seed + 1) for seed in range(ITERATIONS)]
    for found, expected in zip(train(solver, gradients), train_by_caffe(solver, gradients), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6), found, expected)


def test_a_step_keeps_the_rate_it_was_taken_with() -> None:
    solver = Solver(base_lr=1.0, max_iter=9, momentum=0.5, lr_policy="step", gamma=0.1, stepsize=1)
    first, second = train(solver, [jax.tree.map(np.ones_like, draw(0)), jax.tree.map(np.zeros_like, draw(0))])
    np.testing.assert_allclose(second["ip"]["bias"] - first["ip"]["bias"], [-0.5, -0.5], rtol=1e-6)


@pytest.mark.parametrize("rule", [*RULES, "AdamW", "LAMB", "Lion"])
def test_lr_mult_0_freezes_every_bit(rule: str) -> None:
    momentum = {} if rule in ("AdaGrad", "RMSProp") else {"momentum": 0.9}
    solver = Solver(type=rule, base_lr=0.1, max_iter=9, weight_decay=0.5, **momentum)
    after = train(solver, [draw(seed + 1) for seed in range(3)])[-1]
    np.testing.assert_array_equal(after["fixed"]["w"], draw(0)["fixed"]["w"])
    assert np.abs(after["ip"]["weight"] - draw(0)["ip"]["weight"]).min() > 0


def test_the_gradient_of_a_frozen_blob_does_not_count_when_clipping() -> None:
    solver = Solver(base_lr=0.1, max_iter=9, clip_gradients=1.0)
    gradients = draw(1)
    huge = {**gradients, "fixed": {"w": np.full(3, 1e6, np.float32)}}
    jax.tree.map(np.testing.assert_array_equal, train(solver, [huge]), train(solver, [gradients]))


@pytest.mark.parametrize("rule", ["AdamW", "LAMB", "Lion"])
def test_decay_beside_the_gradient_shrinks_weights_by_their_multiplier(rule: str) -> None:
    zero = jax.tree.map(np.zeros_like, draw(0))
    solver = Solver(type=rule, base_lr=0.1, max_iter=9, momentum=0.9, weight_decay=0.5)
    start, after = draw(0), train(solver, [zero])[0]
    np.testing.assert_array_equal(after["conv/1"]["bias"], start["conv/1"]["bias"])
    if rule == "LAMB":  # its trust ratio makes the step as long as the weights
        np.testing.assert_allclose(after["ip"]["bias"], 0.9 * start["ip"]["bias"], rtol=1e-5)
    else:
        np.testing.assert_allclose(after["ip"]["weight"], (1 - 0.1 * 0.5 * 0.5 * 3) * start["ip"]["weight"], rtol=1e-5)


def test_adamw_and_lion_take_their_first_step_by_the_sign() -> None:
    gradients = draw(1)
    for rule in ("AdamW", "Lion"):
        solver = Solver(type=rule, base_lr=0.1, max_iter=9, momentum=0.9, momentum2=0.99)
        step = train(solver, [gradients])[0]["conv/1"]["bias"] - draw(0)["conv/1"]["bias"]
        np.testing.assert_allclose(step, -0.2 * np.sign(gradients["conv/1"]["bias"]), rtol=1e-4)
