"""The learning rate over time: one formula a policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from segspec.spec.solver import Policy, Solver

Rate = Callable[[jax.Array], jax.Array]
"""From the iteration (int32 scalar, counted from 0) to the learning rate (float32 scalar)."""

Number = TypeVar("Number", int, float)


def learning_rate(solver: Solver) -> Rate:
    """The learning rate of a solver as a function of the iteration, to be used inside jit.

    With b = base_lr and iteration t from 0: fixed b; step b*gamma^floor(t/stepsize); multistep b*gamma^k, k stepvalues
    being <= t; exp b*gamma^t; inv b*(1+gamma*t)^-power; poly b*(1-t/max_iter)^power; sigmoid
    b/(1+exp(-gamma*(t-stepsize))); cosine b*(1+cos(pi*t/max_iter))/2. During the first `warmup` iterations the rate is
    multiplied by (t+1)/warmup. From max_iter on, poly and cosine stay at their end. During the first r =
    rampup_interval iterations the rate is rampup_lr + (b-rampup_lr)*(t/r)^2 instead. With min_lr m, poly is
    (b-m)*(1-t/max_iter)^power + m, and no rate is less than m.

    Source: BVLC Caffe, sgd_solver.cpp, GetLearningRate; ramp and min_lr: NVIDIA's Caffe 0.17, the same file; cosine:
    Loshchilov and Hutter 2017, without restarts.
    """
    share = _POLICIES[solver.lr_policy](solver)

    least = solver.min_lr if solver.lr_policy == "poly" else 0.0

    def rate(iteration: jax.Array) -> jax.Array:
        warm = jnp.minimum(1.0, (iteration + 1) / max(solver.warmup, 1))
        found = ((solver.base_lr - least) * share(iteration) + least) * warm
        if solver.rampup_interval:
            climbed = (iteration / solver.rampup_interval) ** 2
            ramp = solver.rampup_lr + (solver.base_lr - solver.rampup_lr) * climbed
            found = jnp.where(iteration < solver.rampup_interval, ramp, found)
        return jnp.asarray(jnp.maximum(found, solver.min_lr), jnp.float32)

    return rate


def _fixed(solver: Solver) -> Rate:
    return lambda iteration: jnp.float32(1.0)


def _step(solver: Solver) -> Rate:
    stepsize = _given(solver.stepsize)
    return lambda iteration: _power_of_gamma(solver, iteration // stepsize)


def _multistep(solver: Solver) -> Rate:
    values = np.asarray(solver.stepvalue, np.int32)
    return lambda iteration: _power_of_gamma(solver, jnp.sum(iteration >= values))


def _exp(solver: Solver) -> Rate:
    return lambda iteration: _power_of_gamma(solver, iteration)


def _inv(solver: Solver) -> Rate:
    gamma, power = _given(solver.gamma), _given(solver.power)
    return lambda iteration: (1 + gamma * iteration.astype(jnp.float32)) ** -power


def _poly(solver: Solver) -> Rate:
    power = _given(solver.power)
    return lambda iteration: _remaining(solver, iteration) ** power


def _sigmoid(solver: Solver) -> Rate:
    gamma, middle = _given(solver.gamma), _given(solver.stepsize)
    return lambda iteration: jax.nn.sigmoid(gamma * (iteration - middle).astype(jnp.float32))


def _cosine(solver: Solver) -> Rate:
    # (1 + cos(pi*t/max_iter)) / 2 written so that it ends at exactly 0
    return lambda iteration: jnp.sin(jnp.pi / 2 * _remaining(solver, iteration)) ** 2


_POLICIES: dict[Policy, Callable[[Solver], Rate]] = {
    "fixed": _fixed,
    "step": _step,
    "multistep": _multistep,
    "exp": _exp,
    "inv": _inv,
    "poly": _poly,
    "sigmoid": _sigmoid,
    "cosine": _cosine,
}


def _power_of_gamma(solver: Solver, exponent: jax.Array) -> jax.Array:
    """gamma^exponent; the logarithm is taken in double, or a gamma near 1 would drift over many iterations."""
    return jnp.exp(exponent.astype(jnp.float32) * np.float32(math.log(_given(solver.gamma))))


def _remaining(solver: Solver, iteration: jax.Array) -> jax.Array:
    """How much of the training is left, 1 to 0; subtracted in whole numbers, which loses no digits near the end."""
    return jnp.maximum(solver.max_iter - iteration, 0).astype(jnp.float32) / solver.max_iter


def _given(value: Number | None) -> Number:
    """A field that the solver has checked to be there."""
    assert value is not None
    return value
