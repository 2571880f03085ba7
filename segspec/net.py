"""The network as two pure functions over plain trees: `init` makes parameters, `apply` runs the graph."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Context
from segspec.ops.fillers import fill

Tree = dict[str, dict[str, jax.Array]]
Shapes = dict[str, dict[str, jax.ShapeDtypeStruct]]
Statistics = Literal["layer", "running", "batch"]


class Outputs(NamedTuple):
    """What a forward pass gives.

    Attributes:
        loss: the sum of all losses times their weights, a float32 scalar; 0 where the net has none.
        blobs: the tops of loss and metric layers, and every blob that was wanted.
        state: the state after the pass, of the same structure as before.
    """

    loss: jax.Array
    blobs: dict[str, jax.Array]
    state: Tree


def init(graph: Graph, seed: int) -> tuple[Tree, Tree]:
    """Parameters as their fillers say, and the initial state.

    Each blob has random numbers of its own, made from the seed, the name of its layer and its own, so that a change to
    one layer leaves the initial values of all others as they were. They do not depend on the device.

    Args:
        graph: the net.
        seed: of all random numbers.

    Returns:
        `params` and `state`, each `{layer: {blob: float32 array}}`; a shared blob stands under its owner alone.
    """
    params: Tree = {}
    for layer, blob, spec in graph.owned_params():
        rng = np.random.Generator(np.random.Philox([seed % 2**64, _hash(f"{layer.name}:{blob}")]))
        values = fill(spec.filler, rng, spec.shape, spec.layout)
        params.setdefault(layer.name, {})[blob] = _put(values)
    state = {
        layer.name: {blob: _put(np.full(spec.shape, spec.value, np.float32)) for blob, spec in layer.state.items()}
        for layer in graph.layers
        if layer.state
    }
    return params, state


def _put(values: np.ndarray) -> jax.Array:
    """An array of its own on the device. `jnp.array` would compile a program for every shape."""
    array: jax.Array = jax.device_put(values, may_alias=False)
    return array


def init_shapes(graph: Graph) -> tuple[Shapes, Shapes]:
    """The shapes and types of what `init` gives, without drawing a number."""
    params: Shapes = {}
    for layer, blob, spec in graph.owned_params():
        params.setdefault(layer.name, {})[blob] = jax.ShapeDtypeStruct(spec.shape, jnp.float32)
    state = {
        layer.name: {blob: jax.ShapeDtypeStruct(spec.shape, jnp.float32) for blob, spec in layer.state.items()}
        for layer in graph.layers
        if layer.state
    }
    return params, state


def apply(
    graph: Graph,
    params: Tree,
    state: Tree,
    inputs: Mapping[str, jax.Array],
    *,
    train: bool = False,
    key: jax.Array | None = None,
    dtype: str = "float32",
    statistics: Statistics = "layer",
    want: tuple[str, ...] = (),
) -> Outputs:
    """Runs the net forward.

    Args:
        graph: the net; closed over by a jitted caller.
        params, state: as `init` makes them.
        inputs: arrays for `graph.inputs`.
        train: whether the phase is TRAIN. Blobs with `lr_mult` 0 then pass no gradient.
        key: random key of this iteration; each layer derives its own from it and its name.
        dtype: what convolutions and products compute in, `float32` or `bfloat16`.
        statistics: which statistics normalise, see `Context`.
        want: names of further blobs to return.

    Returns:
        Loss, blobs and the new state.
    """
    blobs: dict[str, jax.Array] = dict(inputs)
    after = dict(state)
    loss = jnp.zeros((), jnp.float32)
    kept: dict[str, jax.Array] = {}
    for layer in graph.layers:
        own = None if key is None else jax.random.fold_in(key, _hash(layer.name))
        context = Context(train, len(layer.tops), own, dtype, layer.inputs, statistics)
        read = [blobs[bottom] for bottom in layer.bottoms]
        bottoms = [jax.lax.stop_gradient(x) if index in layer.stopped else x for index, x in enumerate(read)]
        with jax.named_scope(layer.name.replace("/", ".")):
            tops, changed = layer.layer.forward(
                gather_params(layer, params, train=train), state.get(layer.name, {}), bottoms, context
            )
        blobs.update(zip(layer.tops, tops, strict=True))
        if changed:
            after[layer.name] = {**state[layer.name], **changed}
        for value, weight in zip(tops, layer.loss_weights, strict=False):
            if weight:
                loss = loss + weight * jnp.sum(value.astype(jnp.float32))
        if layer.layer.role in ("loss", "metric"):
            kept.update(zip(layer.tops, tops, strict=True))
    return Outputs(loss, {**kept, **{name: blobs[name] for name in want}}, after)


def gather_params(layer: GraphLayer, params: Tree, *, train: bool) -> dict[str, jax.Array]:
    """The learned blobs of one layer, shared ones from their owners."""
    found = {}
    for blob in layer.params:
        owner, name = layer.owners.get(blob, (layer.name, blob))
        value = params[owner][name]
        frozen = train and layer.multipliers[blob][0] == 0
        found[blob] = jax.lax.stop_gradient(value) if frozen else value
    return found


def _hash(name: str) -> int:
    """A number for a name that is the same in every process, as Python's own hash is not."""
    return zlib.crc32(name.encode())
