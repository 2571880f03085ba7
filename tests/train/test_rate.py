from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.spec.solver import Solver
from segspec.train.rate import learning_rate


def rates(solver: Solver, iterations: list[int]) -> list[float]:
    return [float(rate) for rate in jax.jit(jax.vmap(learning_rate(solver)))(jnp.asarray(iterations, jnp.int32))]


def solver(**fields: object) -> Solver:
    return Solver(**{"base_lr": 0.5, "max_iter": 100, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "formula"),
    [
        ({"lr_policy": "fixed"}, lambda t: 0.5),
        ({"lr_policy": "step", "gamma": 0.1, "stepsize": 7}, lambda t: 0.5 * 0.1 ** (t // 7)),
        ({"lr_policy": "exp", "gamma": 0.95}, lambda t: 0.5 * 0.95**t),
        ({"lr_policy": "inv", "gamma": 0.1, "power": 0.75}, lambda t: 0.5 * (1 + 0.1 * t) ** -0.75),
        ({"lr_policy": "poly", "power": 0.9}, lambda t: 0.5 * (1 - t / 100) ** 0.9),
        ({"lr_policy": "sigmoid", "gamma": -0.2, "stepsize": 40}, lambda t: 0.5 / (1 + math.exp(0.2 * (t - 40)))),
        ({"lr_policy": "cosine"}, lambda t: 0.25 * (1 + math.cos(math.pi * t / 100))),
    ],
)
def test_a_policy_follows_its_formula(fields: dict[str, object], formula: Callable[[int], float]) -> None:
    iterations = [0, 1, 6, 7, 13, 14, 39, 40, 41, 99]
    np.testing.assert_allclose(rates(solver(**fields), iterations), [formula(t) for t in iterations], rtol=2e-6)


def test_multistep_changes_at_the_iterations_themselves() -> None:
    found = rates(solver(lr_policy="multistep", gamma=0.1, stepvalue=(10, 30)), [0, 9, 10, 29, 30, 99])
    np.testing.assert_allclose(found, [0.5, 0.5, 0.05, 0.05, 0.005, 0.005], rtol=1e-6)


@pytest.mark.parametrize(("policy", "fields"), [("poly", {"power": 0.9}), ("cosine", {})])
def test_past_the_last_iteration_the_rate_stays_at_its_end(policy: str, fields: dict[str, float]) -> None:
    np.testing.assert_allclose(rates(solver(lr_policy=policy, **fields), [100, 150]), [0, 0], atol=1e-8)


def test_poly_with_power_0_is_constant() -> None:
    assert rates(solver(lr_policy="poly", power=0.0), [0, 99, 100, 200]) == [0.5] * 4


def test_warmup_climbs_to_the_rate_of_the_policy() -> None:
    plain = rates(solver(lr_policy="poly", power=0.9), [0, 3, 4, 50])
    warm = rates(solver(lr_policy="poly", power=0.9, warmup=5), [0, 3, 4, 50])
    np.testing.assert_allclose(warm, np.multiply(plain, [0.2, 0.8, 1, 1]), rtol=1e-6)


def test_a_gamma_near_1_does_not_drift_over_a_million_iterations() -> None:
    found = rates(solver(lr_policy="exp", gamma=0.999999), [1_000_000])
    np.testing.assert_allclose(found, [0.5 * 0.999999**1_000_000], rtol=1e-6)


@pytest.mark.parametrize("name", ["step", "exp", "inv", "poly"])
@pytest.mark.parametrize("program", ["tiny", "bvlc"])
def test_the_rate_is_the_one_that_caffe_used(shared: Path, program: str, name: str) -> None:
    fields: dict[str, dict[str, object]] = {
        "step": {"gamma": 0.5, "stepsize": 7},
        "exp": {"gamma": 0.95},
        "inv": {"gamma": 0.1, "power": 0.75},
        "poly": {"power": 0.9},
    }
    expected = np.load(shared / "golden" / "traj" / f"{program}_lr_{name}.npz")["lr"]
    found = rates(solver(base_lr=0.05, lr_policy=name, **fields[name]), list(range(len(expected))))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_ramp_climbs_by_the_square_of_the_iteration() -> None:
    found = rates(solver(lr_policy="fixed", rampup_interval=4, rampup_lr=0.1), [0, 1, 2, 3, 4, 50])
    np.testing.assert_allclose(found, [0.1, 0.125, 0.2, 0.325, 0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "formula"),
    [
        ({"lr_policy": "poly", "power": 2.0}, lambda t: 0.4 * (1 - t / 100) ** 2 + 0.1),
        ({"lr_policy": "exp", "gamma": 0.9}, lambda t: max(0.5 * 0.9**t, 0.1)),
    ],
)
def test_no_rate_is_less_than_the_least(fields: dict[str, object], formula: Callable[[int], float]) -> None:
    iterations = [0, 1, 15, 16, 50, 99]
    found = rates(solver(min_lr=0.1, **fields), iterations)
    np.testing.assert_allclose(found, [formula(t) for t in iterations], rtol=2e-6)
