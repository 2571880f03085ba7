from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.layers.data import SyntheticSquares
from segspec.net import Tree, apply, init_shapes
from segspec.spec.net import read_net
from segspec.spec.solver import Solver
from segspec.train import step as module
from segspec.train.optimizer import make_optimizer
from segspec.train.step import MicroBatches, Step, TrainState, batch_key, find_non_finite, make_step, start

DATA = SyntheticSquares(mean_value=(100.0,), scale=0.01)
PLAIN = """
  - Convolution: {name: first, num_output: 3, kernel_size: 3, pad: 1}
  - ReLU
  - Convolution: {name: score, num_output: 2, kernel_size: 1}
"""
NORMALISED = PLAIN.replace("  - ReLU", "  - BatchNorm: {name: bn}\n  - ReLU")


def graph_of(layers: str, batch: int = 2) -> Graph:
    text = f"segspec: 1\nclasses: 2\nlayers:{layers}  - SoftmaxWithLoss: {{name: loss}}\n"
    return build(read_net(Source("net.yaml", text), Path()), "TRAIN", image_inputs(batch, 8, 8, 3))


def batches_of(count: int, batch: int = 2, seed: int = 0) -> MicroBatches:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, batch, 8, 8, 3), np.uint8)
    return MicroBatches(jnp.asarray(images), jnp.asarray(rng.integers(0, 2, (count, batch, 8, 8, 1), np.int32)))


def ready(graph: Graph, dtype: str = "float32", **solver: Any) -> tuple[Step, TrainState]:
    made = Solver.model_validate({"base_lr": 0.1, "max_iter": 10, **solver})
    optimizer = make_optimizer(made, {layer.name: dict(layer.multipliers) for layer in graph.layers})
    return make_step(graph, DATA, optimizer, seed=7, dtype=dtype), start(*trees_of(graph), optimizer)


def trees_of(graph: Graph) -> tuple[Tree, Tree]:
    """Parameters and state, the former all different from 0."""
    rng = np.random.default_rng(1)
    params, state = init_shapes(graph)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 5, leaf.dtype), params)
    return params, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)


def on_host(state: TrainState) -> TrainState:
    """A copy that survives the donation of the state."""
    return jax.tree.map(lambda leaf: np.array(leaf), state)


def assert_equal(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_an_iteration_of_two_batches_is_one_of_twice_the_batch() -> None:
    both = batches_of(2)
    step, state = ready(graph_of(PLAIN), iter_size=2, momentum=0.9, weight_decay=0.1)
    halves, of_halves = step(state, both, jnp.int32(0))
    step, state = ready(graph_of(PLAIN, batch=4), momentum=0.9, weight_decay=0.1)
    merged = jax.tree.map(lambda leaf: leaf.reshape(1, 4, *leaf.shape[2:]), both)
    whole, of_whole = step(state, merged, jnp.int32(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7), halves.params, whole.params)
    np.testing.assert_allclose(of_halves["loss"], of_whole["loss"], rtol=1e-6)


def test_memory_is_given_back_once_a_shape_is_compiled_and_after_its_first_iteration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[None] = []
    monkeypatch.setattr("segspec.train.step.release_memory", lambda: called.append(None))
    step, state = ready(graph_of(PLAIN))
    counts = []
    for number in range(3):
        state, _ = step(state, batches_of(1), jnp.int32(number))
        counts.append(len(called))
    assert counts == [2, 2, 2]


def test_the_gradient_of_an_iteration_is_the_sum_over_its_batches() -> None:
    graph = graph_of(PLAIN)
    both = batches_of(2)
    params, state = trees_of(graph)
    # The "optimizer" hands the gradient through, so that what is added to the weights is the gradient itself.
    step = make_step(graph, DATA, optax.identity(), seed=7, dtype="float32")
    before = on_host(TrainState(params, state, ()))
    after, _ = step(start(params, state, optax.identity()), both, jnp.int32(0))

    def loss(params: Any, number: int) -> jax.Array:
        inputs = {"data": DATA.normalize(both.data[number]), "label": both.label[number]}
        return apply(graph, params, state, inputs, train=True, key=jax.random.key(0)).loss

    expected = jax.jit(jax.grad(lambda params: loss(params, 0) + loss(params, 1)))(before.params)
    found = jax.tree.map(np.subtract, after.params, before.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-6), found, expected)


def test_running_averages_see_every_batch_of_an_iteration_in_order() -> None:
    both = batches_of(2)
    step, state = ready(graph_of(NORMALISED), iter_size=2, base_lr=1e-30)
    together, _ = step(state, both, jnp.int32(0))
    step, state = ready(graph_of(NORMALISED), base_lr=1e-30)
    for number in range(2):
        state, _ = step(state, jax.tree.map(lambda leaf, n=number: leaf[n : n + 1], both), jnp.int32(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), together.state, state.state)


def test_each_batch_of_an_iteration_and_each_iteration_has_its_own_randomness() -> None:
    keys = {(i, n): np.asarray(jax.random.key_data(batch_key(3, i, n))).tobytes() for i in range(5) for n in range(5)}
    assert len(set(keys.values())) == 25
    assert keys[2, 1] == np.asarray(jax.random.key_data(batch_key(3, jnp.int32(2), jnp.int32(1)))).tobytes()


@pytest.mark.parametrize("rule", [{}, {"type": "Adam", "momentum": 0.9}, {"type": "AdamW", "momentum": 0.9}])
def test_frozen_blobs_stay_to_the_last_bit(rule: dict[str, Any]) -> None:
    layers = PLAIN.replace("kernel_size: 3, pad: 1", "kernel_size: 3, pad: 1, param: {lr_mult: 0}")
    step, state = ready(graph_of(layers), weight_decay=0.5, **rule)
    before = on_host(state)
    for iteration in range(3):
        state, _ = step(state, batches_of(1, seed=iteration), jnp.int32(iteration))
    assert_equal(before.params["first"], state.params["first"])
    assert not np.array_equal(before.params["score"]["weight"], state.params["score"]["weight"])


def test_many_iterations_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    original = module.apply
    monkeypatch.setattr(module, "apply", lambda *args, **kw: (traces.append(1), original(*args, **kw))[1])
    for count in (1, 3):
        traces.clear()
        step, state = ready(graph_of(NORMALISED), iter_size=count, lr_policy="exp", gamma=0.9)
        state, _ = step(state, batches_of(count), jnp.int32(0))
        first = len(traces)
        for iteration in range(1, 6):
            state, _ = step(state, batches_of(count, seed=iteration), jnp.int32(iteration))
        assert first <= 2, "the net is traced once for its shapes and once for its program"
        assert len(traces) == first


def test_the_state_is_given_away() -> None:
    step, state = ready(graph_of(PLAIN))
    weight = state.params["first"]["weight"]
    step(state, batches_of(1), jnp.int32(0))
    assert weight.is_deleted()


@pytest.mark.parametrize("count", [1, 2])
def test_bfloat16_keeps_weights_in_float32_and_learns(count: int) -> None:
    step, state = ready(graph_of(NORMALISED), dtype="bfloat16", iter_size=count, momentum=0.9, base_lr=1.0)
    batches = batches_of(count)
    batches = batches._replace(label=(batches.data[..., :1] > 128).astype(jnp.int32))
    losses = []
    for iteration in range(20):
        state, metrics = step(state, batches, jnp.int32(iteration))
        losses.append(float(metrics["loss"]))
    assert {leaf.dtype for leaf in jax.tree.leaves((state.params, state.state))} == {jnp.dtype("float32")}
    assert losses[-1] < 0.8 * losses[0]


def poison(state: TrainState, layer: str, value: float) -> TrainState:
    blobs = {**state.params[layer], "weight": state.params[layer]["weight"].at[0].set(value)}
    return state._replace(params={**state.params, layer: blobs})


@pytest.mark.parametrize("count", [1, 2])
def test_an_iteration_that_is_not_finite_leaves_everything_as_it_was(count: int) -> None:
    step, state = ready(graph_of(NORMALISED), iter_size=count, momentum=0.9)
    state, _ = step(state, batches_of(count), jnp.int32(0))
    state = poison(state, "score", np.nan)
    before = on_host(state)
    after, metrics = step(state, batches_of(count), jnp.int32(1))
    assert not metrics["finite"]
    assert_equal(before, after)


def test_an_update_that_overflows_is_told_though_the_loss_is_finite() -> None:
    step, state = ready(graph_of(PLAIN), base_lr=3e38, weight_decay=10.0)
    _, metrics = step(state, batches_of(1), jnp.int32(0))
    assert np.isfinite(metrics["loss"])
    assert not metrics["finite"]


@pytest.mark.parametrize(("layer", "value"), [("first", np.inf), ("score", np.nan)])
def test_the_first_layer_that_is_not_finite_is_named(layer: str, value: float) -> None:
    graph = graph_of(NORMALISED)
    _, state = ready(graph)
    batch = jax.tree.map(lambda leaf: leaf[0], batches_of(1))
    find = {"key": jax.random.key(0), "dtype": "float32"}
    assert find_non_finite(graph, DATA, poison(state, layer, value), batch, **find) == layer
    assert find_non_finite(graph, DATA, state, batch, **find) is None


def test_metrics_are_averages_over_the_batches() -> None:
    graph = graph_of(PLAIN + "  - Accuracy: {name: right, bottom: [score, label]}\n")
    both = batches_of(2)
    step, state = ready(graph, iter_size=2)
    _, together = step(state, both, jnp.int32(0))
    parts = []
    step, state = ready(graph)
    for number in range(2):
        batch = jax.tree.map(lambda leaf, n=number: leaf[n : n + 1], both)
        _, metrics = step(jax.tree.map(jnp.array, state), batch, jnp.int32(0))
        parts.append(float(metrics["right"]))
    assert float(together["right"]) == pytest.approx(np.mean(parts), rel=1e-5)
