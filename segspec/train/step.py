"""One training iteration as one jitted function: forward, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from segspec.graph.graph import Graph
from segspec.layers.data import DataLayer
from segspec.net import Tree, apply

Metrics = dict[str, jax.Array]
"""Scalars of one iteration: `loss`, and every loss and metric top by name."""


class TrainState(NamedTuple):
    """Everything that training changes: what a snapshot holds."""

    params: Tree
    state: Tree
    optimizer: optax.OptState


class MicroBatches(NamedTuple):
    """The batches of one iteration, `iter_size` of them stacked.

    Attributes:
        data: (iter_size, batch, height, width, channels), raw values 0..255.
        label: (iter_size, batch, height, width, 1), int32.
    """

    data: jax.Array
    label: jax.Array


Step = Callable[[TrainState, MicroBatches, jax.Array], tuple[TrainState, Metrics]]


def make_step(graph: Graph, data: DataLayer, optimizer: optax.GradientTransformation, *, seed: int, dtype: str) -> Step:
    """The training step of a net: `step(state, batches, iteration) -> (state, metrics)`, jitted, `state` donated.

    The losses and gradients of an iteration's batches are summed, as Caffe's `iter_size` does; dividing by their number
    is the optimizer's part. Metrics are averages over the batches, from before the update. Where the loss or any
    gradient is not finite the state is left as it was, so that a net can still be examined after it diverged;
    `metrics["finite"]` tells.

    Args:
        graph: the net in phase TRAIN.
        data: the source of images, for its normalisation.
        optimizer: made by `make_optimizer`.
        seed: of all randomness, together with the iteration.
        dtype: what convolutions compute in.
    """

    def loss_of(params: Tree, state: Tree, images: jax.Array, labels: jax.Array, key: jax.Array) -> tuple[
        jax.Array, tuple[Tree, Metrics]
    ]:
        inputs = {"data": data.normalize(images), "label": labels}
        outputs = apply(graph, params, state, inputs, train=True, key=key, dtype=dtype)
        return outputs.loss, (outputs.state, {**outputs.blobs, "loss": outputs.loss})

    gradient = jax.value_and_grad(loss_of, has_aux=True)

    def step(before: TrainState, batches: MicroBatches, iteration: jax.Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), iteration)
        count = batches.data.shape[0]

        def micro(state: Tree, index: jax.Array, images: jax.Array, labels: jax.Array) -> tuple[Tree, Tree, Metrics]:
            own = jax.random.fold_in(key, index)
            (_, (after, metrics)), gradients = gradient(before.params, state, images, labels, own)
            return after, gradients, metrics

        if count == 1:
            state, gradients, metrics = micro(before.state, jnp.int32(0), batches.data[0], batches.label[0])
        else:
            state, gradients, metrics = _accumulate(micro, before, batches)
            metrics = jax.tree.map(lambda total: total / count, metrics)
        updates, optimizer_state = optimizer.update(gradients, before.optimizer, before.params)
        after = TrainState(optax.apply_updates(before.params, updates), state, optimizer_state)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(optax.global_norm(gradients))
        kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, before)
        return kept, {**metrics, "finite": finite}

    return jax.jit(step, donate_argnums=0)


def _accumulate(
    micro: Callable[..., tuple[Tree, Tree, Metrics]], before: TrainState, batches: MicroBatches
) -> tuple[Tree, Tree, Metrics]:
    """Sums gradients and metrics over the batches of one iteration; the state goes from one to the next."""
    first = micro(before.state, jnp.int32(0), batches.data[0], batches.label[0])

    def body(carry: tuple[Tree, Tree, Metrics], item: tuple[jax.Array, MicroBatches]) -> tuple[
        tuple[Tree, Tree, Metrics], None
    ]:
        state, gradients, metrics = carry
        index, batch = item
        state, more, further = micro(state, index, batch.data, batch.label)
        return (state, jax.tree.map(jnp.add, gradients, more), jax.tree.map(jnp.add, metrics, further)), None

    count = batches.data.shape[0]
    rest = jax.tree.map(lambda stacked: stacked[1:], batches)
    summed, _ = jax.lax.scan(body, first, (jnp.arange(1, count), rest))
    return summed


def start(graph: Graph, params: Tree, state: Tree, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first iteration."""
    return TrainState(params, state, optimizer.init(params))


def find_non_finite(
    graph: Graph, data: DataLayer, before: TrainState, images: jax.Array, labels: jax.Array, *, dtype: str
) -> str | None:
    """The first layer whose output is not finite on a batch, or None when the trouble lies in the gradient alone."""
    inputs = {"data": data.normalize(images), "label": labels}
    tops = tuple(top for layer in graph.layers for top in layer.tops)
    key = jax.random.key(0)
    found = apply(graph, before.params, before.state, inputs, train=True, key=key, dtype=dtype, want=tops).blobs
    for layer in graph.layers:
        if not all(bool(jnp.all(jnp.isfinite(found[top].astype(jnp.float32)))) for top in layer.tops):
            return layer.name
    return None
