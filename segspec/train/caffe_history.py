"""The history of Caffe's solvers beside the state of the optimizer: the same arrays, of the same meaning.

SGD and Nesterov keep the last step V; AdaGrad and RMSProp sums or averages of squared gradients; AdaDelta those of
gradients, then those of steps; Adam the averages of gradients, then those of their squares.
Source: BVLC Caffe, solvers/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy.typing as npt
import optax

from segspec.net import Tree
from segspec.spec.solver import DECOUPLED, Rule, Solver
from segspec.train.optimizer import Moments, RateState, SummedSquares

Arrays = Mapping[str, Mapping[str, npt.ArrayLike]]

_FIELDS: dict[type[Any], tuple[str, ...]] = {
    optax.TraceState: ("trace",),
    SummedSquares: ("squares",),
    optax.ScaleByRmsState: ("nu",),
    optax.ScaleByAdaDeltaState: ("e_g", "e_x"),
    Moments: ("mean", "square"),
}
"""Where each rule keeps its history, one field a round."""


def rounds_of(rule: Rule) -> int:
    """How many arrays Caffe keeps for each learned blob; 0 for a rule that Caffe does not have."""
    if rule in DECOUPLED:
        return 0
    return 2 if rule in ("AdaDelta", "Adam") else 1


def history_of(state: optax.OptState) -> tuple[Tree, ...]:
    """The history in an optimizer's state, one tree a round.

    Args:
        state: of an optimizer made by `make_optimizer`.
    """
    parts = jax.tree.leaves(state, is_leaf=_keeps_history)
    return tuple(getattr(part, name) for part in parts if _keeps_history(part) for name in _FIELDS[type(part)])


def with_history(state: optax.OptState, rounds: Sequence[Arrays], iteration: int) -> optax.OptState:
    """The state of an optimizer that has made `iteration` updates and keeps this history.

    Args:
        state: of an optimizer made by `make_optimizer`, fresh.
        rounds: the history, one tree a round, of the shapes of the parameters.
        iteration: updates made.
    """

    def replaced(part: Any) -> Any:
        if isinstance(part, RateState):
            return RateState(jnp.asarray(iteration, jnp.int32))
        if not _keeps_history(part):
            return part
        trees = zip(_FIELDS[type(part)], rounds, strict=True)
        kept = {name: jax.tree.map(jnp.asarray, tree) for name, tree in trees}
        # Each counter is an array of its own: a training step gives its arguments away, and none twice.
        counter = {"updates": jnp.asarray(iteration, jnp.int32)} if isinstance(part, Moments) else {}
        return part._replace(**kept, **counter)

    return jax.tree.map(replaced, state, is_leaf=_either(_keeps_history, RateState))


def current_step(solver: Solver, iteration: int) -> int:
    """How often a learning rate with steps was lowered, which Caffe writes beside the history."""
    if solver.lr_policy == "step" and solver.stepsize:
        return iteration // solver.stepsize
    return sum(value <= iteration for value in solver.stepvalue) if solver.lr_policy == "multistep" else 0


def _keeps_history(part: Any) -> bool:
    return type(part) in _FIELDS


def _either(first: Callable[[Any], bool], kind: type[Any]) -> Callable[[Any], bool]:
    return lambda part: first(part) or isinstance(part, kind)
