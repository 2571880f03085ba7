"""SpecNet gives what the core gives, to the bit, and trains as Flax modules do."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from segspec.errors import Source
from segspec.flax_module import SpecNet
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.net import apply, init
from segspec.spec.net import read_net

TEXT = """segspec: 1
classes: 3
layers:
  - Convolution: {name: c/a, num_output: 4, kernel_size: 3, pad: same, param: [{name: w}, {lr_mult: 0}]}
  - BatchNorm: {name: norm}
  - ReLU
  - Dropout: {sample_weights_test: true}
  - Convolution: {name: c/0, num_output: 4, kernel_size: 3, pad: same, group: 4}
  - Convolution: {name: score, num_output: 3, kernel_size: 1}
  - SoftmaxWithLoss
  - Accuracy
"""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build(read_net(Source("x.yaml", TEXT), Path("nowhere")), "TRAIN", image_inputs(2, 6, 8, 3))


@pytest.fixture(scope="module")
def batch() -> dict[str, jax.Array]:
    random = np.random.default_rng(0)
    return {
        "data": jnp.asarray(random.normal(size=(2, 6, 8, 3)), jnp.float32),
        "label": jnp.asarray(random.integers(0, 3, (2, 6, 8, 1)), jnp.int32),
    }


def values(variables: dict[str, dict[str, nnx.Variable[jax.Array]]]) -> dict[str, dict[str, np.ndarray]]:
    return {
        layer: {blob: np.asarray(value[...]) for blob, value in blobs.items()} for layer, blobs in variables.items()
    }


def assert_same(one: object, other: object) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


def test_starts_from_the_same_values(graph: Graph) -> None:
    net = SpecNet(graph, seed=3)
    params, state = init(graph, 3)
    assert_same(values(net.params), params)
    assert_same(values(net.batch_stats), state)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("seed", [None, 5])
def test_outputs_and_state_equal_the_core_exactly(
    graph: Graph, batch: dict[str, jax.Array], train: bool, seed: int | None
) -> None:
    net = SpecNet(graph, seed=3)
    params, state = init(graph, 3)
    for iteration in range(2):
        key = None if seed is None else jax.random.fold_in(jax.random.key(seed), iteration)
        expected = apply(graph, params, state, batch, train=train, key=key, want=("score",))
        assert_same(net(batch, train=train, key=key), expected)
        state = expected.state if train else state
        assert_same(values(net.batch_stats), state)
    assert_same(values(net.params), params)


def test_gives_the_scores_unless_told_otherwise(graph: Graph, batch: dict[str, jax.Array]) -> None:
    net = SpecNet(graph)
    assert set(net(batch).blobs) == {"score", "loss1", "accuracy1"}
    assert set(net(batch, want=("norm",)).blobs) == {"norm", "loss1", "accuracy1"}


def test_a_seed_gives_other_values(graph: Graph) -> None:
    one, other = (values(SpecNet(graph, seed=seed).params)["score"]["weight"] for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_trains_under_nnx_jit_and_moves_the_state(graph: Graph, batch: dict[str, jax.Array]) -> None:
    optax = pytest.importorskip("optax")
    net = SpecNet(graph, seed=3)
    optimizer = nnx.Optimizer(net, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(net: SpecNet, optimizer: nnx.Optimizer[SpecNet]) -> jax.Array:
        loss, gradient = nnx.value_and_grad(lambda model: model(batch, train=True).loss)(net)
        optimizer.update(net, gradient)
        return loss

    before = (values(net.params), values(net.batch_stats))
    losses = [float(step(net, optimizer)) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert not np.array_equal(values(net.params)["score"]["weight"], before[0]["score"]["weight"])
    assert np.array_equal(values(net.params)["c/a"]["bias"], before[0]["c/a"]["bias"])
    assert not np.array_equal(*(jax.tree.leaves(state["norm"])[-1] for state in (values(net.batch_stats), before[1])))


def test_its_state_splits_into_parameters_and_statistics(graph: Graph) -> None:
    _, params, statistics = nnx.split(SpecNet(graph), nnx.Param, nnx.BatchStat)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == graph.parameters
    assert len(jax.tree.leaves(statistics)) == len(jax.tree.leaves(init(graph, 0)[1]))
