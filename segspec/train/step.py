"""One training iteration as one jitted function: forward, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from segspec.graph.graph import Graph
from segspec.layers.data import DataLayer
from segspec.net import Tree, apply
from segspec.spec.solver import Remat
from segspec.tuning import release_memory

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
        label: (iter_size, batch, height, width, 1), or (iter_size, batch) for class numbers of whole images; int32.
    """

    data: jax.Array
    label: jax.Array


RESERVED = frozenset(
    (
        "loss",
        "finite",
        "iteration",
        "smoothed_loss",
        "rate",
        "images_per_second",
        "seconds_per_iteration",
        "waiting",
        "miou",
    )
)
"""Names with a meaning of their own in the log; a top of such a name is logged as `name/top`."""

_SHORT = 4096
"""Numbers of an array that is looked at together with others like it."""

Step = Callable[[TrainState, MicroBatches, jax.Array], tuple[TrainState, Metrics]]


def make_step(
    graph: Graph,
    data: DataLayer,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    dtype: str,
    remat: Remat = "light",
) -> SparingStep:
    """The training step of a net: `step(state, batches, iteration) -> (state, metrics)`, jitted, `state` donated.

    The gradients of an iteration's batches are summed, as Caffe's `iter_size` does; dividing by their number is the
    optimizer's part. Metrics are averages over the batches, from before the update. Where the loss or a gradient
    is not finite the state is left as it was, so that a net can still be examined after it diverged;
    `metrics["finite"]` tells, and also tells of weights that the update made infinite.

    Args:
        graph: the net in phase TRAIN.
        data: the source of images, for its normalisation.
        optimizer: made by `make_optimizer`.
        seed: of all randomness, together with the iteration.
        dtype: what convolutions compute in.
        remat: what the backward pass computes once more instead of keeping it.
    """

    def loss_of(
        params: Tree, state: Tree, images: jax.Array, labels: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        inputs = {"data": data.normalize(images), "label": labels}
        outputs = apply(graph, params, state, inputs, train=True, key=key, dtype=dtype, remat=remat)
        tops = {f"{name}/top" if name in RESERVED else name: value for name, value in outputs.blobs.items()}
        return outputs.loss, (outputs.state, {**tops, "loss": outputs.loss})

    gradient = jax.value_and_grad(loss_of, has_aux=True)

    def step(before: TrainState, batches: MicroBatches, iteration: jax.Array) -> tuple[TrainState, Metrics]:
        def one(state: Tree, number: jax.Array, batch: MicroBatches) -> _Pass:
            key = batch_key(seed, iteration, number)
            (_, (after, metrics)), gradients = gradient(before.params, state, batch.data, batch.label, key)
            return _Pass(after, gradients, metrics)

        state, gradients, metrics = _accumulate(one, before.state, batches)
        # Asked before the update, which then needs no second pass over all weights to take it back.
        sound = _all_finite((metrics["loss"], gradients, state))

        def update() -> TrainState:
            updates, optimizer_state = optimizer.update(gradients, before.optimizer, before.params)
            return TrainState(optax.apply_updates(before.params, updates), state, optimizer_state)

        after = jax.lax.cond(sound, update, lambda: before)
        return after, {**metrics, "finite": sound & _all_finite(after.params)}

    return SparingStep(jax.jit(step, donate_argnums=0, compiler_options=sparing_options()))


class SparingStep:
    """A jitted step that gives freed memory back to the system: once it is compiled, and after its first call.

    Compiling leaves much behind. And the place of what a first step held is too small for the next, by the few bytes
    that small blocks have taken of it since: what a step holds would be in memory twice.
    """

    def __init__(self, step: Any) -> None:
        self._step = step
        self._met: set[tuple[int, ...]] = set()

    def __call__(self, before: TrainState, batches: MicroBatches, iteration: jax.Array) -> tuple[TrainState, Metrics]:
        shape = batches.data.shape
        if shape in self._met:
            return self._call(before, batches, iteration)
        self.lower(before, batches, iteration).compile()
        release_memory()
        after = self._call(before, batches, iteration)
        jax.block_until_ready(after)
        release_memory()
        self._met.add(shape)
        return after

    def _call(self, before: TrainState, batches: MicroBatches, iteration: jax.Array) -> tuple[TrainState, Metrics]:
        after: tuple[TrainState, Metrics] = self._step(before, batches, iteration)
        return after

    def lower(self, before: TrainState, batches: MicroBatches, iteration: jax.Array) -> jax.stages.Lowered:
        """The program for such arguments, see `jax.jit`; of the arrays only the shapes count."""
        lowered: jax.stages.Lowered = self._step.lower(before, batches, iteration)
        return lowered


def sparing_options() -> dict[str, str]:
    """Options that let XLA order a step for little memory, where it knows them.

    By default XLA runs operations on a CPU as early as it can, to have many of them ready at once. Those of a step use
    all cores by themselves, so that this wins nothing, and costs U-Net 15 % more memory.
    """
    device = getattr(jax.config, "jax_default_device", None) or jax.devices()[0]
    return _accepted() if device.platform == "cpu" else {}


@cache
def _accepted() -> dict[str, str]:
    """The options for a CPU, if this version of XLA takes them."""
    options = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


class _Pass(NamedTuple):
    """What a forward and backward pass gives: the state after it, gradients and metrics."""

    state: Tree
    gradients: Tree
    metrics: Metrics


def _accumulate(one: Callable[[Tree, jax.Array, MicroBatches], _Pass], state: Tree, batches: MicroBatches) -> _Pass:
    """Passes over all batches of an iteration: gradients summed, metrics averaged, the state handed on.

    The net is compiled once, whatever the number of batches.
    """
    count = batches.data.shape[0]
    first = jax.tree.map(lambda stacked: stacked[0], batches)
    if count == 1:
        return one(state, jnp.int32(0), first)

    def add(total: _Pass, item: tuple[jax.Array, MicroBatches]) -> tuple[_Pass, None]:
        found = one(total.state, *item)
        gradients = jax.tree.map(jnp.add, total.gradients, found.gradients)
        return _Pass(found.state, gradients, jax.tree.map(jnp.add, total.metrics, found.metrics)), None

    shapes = jax.eval_shape(one, state, jnp.int32(0), first)
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total: _Pass
    total, _ = jax.lax.scan(add, empty._replace(state=state), (jnp.arange(count), batches))
    return total._replace(metrics=jax.tree.map(lambda value: value / count, total.metrics))


def _all_finite(tree: object) -> jax.Array:
    """Whether no number in a tree is NaN or infinite.

    A sum of squares is one pass at the speed of memory, where XLA makes arrays of the answers to `isfinite`. An array
    whose squares sum up to more than float32 holds counts as infinite too: one number of 2e19 does, or a million of
    2e16. The greatest sum is found by a sort, in which NaN is last: anything less XLA would do anew in every loop that
    reads the answer, with the sums of all blobs as operands of each, and the program would be five times as long.
    Short arrays are summed as one, or their sums would be half of all that there is to compile.
    """
    leaves = [leaf.astype(jnp.float32).reshape(-1) for leaf in jax.tree.leaves(tree)]
    short = [leaf for leaf in leaves if leaf.size <= _SHORT]
    arrays = [*(leaf for leaf in leaves if leaf.size > _SHORT), *([jnp.concatenate(short)] if short else [])]
    sums = [jnp.sum(jnp.square(array)) for array in arrays]
    return jnp.isfinite(jax.lax.sort(jnp.stack(sums))[-1])


def batch_key(seed: int, iteration: jax.Array | int, number: jax.Array | int) -> jax.Array:
    """The random key of one of an iteration's batches, counted from 0."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), iteration), number)


def start(params: Tree, state: Tree, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first iteration."""
    return TrainState(params, state, jax.jit(optimizer.init)(params))


def find_non_finite(
    graph: Graph, data: DataLayer, before: TrainState, batch: MicroBatches, *, key: jax.Array, dtype: str
) -> str | None:
    """The first layer whose output is not finite on a batch, or None when all are.

    Args:
        graph: the net in phase TRAIN.
        data: the source of images, for its normalisation.
        before: the state that the batch met.
        batch: images and labels of one batch, without the axis of `iter_size`.
        key: of the batch, see `batch_key`.
        dtype: what convolutions compute in.
    """
    tops = tuple(top for layer in graph.layers for top in layer.tops)

    @jax.jit
    def examine(before: TrainState, batch: MicroBatches, key: jax.Array) -> dict[str, jax.Array]:
        inputs = {"data": data.normalize(batch.data), "label": batch.label}
        found = apply(graph, before.params, before.state, inputs, train=True, key=key, dtype=dtype, want=tops).blobs
        return {top: _all_finite(found[top]) for top in tops}

    finite = examine(before, batch, key)
    return next((layer.name for layer in graph.layers if not all(finite[top] for top in layer.tops)), None)
