"""The network as two pure functions over plain trees: `init` makes parameters, `apply` runs the graph."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from segspec.graph.graph import Graph, GraphLayer
from segspec.graph.segments import Segment, find_moving, plan_segments, read_outside
from segspec.layers.base import Context, Forward
from segspec.ops.fillers import fill
from segspec.ops.schedule import learn_first, recompute
from segspec.spec.solver import Remat

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
    remat: Remat = "none",
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
        remat: what the backward pass in TRAIN computes once more instead of keeping it, see `plan_segments`. But for
            `none`, gradients are those of `params` alone: that of `inputs` may come out as 0.

    Returns:
        Loss, blobs and the new state.
    """
    told = tuple(top for layer in graph.layers if layer.layer.role in ("loss", "metric") for top in layer.tops)
    told = (*told, *want)
    forward = _Forward(graph, train, dtype, statistics, frozenset(told), find_moving(graph) if train else frozenset())
    learned = {layer.name: gather_params(layer, params, train=train) for layer in graph.layers}
    segments = plan_segments(graph, remat if train else "none")
    passed = forward.run(segments, _Given(learned, state, dict(inputs), key))
    after = {**state, **{name: {**state[name], **changed} for name, changed in passed.changed.items()}}
    return Outputs(passed.loss, {name: passed.blobs[name] for name in told}, after)


class _Given(NamedTuple):
    """What layers compute from: learned blobs and state by layer, blobs by name, the key of the iteration."""

    params: Tree
    state: Tree
    blobs: dict[str, jax.Array]
    key: jax.Array | None


class _Passed(NamedTuple):
    """What layers give: all blobs so far by name, the state that changed by layer, the sum of their losses."""

    blobs: dict[str, jax.Array]
    changed: Tree
    loss: jax.Array


@dataclass(frozen=True)
class _Forward:
    """How the layers run in this pass.

    Attributes:
        graph, train, dtype, statistics: see `apply`.
        told: names of the blobs that are given out.
        moving: names of the blobs that get gradients.
    """

    graph: Graph
    train: bool
    dtype: str
    statistics: Statistics
    told: frozenset[str]
    moving: frozenset[str]

    def run(self, segments: Sequence[Segment], given: _Given) -> _Passed:
        """Segments one after the other."""
        passed = _Passed(given.blobs, {}, jnp.zeros((), jnp.float32))
        for segment in segments:
            run = self._recomputed if segment.recomputed else self._inside
            further = run(segment, given._replace(blobs=passed.blobs))
            blobs, changed = {**passed.blobs, **further.blobs}, {**passed.changed, **further.changed}
            passed = _Passed(blobs, changed, passed.loss + further.loss)
        return passed

    def _inside(self, segment: Segment, given: _Given) -> _Passed:
        """The layers of a segment, or its parts."""
        if segment.parts:
            return self.run(segment.parts, given)
        blobs, changed, loss = dict(given.blobs), {}, jnp.zeros((), jnp.float32)
        for layer in segment.layers:
            tops, state = self._layer(layer, given._replace(blobs=blobs))
            blobs.update(zip(layer.tops, tops, strict=True))
            if state:
                changed[layer.name] = state
            for value, weight in zip(tops, layer.loss_weights, strict=False):
                if weight:
                    loss = loss + weight * jnp.sum(value.astype(jnp.float32))
        return _Passed(blobs, changed, loss)

    def _recomputed(self, segment: Segment, given: _Given) -> _Passed:
        """A segment of which only what it reads is kept for the backward pass."""
        names = {layer.name for layer in segment.layers}
        made = [top for layer in segment.layers for top in layer.tops]
        read = {bottom for layer in segment.layers for bottom in layer.bottoms}.difference(made)
        kept = read_outside(self.graph, names) | self.told
        moving = {name: given.blobs[name] for name in sorted(read & self.moving)}
        learned = {layer.name: _learned(layer, given.params[layer.name]) for layer in segment.layers}

        def part(learned: Tree, moving: dict[str, jax.Array], rest: _Given) -> _Passed:
            params = {name: {**rest.params[name], **blobs} for name, blobs in learned.items()}
            passed = self._inside(segment, rest._replace(params=params, blobs={**rest.blobs, **moving}))
            return passed._replace(blobs={top: passed.blobs[top] for top in made if top in kept})

        rest = _Given(
            {name: given.params[name] for name in names},
            {name: given.state[name] for name in names if name in given.state},
            {name: given.blobs[name] for name in read - self.moving},
            given.key,
        )
        passed: _Passed = recompute(part)(learned, moving, rest)
        return passed

    def _layer(self, layer: GraphLayer, given: _Given) -> Forward:
        own = None if given.key is None else jax.random.fold_in(given.key, _hash(layer.name))
        context = Context(self.train, len(layer.tops), own, self.dtype, layer.inputs, self.statistics)
        read = [given.blobs[bottom] for bottom in layer.bottoms]
        bottoms = [jax.lax.stop_gradient(x) if index in layer.stopped else x for index, x in enumerate(read)]
        params = given.params[layer.name]
        if layer.multiply_adds:
            params, bottoms = self._ordered(layer, params, bottoms)
        with jax.named_scope(layer.name.replace("/", ".")):
            return layer.layer.forward(params, given.state.get(layer.name, {}), bottoms, context)

    def _ordered(
        self, layer: GraphLayer, params: dict[str, jax.Array], bottoms: list[jax.Array]
    ) -> tuple[dict[str, jax.Array], list[jax.Array]]:
        """What a layer computes from, so that the gradients of its weights are made before those of its inputs."""
        numbers = [n for n, name in enumerate(layer.bottoms) if name in self.moving and n not in layer.stopped]
        learned, moving = learn_first(_learned(layer, params), [bottoms[number] for number in numbers])
        moved = dict(zip(numbers, moving, strict=True))
        return {**params, **learned}, [moved.get(number, bottom) for number, bottom in enumerate(bottoms)]


def _learned(layer: GraphLayer, params: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Those blobs of a layer that training changes."""
    return {blob: value for blob, value in params.items() if layer.multipliers[blob][0]}


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
