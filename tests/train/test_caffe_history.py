"""The history of Caffe's solvers in our optimizer: Caffe's own arrays after twenty updates, and back."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from segspec.spec.solver import Solver
from segspec.train.caffe_history import current_step, history_of, rounds_of, with_history
from segspec.train.optimizer import make_optimizer

RULES: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.9},
    "AdaGrad": {},
    "RMSProp": {"rms_decay": 0.9},
    "AdaDelta": {"momentum": 0.95, "delta": 1e-6},
    "Adam": {"momentum": 0.9},
}


def tree(seed: int) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {"b": {"weight": rng.random((2, 3), np.float32)}, "a": {"bias": rng.random(2, np.float32)}}


@pytest.mark.parametrize("rule", RULES)
def test_a_training_goes_on_from_its_history_as_if_never_stopped(rule: Any) -> None:
    solver = Solver(type=rule, base_lr=0.1, max_iter=9, lr_policy="step", gamma=0.5, stepsize=2, **RULES[rule])
    optimizer = make_optimizer(solver, {})
    update = jax.jit(optimizer.update)
    state = optimizer.init(tree(0))
    for seed in (1, 2, 3):
        _, state = update(tree(seed), state, tree(0))
    rounds = history_of(state)
    assert len(rounds) == rounds_of(rule)
    again = with_history(optimizer.init(tree(0)), rounds, 3)
    for ours, theirs in zip(update(tree(4), again, tree(0)), update(tree(4), state, tree(0)), strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_rules_that_caffe_lacks_have_no_history() -> None:
    for rule in ("AdamW", "LAMB", "Lion"):
        solver = Solver(type=rule, base_lr=0.1, max_iter=9, momentum=0.9)
        assert rounds_of(rule) == len(history_of(make_optimizer(solver, {}).init(tree(0)))) == 0


def test_steps_are_counted() -> None:
    step = Solver(base_lr=0.1, max_iter=9, lr_policy="step", gamma=0.5, stepsize=3)
    several = Solver(base_lr=0.1, max_iter=9, lr_policy="multistep", gamma=0.5, stepvalue=(2, 5))
    assert [current_step(step, t) for t in (0, 2, 3, 7)] == [0, 0, 1, 2]
    assert [current_step(several, t) for t in (0, 1, 2, 5)] == [0, 0, 1, 2]
    assert current_step(Solver(base_lr=0.1, max_iter=9), 5) == 0
