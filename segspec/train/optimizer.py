"""Caffe's update of the weights as a chain of small gradient transformations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from segspec.net import Tree
from segspec.spec.solver import DECOUPLED, Solver
from segspec.train.rate import learning_rate

Multipliers = Mapping[str, Mapping[str, tuple[float, float]]]
"""(lr_mult, decay_mult) by layer and blob; a blob that is not named has (1, 1)."""


def make_optimizer(solver: Solver, multipliers: Multipliers) -> optax.GradientTransformation:
    """The solver's update, from gradients summed over `iter_size` batches to what is added to the weights W.

    In this order: gradients of blobs with lr_mult 0 are dropped; all are scaled down together where their L2 norm is
    above clip_gradients; g /= iter_size; g += weight_decay * decay_mult * (W, or the sign of W for L1); then, with
    r = rate(t) * lr_mult, the rule:

    * SGD: V = momentum*V + r*g, W -= V. The rate is inside the momentum: a step keeps the rate it was taken with.
    * Nesterov: the same V, W -= (1+momentum)*V_new - momentum*V_old.
    * AdaGrad: H += g^2, W -= r*g/(sqrt(H)+delta).
    * RMSProp: H = rms_decay*H + (1-rms_decay)*g^2, W -= r*g/(sqrt(H)+delta).
    * AdaDelta: H = momentum*H + (1-momentum)*g^2, v = g*sqrt((D+delta)/(H+delta)), D likewise from v^2, W -= r*v.
    * Adam: W -= r*sqrt(1-momentum2^t)/(1-momentum^t)*M/(sqrt(V)+delta), t from 1.
    * AdamW, LAMB, Lion: as Optax has them; the decay does not enter g but is added to the rule's step.

    Args:
        solver: the update rule and its numbers.
        multipliers: of each blob.

    Returns:
        A transformation whose `update` needs the parameters; its state holds the iteration.

    References:
        BVLC Caffe, solvers/*.cpp; Loshchilov and Hutter 2019 (AdamW); You et al. 2020 (LAMB); Chen et al. 2023 (Lion).
    """
    decay = _decay(solver, multipliers)
    rate = _by_rate(solver, multipliers)
    return optax.chain(
        _without_frozen(multipliers),
        optax.clip_by_global_norm(solver.clip_gradients) if solver.clip_gradients > 0 else optax.identity(),
        optax.scale(1 / solver.iter_size),
        *(_decoupled(solver, decay, rate) if solver.type in DECOUPLED else _caffe(solver, decay, rate)),
        optax.scale(-1.0),
    )


def _caffe(
    solver: Solver, decay: optax.GradientTransformation, rate: optax.GradientTransformation
) -> tuple[optax.GradientTransformation, ...]:
    """The decay, and one of Caffe's rules with the rate where Caffe has it."""
    match solver.type:
        case "SGD" | "Nesterov":
            return decay, rate, optax.trace(solver.momentum, nesterov=solver.type == "Nesterov")
        case "AdaGrad":
            return decay, _by_summed_squares(solver.delta), rate
        case "RMSProp":
            return decay, optax.scale_by_rms(solver.rms_decay, solver.delta, eps_in_sqrt=False), rate
        case "AdaDelta":
            return decay, optax.scale_by_adadelta(solver.momentum, solver.delta), rate
        case _:
            return decay, _by_moments(solver.momentum, solver.momentum2, solver.delta), rate


def _decoupled(
    solver: Solver, decay: optax.GradientTransformation, rate: optax.GradientTransformation
) -> tuple[optax.GradientTransformation, ...]:
    """A rule that shrinks the weights beside the gradient."""
    match solver.type:
        case "Lion":
            return optax.scale_by_lion(solver.momentum, solver.momentum2), decay, rate
        case "LAMB":
            adam = optax.scale_by_adam(solver.momentum, solver.momentum2, eps=solver.delta)
            return adam, decay, optax.scale_by_trust_ratio(), rate
        case _:
            return optax.scale_by_adam(solver.momentum, solver.momentum2, eps=solver.delta), decay, rate


def _without_frozen(multipliers: Multipliers) -> optax.GradientTransformation:
    """Drops the gradients of blobs that do not learn, so that they do not count in the norm that is clipped."""

    def keep(layer: str, blob: str, gradient: jax.Array) -> jax.Array:
        return gradient if _multipliers_of(multipliers, layer, blob)[0] else jnp.zeros_like(gradient)

    return optax.stateless(lambda gradients, _: _each(keep, gradients))


def _decay(solver: Solver, multipliers: Multipliers) -> optax.GradientTransformation:
    """Adds weight_decay * decay_mult * (W, or the sign of W for L1); nothing for blobs that do not learn."""
    pull = jnp.sign if solver.regularization_type == "L1" else jnp.asarray

    def add(layer: str, blob: str, gradient: jax.Array, weights: jax.Array) -> jax.Array:
        lr_mult, decay_mult = _multipliers_of(multipliers, layer, blob)
        strength = solver.weight_decay * decay_mult if lr_mult else 0.0
        return gradient + strength * pull(weights) if strength else gradient

    return optax.stateless(lambda gradients, params: _each(add, gradients, params))


class RateState(NamedTuple):
    """The iteration that the next update belongs to, int32 from 0."""

    iteration: jax.Array


def _by_rate(solver: Solver, multipliers: Multipliers) -> optax.GradientTransformation:
    """Multiplies by the learning rate of the iteration and by each blob's lr_mult."""
    rate = learning_rate(solver)

    def init(params: optax.Params) -> RateState:
        return RateState(jnp.zeros((), jnp.int32))

    def update(updates: Tree, state: RateState, params: optax.Params | None = None) -> tuple[Tree, RateState]:
        now = rate(state.iteration)
        scaled = _each(lambda layer, blob, step: now * _multipliers_of(multipliers, layer, blob)[0] * step, updates)
        return scaled, RateState(state.iteration + 1)

    return optax.GradientTransformation(init, update)


class SummedSquares(NamedTuple):
    """AdaGrad's history: the sum of squared gradients, by layer and blob."""

    squares: Tree


def _by_summed_squares(delta: float) -> optax.GradientTransformation:
    """AdaGrad as Caffe has it: H += g^2, g/(sqrt(H)+delta)."""

    def init(params: optax.Params) -> SummedSquares:
        return SummedSquares(optax.tree.zeros_like(params))

    def update(gradients: Tree, state: SummedSquares, params: optax.Params | None = None) -> tuple[Tree, SummedSquares]:
        squares = jax.tree.map(lambda total, gradient: total + gradient**2, state.squares, gradients)
        scaled = jax.tree.map(lambda gradient, total: gradient / (jnp.sqrt(total) + delta), gradients, squares)
        return scaled, SummedSquares(squares)

    return optax.GradientTransformation(init, update)


class Moments(NamedTuple):
    """Adam's history: how many updates there were, and the averages of gradients and of their squares."""

    updates: jax.Array
    mean: Tree
    square: Tree


def _by_moments(beta1: float, beta2: float, delta: float) -> optax.GradientTransformation:
    """Adam as Caffe has it: delta is added to the uncorrected root, which Optax corrects first."""

    def init(params: optax.Params) -> Moments:
        return Moments(jnp.zeros((), jnp.int32), optax.tree.zeros_like(params), optax.tree.zeros_like(params))

    def update(gradients: Tree, state: Moments, params: optax.Params | None = None) -> tuple[Tree, Moments]:
        count = state.updates + 1
        mean = jax.tree.map(lambda old, new: beta1 * old + (1 - beta1) * new, state.mean, gradients)
        square = jax.tree.map(lambda old, new: beta2 * old + (1 - beta2) * new**2, state.square, gradients)
        correction = jnp.sqrt(1 - beta2**count) / (1 - beta1**count)
        scaled = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + delta), mean, square)
        return scaled, Moments(count, mean, square)

    return optax.GradientTransformation(init, update)


def _multipliers_of(multipliers: Multipliers, layer: str, blob: str) -> tuple[float, float]:
    return multipliers.get(layer, {}).get(blob, (1.0, 1.0))


def _each(function: Callable[..., jax.Array], tree: Tree, *others: Tree) -> Tree:
    """`function(layer, blob, array, ...)` of every array of a tree, and of the same place in others."""

    def visit(layer: str, blob: str, array: jax.Array) -> jax.Array:
        return function(layer, blob, array, *(other[layer][blob] for other in others))

    return {layer: {blob: visit(layer, blob, array) for blob, array in blobs.items()} for layer, blobs in tree.items()}
