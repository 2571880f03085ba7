"""When a backward pass computes what: first what sets memory free, and nothing before its turn.

XLA orders operations as their operands allow. What a backward pass recomputes from the forward pass alone could be made
at once and would then lie in memory until it is used, and gradients of weights could be put off to the end, with all
that they are made of. A barrier of JAX's own would say so, but XLA drops it on CPUs before it orders anything. So the
order is made of true dependencies here, which cost an addition in a loop that runs anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Blobs = dict[str, jax.Array]


def wait_for(value: jax.Array, *others: jax.Array) -> jax.Array:
    """The value, but not to be had before the others.

    Args:
        value: real numbers of any shape.
        others: real numbers of any shapes.
    """
    others = tuple(other for other in others if other.size)
    if not others:
        return value
    later: jax.Array = jax.lax.platform_dependent(value, *others, cpu=_add_nothing, default=_behind_barrier)
    return later


def _behind_barrier(value: jax.Array, *others: jax.Array) -> jax.Array:
    later: jax.Array = jax.lax.optimization_barrier((value, *others))[0]
    return later


def _add_nothing(value: jax.Array, *others: jax.Array) -> jax.Array:
    """The value plus a 0 that is made of the others: whether the least of 0 and a number of each is above 0.

    It takes a sort, because XLA would copy any lesser operation into the loops that read the value, and with it the
    whole chain of those before, whose arrays could then never be dropped.
    """
    firsts = [jax.lax.slice(each, (0,) * each.ndim, (1,) * each.ndim).reshape(()) for each in others]
    numbers = jnp.stack([jnp.float32(0), *(first.astype(jnp.float32) for first in firsts)])
    return value + (jax.lax.sort(numbers)[0] > 0).astype(value.dtype)


def make_once(numbers: jax.Array, beyond: int) -> jax.Array:
    """The numbers as they are, made once.

    Of what takes a few comparisons XLA keeps what it is made of, and makes it anew in each loop that reads it. On a CPU
    the numbers go through a loop that never runs, which XLA does not see.

    Args:
        numbers: whole numbers of any shape.
        beyond: greater than all of them.
    """
    if numbers.size == 0:
        return numbers

    def loop(numbers: jax.Array) -> jax.Array:
        first = (0,) * numbers.ndim
        held: jax.Array = jax.lax.while_loop(
            lambda held: held[first].astype(jnp.int32) >= beyond, jnp.zeros_like, numbers
        )
        return held

    made: jax.Array = jax.lax.platform_dependent(numbers, cpu=loop, default=lambda numbers: numbers)
    return made


@jax.custom_vjp
def learn_first(learned: Blobs, inputs: Sequence[jax.Array]) -> tuple[Blobs, Sequence[jax.Array]]:
    """Both as they are; in the backward pass the gradients of what is learned are made before those of the inputs.

    Then what the former are made of can be dropped before the pass goes on to the layers below.

    Args:
        learned: blobs of one layer, real numbers.
        inputs: its inputs that need a gradient, real numbers.
    """
    return learned, inputs


def _learn_first_forward(learned: Blobs, inputs: Sequence[jax.Array]) -> tuple[tuple[Blobs, Sequence[jax.Array]], None]:
    return (learned, inputs), None


def _learn_first_backward(_: None, cotangents: tuple[Blobs, Sequence[jax.Array]]) -> tuple[Blobs, Sequence[jax.Array]]:
    learned, inputs = cotangents
    return learned, [wait_for(each, *learned.values()) for each in inputs]


learn_first.defvjp(_learn_first_forward, _learn_first_backward)


Part = Callable[[Any, Blobs, Any], Any]


def recompute(part: Part) -> Part:
    """A part of a net of which nothing but the arguments is kept for the backward pass: that computes it once more.

    The second computation begins when the gradient of a result has come. As `jax.checkpoint`, whose barrier XLA drops
    on CPUs, so that recomputed values would lie beside those that they were to replace.

    Args:
        part: of `learned`, a tree of real arrays, `inputs`, real arrays by name, and `fixed`, a tree of any arrays,
            which alone get no gradient; gives a tree of arrays.
    """

    @jax.custom_vjp
    def call(learned: Any, inputs: Blobs, fixed: Any) -> Any:
        return part(learned, inputs, fixed)

    def forward(learned: Any, inputs: Blobs, fixed: Any) -> tuple[Any, tuple[Any, Blobs, Any]]:
        return part(learned, inputs, fixed), (learned, inputs, fixed)

    def backward(kept: tuple[Any, Blobs, Any], cotangents: Any) -> tuple[Any, Any, None]:
        learned, inputs, fixed = kept
        came = [each for each in jax.tree.leaves(cotangents) if jnp.issubdtype(each.dtype, jnp.floating) and each.ndim]
        delayed = {name: wait_for(array, *came) for name, array in inputs.items()}
        _, pull = jax.vjp(lambda learned, inputs: part(learned, inputs, fixed), learned, delayed)
        return *pull(cotangents), None

    call.defvjp(forward, backward)
    return call
