"""init and apply: what is initialised from what, sharing, frozen blobs, losses, state, randomness."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import Source, SpecError
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.net import Outputs, Tree, apply, init, init_shapes
from segspec.spec.net import read_net
from segspec.spec.solver import Remat

SIZE = (4, 6)
CONV = "Convolution: {name: %s, num_output: 3, kernel_size: 3, pad: same}"


def graph(*layers: str, labels: bool = True) -> Graph:
    text = "segspec: 1\nlayers:\n" + "".join(f"  - {layer}\n" for layer in layers)
    net = read_net(Source("x.yaml", text), Path("nowhere"))
    return build(net, "TRAIN" if labels else "DEPLOY", image_inputs(2, *SIZE, 3, labels=labels))


def batch(seed: int = 0) -> dict[str, jax.Array]:
    random = np.random.default_rng(seed)
    return {
        "data": jnp.asarray(random.normal(size=(2, *SIZE, 3)), jnp.float32),
        "label": jnp.asarray(random.integers(0, 3, (2, *SIZE, 1)), jnp.int32),
    }


def run(net: Graph, *, train: bool = True, key: int | None = 0, want: tuple[str, ...] = ()) -> Outputs:
    params, state = init(net, 0)
    own = None if key is None else jax.random.key(key)
    return apply(net, params, state, batch(), train=train, key=own, want=want)


def gradient(net: Graph, params: Tree, *, train: bool = True) -> Tree:
    _, state = init(net, 0)
    return jax.jit(jax.grad(lambda tree: apply(net, tree, state, batch(), train=train).loss))(params)


def equal(one: object, other: object) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return jax.tree.structure(one) == jax.tree.structure(other) and all(np.array_equal(*pair) for pair in leaves)


def test_trees_have_the_declared_shapes_in_float32() -> None:
    params, state = init(graph(CONV % "c", "BatchNorm: {name: b}", "ReLU"), 0)
    assert {layer: set(blobs) for layer, blobs in params.items()} == {"c": {"weight", "bias"}, "b": {"scale", "shift"}}
    assert params["c"]["weight"].shape == (3, 3, 3, 3)
    assert set(state) == {"b"}
    assert {array.dtype for array in jax.tree.leaves((params, state))} == {jnp.dtype("float32")}


def test_initial_values_hang_on_the_name_and_the_seed_alone() -> None:
    alone, _ = init(graph(CONV % "c"), 7)
    among, _ = init(graph(CONV % "a", "ReLU", CONV % "c", CONV % "z"), 7)
    assert equal(among["c"], alone["c"])
    assert not np.array_equal(among["a"]["weight"], among["c"]["weight"])
    assert not np.array_equal(init(graph(CONV % "c"), 8)[0]["c"]["weight"], alone["c"]["weight"])


def test_initial_values_are_the_same_in_every_process() -> None:
    weight = np.asarray(init(graph(CONV % "c"), 7)[0]["c"]["weight"])
    rng = np.random.Generator(np.random.Philox([7, _crc32("c:weight")]))
    drawn = rng.standard_normal((3, 3, 3, 3), np.float32) * np.float32((2 / 27) ** 0.5)
    np.testing.assert_array_equal(weight, drawn)


def test_any_whole_number_is_a_seed() -> None:
    net = graph(CONV % "c")
    below, above = (init(net, seed)[0]["c"]["weight"] for seed in (-1, 2**40))
    assert np.isfinite(below).all() and not np.array_equal(below, above)


def test_shapes_are_known_without_drawing() -> None:
    net = graph(CONV % "c", "BatchNorm: {name: b}", "ReLU")
    abstract = jax.eval_shape(lambda: init(net, 0))
    assert jax.tree.structure(init_shapes(net)) == jax.tree.structure(abstract)
    assert jax.tree.leaves(init_shapes(net)) == jax.tree.leaves(abstract)


def _crc32(name: str) -> int:
    """CRC-32 by its definition, so that nothing but the name and the seed can be behind the values."""
    remainder = 0xFFFFFFFF
    for byte in name.encode():
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0xEDB88320 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


TWINS = (
    "Convolution: {name: a, num_output: 3, kernel_size: 3, pad: same, param: [{name: w}, {name: b}]}",
    "TanH",
    "Convolution: {name: z, num_output: 3, kernel_size: 3, pad: same, param: [{name: w}, {name: b}]}",
    "SoftmaxWithLoss",
)


def test_a_shared_blob_lies_with_its_owner_and_collects_both_gradients() -> None:
    shared = graph(*TWINS)
    apart = graph(CONV % "a", "TanH", CONV % "z", "SoftmaxWithLoss")
    params, _ = init(shared, 0)
    assert list(params) == ["a"]
    twice = {"a": params["a"], "z": params["a"]}
    separate = gradient(apart, twice)
    for blob, value in gradient(shared, params)["a"].items():
        np.testing.assert_allclose(value, separate["a"][blob] + separate["z"][blob], rtol=1e-5, atol=1e-7)
        assert float(jnp.abs(separate["z"][blob]).max()) > 1e-4


def test_a_frozen_blob_gets_no_gradient_and_passes_one_on() -> None:
    frozen = "Convolution: {name: f, num_output: 3, kernel_size: 3, pad: same, param: [{lr_mult: 0}, {}]}"
    net = graph(CONV % "a", frozen, "SoftmaxWithLoss")
    params, _ = init(net, 0)
    found = gradient(net, params)
    assert not np.any(found["f"]["weight"])
    assert np.all(found["f"]["bias"])
    assert np.any(found["a"]["weight"])
    assert np.any(gradient(net, params, train=False)["f"]["weight"])


def test_the_loss_is_the_weighted_sum_of_all_losses() -> None:
    layers = (
        CONV % "c",
        "SoftmaxWithLoss: {name: one, loss_weight: 2}",
        "SoftmaxWithLoss: {name: off, loss_weight: 0}",
    )
    outputs = run(graph(*layers, "SoftmaxWithLoss: {name: half, loss_weight: 0.5}", "Accuracy"))
    assert outputs.loss.dtype == jnp.float32
    assert outputs.loss.shape == ()
    assert float(outputs.loss) == pytest.approx(2.5 * float(outputs.blobs["one"]))
    assert set(outputs.blobs) == {"one", "off", "half", "accuracy1"}


def test_losses_of_every_kind_on_one_score_combine_by_their_weights() -> None:
    weights = {"OHEMLoss": 1, "FocalLoss": 0.3, "DiceLoss": 0.7, "JaccardLoss": 0.2, "LovaszSoftmaxLoss": 2}
    weights |= {"BoundaryLoss": 0.5, "SoftmaxWithLoss": 0.1}
    losses = [f"{kind}: {{name: {kind}, loss_weight: {weight}}}" for kind, weight in weights.items()]
    outputs = run(graph(CONV % "c", *losses))
    terms = {kind: weight * float(outputs.blobs[kind]) for kind, weight in weights.items()}
    assert all(term > 0 for term in terms.values())
    assert float(outputs.loss) == pytest.approx(sum(terms.values()), rel=1e-5)


def test_a_feature_with_a_loss_weight_is_a_loss() -> None:
    outputs = run(graph("ReLU: {loss_weight: 0.1}"), want=("relu1",))
    assert float(outputs.loss) == pytest.approx(0.1 * float(outputs.blobs["relu1"].sum()), rel=1e-5)


def test_a_net_without_a_loss_has_the_loss_0() -> None:
    outputs = run(graph(CONV % "c"))
    assert (float(outputs.loss), outputs.blobs) == (0.0, {})


def test_wanted_blobs_are_given_and_inputs_too() -> None:
    outputs = run(graph(CONV % "c", "PoolingMask: {name: p}"), want=("c", "p/mask", "data"))
    assert set(outputs.blobs) == {"c", "p/mask", "data"}
    assert outputs.blobs["c"].shape == (2, *SIZE, 3)


def test_state_moves_in_training_alone_and_keeps_its_structure() -> None:
    net = graph(CONV % "c", "BatchNorm: {name: b}", "SoftmaxWithLoss")
    _, before = init(net, 0)
    trained, tested = run(net).state, run(net, train=False).state
    assert equal(tested, before)
    assert jax.tree.structure(trained) == jax.tree.structure(before)
    assert not equal(trained, before)
    assert equal(before, init(net, 0)[1])


def masks(net: Graph, key: jax.Array) -> dict[str, np.ndarray]:
    params, state = init(net, 0)
    ones = {**batch(), "data": jnp.ones((2, *SIZE, 3))}
    names = tuple(layer.name for layer in net.layers if layer.layer.type == "Dropout")
    blobs = apply(net, params, state, ones, train=True, key=key, want=names).blobs
    return {name: np.asarray(blobs[name]) != 0 for name in names}


def test_dropout_hangs_on_the_key_and_the_name_of_the_layer() -> None:
    one = graph("Dropout: {name: a, bottom: data}", "Dropout: {name: b, bottom: data}")
    two = graph("TanH", "Dropout: {name: b, bottom: data}")
    seed = jax.random.key(3)
    first, second = (jax.random.fold_in(seed, iteration) for iteration in (1, 2))
    assert np.array_equal(masks(one, first)["b"], masks(one, first)["b"])
    assert np.array_equal(masks(one, first)["b"], masks(two, first)["b"])
    assert not np.array_equal(masks(one, first)["a"], masks(one, first)["b"])
    assert not np.array_equal(masks(one, first)["b"], masks(one, second)["b"])


@pytest.mark.parametrize(
    ("layer", "train", "key", "drops"),
    [
        ("Dropout", True, 0, True),
        ("Dropout", False, 0, False),
        ("Dropout", True, None, False),
        ("Dropout: {sample_weights_test: true}", False, 0, True),
        ("Dropout: {sample_weights_test: true}", False, None, False),
    ],
)
def test_dropout_acts_in_its_phase_and_with_a_key(layer: str, train: bool, key: int | None, drops: bool) -> None:
    outputs = run(graph(layer), train=train, key=key, want=("drop1", "data"))
    assert np.array_equal(outputs.blobs["drop1"], outputs.blobs["data"]) is not drops


def test_jit_gives_what_it_gives_without() -> None:
    net = graph(CONV % "c", "BatchNorm", "Dropout", "SoftmaxWithLoss")
    params, state = init(net, 0)

    def step(params: Tree, state: Tree) -> Outputs:
        return apply(net, params, state, batch(), train=True, key=jax.random.key(0), want=("drop1",))

    plain, jitted = step(params, state), jax.jit(step)(params, state)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_bfloat16_computes_in_half_and_answers_in_float32() -> None:
    net = graph(CONV % "c", "SoftmaxWithLoss")
    params, state = init(net, 0)
    half = apply(net, params, state, batch(), dtype="bfloat16", want=("c",))
    assert half.blobs["c"].dtype == jnp.bfloat16
    assert half.loss.dtype == jnp.float32
    assert float(half.loss) == pytest.approx(float(apply(net, params, state, batch()).loss), rel=0.02)


def test_a_layer_is_called_by_its_name_in_traces() -> None:
    net = graph(CONV % "e1/conv1")
    params, state = init(net, 0)
    traced = jax.jit(lambda tree: apply(net, tree, state, batch(), want=("e1/conv1",)).blobs).lower(params)
    assert "e1.conv1" in traced.as_text(debug_info=True)


def test_an_input_that_is_not_propagated_to_gets_no_gradient() -> None:
    layers = "{name: s, bottom: [a, b], propagate_down: [true, false]}"
    net = graph(CONV % "a", CONV % "b", f"Eltwise: {layers}", "SoftmaxWithLoss")
    params, state = init(net, 0)
    gradients = jax.grad(lambda tree: apply(net, tree, state, batch(), train=True).loss)(params)
    assert np.abs(gradients["a"]["weight"]).max() > 0
    assert not np.abs(gradients["b"]["weight"]).any()


def test_more_flags_than_inputs_are_a_mistake() -> None:
    with pytest.raises(SpecError, match="2 'propagate_down' for 1 bottoms"):
        graph("ReLU: {propagate_down: [true, false]}")


SKIPPING = (
    CONV % "a",
    "BatchNorm: {name: abn}",
    "ReLU: {name: arelu}",
    "Dropout: {name: adrop}",
    "PoolingMask: {name: pool, kernel_size: 2, stride: 2}",
    CONV % "b",
    "BN: {name: bbn}",
    "Upsample: {name: up, mask: pool}",
    "Eltwise: {name: sum, with: adrop}",
    "Convolution: {name: frozen, num_output: 3, kernel_size: 1, param: [{lr_mult: 0}, {lr_mult: 0}]}",
    "Concat: {name: both, with: arelu}",
    CONV % "score",
    "SoftmaxWithLoss: {name: loss}",
)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("remat", ["light", "blocks"])
def test_what_is_computed_twice_changes_nothing(remat: Remat, dtype: str) -> None:
    net = graph(*SKIPPING)
    params, state = init(net, 0)

    def loss(tree: Tree, remat: Remat) -> tuple[jax.Array, Outputs]:
        outputs = apply(net, tree, state, batch(), train=True, key=jax.random.key(5), dtype=dtype, remat=remat)
        return outputs.loss, outputs

    step = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    (_, kept), expected = step(params, "none")
    (_, twice), found = step(params, remat)
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 0.05, "atol": 0.02}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), (kept, expected), (twice, found))
    assert not found["frozen"]["weight"].any() and found["a"]["weight"].any()
