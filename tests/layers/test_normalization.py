from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, Layer, Sampling, ShapeError
from segspec.layers.normalization import BN, LRN, MVN, BatchNorm, Normalize

Arrays = dict[str, jax.Array]
SHAPE = (2, 4, 5, 3)
IMAGE = Blob(SHAPE)
FRACTION = 0.9


def values(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    spread, offset = rng.uniform(1, 3, shape[-1]), rng.uniform(-5, 5, shape[-1])
    return (rng.normal(size=shape) * spread + offset).astype(np.float32)


def started(layer: Layer, blob: Blob = IMAGE) -> tuple[Arrays, Arrays]:
    params = {name: jnp.full(spec.shape, spec.filler.value) for name, spec in layer.params([blob]).items()}
    return params, {name: jnp.full(spec.shape, spec.value) for name, spec in layer.state([blob]).items()}


def run(layer: Layer, x: np.ndarray[Any, Any], state: Arrays | None = None, **context: Any) -> tuple[Any, Arrays]:
    params, fresh = started(layer, Blob(x.shape))
    tops, changed = layer.forward(params, state or fresh, [jnp.asarray(x)], Context(**context))
    return (tops[0] if len(tops) == 1 else tops), changed


def normalized(x: np.ndarray[Any, Any], eps: float) -> np.ndarray[Any, Any]:
    axes = (0, 1, 2)
    return (x - x.mean(axes, dtype=float)) / np.sqrt(x.var(axes, dtype=float) + eps)


KINDS: list[Any] = [pytest.param(BN(), 1e-9, id="BN"), pytest.param(BatchNorm(), 1e-5, id="BatchNorm")]
SOME_STATE = {"mean": jnp.array([1.0, 2, 3]), "variance": jnp.array([4.0, 1, 9]), "factor": jnp.array(1.0)}


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_training_takes_the_statistics_of_the_batch(layer: Layer, eps: float) -> None:
    x = values()
    y, changed = run(layer, x, SOME_STATE, train=True)
    np.testing.assert_allclose(y, normalized(x, eps), rtol=1e-4, atol=1e-5)
    assert set(changed) == {"mean", "variance", "factor"}


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_running_averages_are_weighted_means_from_the_first_batch_on(layer: Layer, eps: float) -> None:
    """A batch that lies n batches back weighs 0.9^n; variances are averaged without bias."""
    batches = [values(seed) * (seed + 1) for seed in range(4)]
    state = started(layer)[1]
    for count, batch in enumerate(batches, 1):
        state = run(layer, batch, state, train=True)[1]
        weights = FRACTION ** np.arange(count)[::-1]
        means = np.stack([x.mean((0, 1, 2)) for x in batches[:count]])
        variances = np.stack([x.var((0, 1, 2), ddof=1) for x in batches[:count]])
        assert float(state["factor"]) == pytest.approx(weights.sum(), rel=1e-5)
        np.testing.assert_allclose(state["mean"], np.average(means, 0, weights), rtol=1e-4)
        np.testing.assert_allclose(state["variance"], np.average(variances, 0, weights), rtol=1e-4)


def test_the_moving_average_fraction_is_what_is_kept() -> None:
    assert BN.FRACTION == BatchNorm().moving_average_fraction == FRACTION
    layer = BatchNorm(moving_average_fraction=0.5)
    state = run(layer, np.zeros(SHAPE, np.float32), train=True)[1]
    state = run(layer, np.full(SHAPE, 3, np.float32), state, train=True)[1]
    np.testing.assert_allclose(state["mean"], 3 / 1.5)
    assert float(state["factor"]) == 1.5
    forgetful = run(BatchNorm(moving_average_fraction=0.0), values(), SOME_STATE, train=True)[1]
    np.testing.assert_allclose(forgetful["mean"], values().mean((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize(
    ("layer", "train", "statistics", "of_batch", "updates"),
    [
        (BN(), True, "layer", True, True),
        (BN(), False, "layer", True, False),
        (BN(), False, "running", False, False),
        (BN(), True, "running", False, False),
        (BN(), False, "batch", True, False),
        (BatchNorm(), True, "layer", True, True),
        (BatchNorm(), False, "layer", False, False),
        (BatchNorm(), False, "batch", True, False),
        (BatchNorm(), True, "running", False, False),
        (BatchNorm(use_global_stats=True), True, "layer", False, False),
        (BatchNorm(use_global_stats=False), False, "layer", True, False),
        (BatchNorm(use_global_stats=True), False, "batch", True, False),
    ],
)
def test_which_statistics_normalise_and_when_they_change(
    layer: Layer, train: bool, statistics: str, of_batch: bool, updates: bool
) -> None:
    x, eps = values(), 1e-9 if isinstance(layer, BN) else 1e-5
    y, changed = run(layer, x, SOME_STATE, train=train, statistics=statistics)
    running = (x - np.array([1, 2, 3])) / np.sqrt(np.array([4, 1, 9]) + eps)
    np.testing.assert_allclose(y, normalized(x, eps) if of_batch else running, rtol=1e-4, atol=1e-4)
    assert bool(changed) == updates


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_before_the_first_batch_running_statistics_change_nothing(layer: Layer, eps: float) -> None:
    y, _ = run(layer, values(), statistics="running")
    np.testing.assert_allclose(y, values() / np.sqrt(1 + eps), rtol=1e-5)


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_scale_and_shift_come_last(layer: Layer, eps: float) -> None:
    params = {"scale": jnp.array([2.0, -1, 0]), "shift": jnp.array([0.5, 1, -3])}
    (y,), _ = layer.forward(params, started(layer)[1], [jnp.asarray(values())], Context(train=True))
    np.testing.assert_allclose(y, normalized(values(), eps) * [2, -1, 0] + [0.5, 1, -3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_large_means_do_no_harm(layer: Layer, eps: float) -> None:
    x = values() + np.float32(20000)
    y, _ = run(layer, x, train=True)
    np.testing.assert_allclose(y, normalized(x, eps), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_a_batch_of_one_pixel_is_finite(layer: Layer, eps: float) -> None:
    x = values(shape=(1, 1, 1, 3))
    y, changed = run(layer, x, train=True)
    np.testing.assert_array_equal(y, np.zeros(x.shape))
    np.testing.assert_allclose(changed["mean"], x.ravel())
    np.testing.assert_array_equal(changed["variance"], np.zeros(3))


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_the_state_passes_no_gradient(layer: Layer, eps: float) -> None:
    params, state = started(layer)

    def moved(x: jax.Array) -> jax.Array:
        changed = layer.forward(params, state, [x], Context(train=True))[1]
        return jnp.sum(changed["mean"]) + jnp.sum(changed["variance"])

    assert not jax.grad(moved)(jnp.asarray(values())).any()


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_vectors_have_their_channels_on_axis_1(layer: Layer, eps: float) -> None:
    x = values(shape=(6, 3))
    y, changed = run(layer, x, train=True)
    np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(x.var(0) + eps), rtol=1e-4, atol=1e-4)
    assert changed["mean"].shape == (3,)
    with pytest.raises(ShapeError, match="needs channels: an input of at least 2 axes, got 6"):
        layer.params([Blob((6,))])


@pytest.mark.parametrize(("layer", "eps"), KINDS)
def test_bfloat16_keeps_its_statistics_in_float32(layer: Layer, eps: float) -> None:
    params, state = started(layer)
    x = jnp.asarray(values(), jnp.bfloat16)
    (y,), changed = layer.forward(params, state, [x], Context(train=True))
    assert y.dtype == jnp.bfloat16
    assert {value.dtype for value in changed.values()} == {jnp.dtype("float32")}
    np.testing.assert_allclose(changed["mean"], x.astype(jnp.float32).mean((0, 1, 2)), rtol=1e-5)


def test_bn_shows_mean_and_biased_variance() -> None:
    x = values()
    (_, mean, variance), _ = run(BN(), x, tops=3)
    assert mean.shape == variance.shape == (1, 1, 1, 3)
    np.testing.assert_allclose(mean.ravel(), x.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(variance.ravel(), x.var((0, 1, 2)), rtol=1e-4)
    assert BN().shapes([IMAGE], 3) == (IMAGE, Blob((1, 1, 1, 3)), Blob((1, 1, 1, 3)))


@pytest.mark.parametrize("statistics", ["layer", "running", "batch"])
@pytest.mark.parametrize("train", [False, True])
def test_bn_inference_only_scales_and_shifts(train: bool, statistics: str) -> None:
    layer = BN(bn_mode="INFERENCE")
    assert layer.state([IMAGE]) == {}
    params = {"scale": jnp.array([2.0, -1, 0]), "shift": jnp.array([0.5, 1, -3])}
    context = Context(train=train, statistics=statistics)  # type: ignore[arg-type]
    (y,), changed = layer.forward(params, {}, [jnp.asarray(values())], context)
    np.testing.assert_allclose(y, values() * [2, -1, 0] + [0.5, 1, -3], rtol=1e-5, atol=1e-5)
    assert not changed
    with pytest.raises(ShapeError, match="mean and variance are outputs in mode LEARN only"):
        layer.shapes([IMAGE], 2)


def test_folded_statistics_are_an_inference() -> None:
    x = values()
    y, _ = run(BN(), x)
    mean, variance = x.mean((0, 1, 2), dtype=float), x.var((0, 1, 2), dtype=float)
    scale = 1 / np.sqrt(variance + BN.EPS)
    folded = {"scale": jnp.asarray(scale, jnp.float32), "shift": jnp.asarray(-mean * scale, jnp.float32)}
    (same,), _ = BN(bn_mode="INFERENCE").forward(folded, {}, [jnp.asarray(x)], Context())
    np.testing.assert_allclose(same, y, rtol=1e-4, atol=1e-5)


def test_blobs_of_yaml_and_of_caffe() -> None:
    params = BN().params([IMAGE])
    assert [(spec.shape, spec.caffe_shape, spec.filler.value) for spec in params.values()] == [
        ((3,), (1, 3, 1, 1), 1.0),
        ((3,), (1, 3, 1, 1), 0.0),
    ]
    assert list(BatchNorm().params([IMAGE])) == ["scale", "shift"]
    bvlc = BatchNorm.model_validate(dict(BatchNorm.caffe_defaults))
    assert bvlc.params([IMAGE]) == {}
    assert bvlc.moving_average_fraction == 0.999
    y, _ = run(bvlc, values(), train=True)
    np.testing.assert_allclose(y, normalized(values(), 1e-5), rtol=1e-4, atol=1e-5)


@pytest.mark.oracle
def test_running_statistics_agree_with_torch_where_both_know_them() -> None:
    """torch starts from 0 and 1 and keeps 0.9 of them; a state of weight 10 does the same."""
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm2d(3, momentum=0.1)
    layer = BatchNorm(moving_average_fraction=0.9)
    state = {**started(layer)[1], "factor": jnp.array(10.0)}
    for seed in range(3):
        theirs(torch.tensor(values(seed).transpose(0, 3, 1, 2)))
        state = run(layer, values(seed), state, train=True)[1]
    np.testing.assert_allclose(state["mean"], theirs.running_mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state["variance"], theirs.running_var, rtol=1e-4)
    y, _ = run(layer, values(9), state)
    there = theirs.eval()(torch.tensor(values(9).transpose(0, 3, 1, 2))).detach().numpy()
    np.testing.assert_allclose(y, there.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


def test_lrn_regions() -> None:
    x = values()
    (across,), _ = LRN(local_size=3, alpha=2.0, beta=0.5, k=3.0).forward({}, {}, [jnp.asarray(x)], Context())
    energy = np.stack([(x[..., max(0, c - 1) : c + 2] ** 2).sum(-1) for c in range(3)], -1)
    np.testing.assert_allclose(across, x / np.sqrt(3 + 2 / 3 * energy), rtol=1e-5)
    whole = LRN(local_size=9, alpha=2.0, beta=0.5, norm_region="WITHIN_CHANNEL")
    (within,), _ = whole.forward({}, {}, [jnp.asarray(x)], Context())
    energy = (x**2).sum((1, 2), keepdims=True) / 81
    np.testing.assert_allclose(within, x / np.sqrt(1 + 2 * energy), rtol=1e-5)
    assert LRN().sampling([IMAGE], [IMAGE]) == Sampling()
    assert whole.sampling([IMAGE], [IMAGE]) == Sampling((9, 9))


def test_lrn_refuses_what_has_no_middle() -> None:
    with pytest.raises(ValidationError, match="local_size must be odd"):
        LRN(local_size=4)
    with pytest.raises(ShapeError, match=r"needs an image .*, got 2x3"):
        LRN().shapes([Blob((2, 3))])


@pytest.mark.parametrize(
    ("fields", "axes", "divided"),
    [
        ({}, (1, 2), True),
        ({"across_channels": True}, (1, 2, 3), True),
        ({"normalize_variance": False}, (1, 2), False),
        ({"normalize_variance": False, "across_channels": True}, (1, 2, 3), False),
    ],
)
def test_mvn_normalises_each_sample_alone(fields: dict[str, Any], axes: tuple[int, ...], divided: bool) -> None:
    x = values()
    (y,), _ = MVN.model_validate(fields).forward({}, {}, [jnp.asarray(x)], Context(train=True))
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-5)
    spread = y.std(axes) / x.std(axes)
    np.testing.assert_allclose(y.std(axes) if divided else spread, 1, rtol=1e-4)


def test_mvn_needs_an_eps_and_sees_everything() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        MVN(eps=0.0)
    assert MVN().sampling([IMAGE], [IMAGE]) == Sampling((0, 0))


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_lengths_are_normalised(across: bool, shared: bool) -> None:
    layer = Normalize(across_spatial=across, channel_shared=shared, eps=0.5)
    x = values().astype(np.float64)
    scale = np.float32(2.5) if shared else np.float32([1, 2, 3])
    assert layer.params([IMAGE])["scale"].shape == scale.shape
    (y,), _ = layer.forward({"scale": jnp.asarray(scale)}, {}, [jnp.asarray(x, jnp.float32)], Context())
    length = np.sqrt((x**2).sum((1, 2, 3) if across else 3, keepdims=True) + 0.5)
    np.testing.assert_allclose(y, scale * x / length, rtol=1e-5, atol=1e-6)


def test_lengths_of_vectors_and_of_zeros() -> None:
    layer = Normalize(channel_shared=False, across_spatial=False)
    rows = np.float32([[3, 4], [0, 0]])
    (y,), _ = layer.forward({"scale": jnp.ones(2)}, {}, [jnp.asarray(rows)], Context())
    np.testing.assert_allclose(y, [[0.6, 0.8], [0, 0]], rtol=1e-6)
    assert layer.sampling([IMAGE], [IMAGE]) == Sampling()
    assert Normalize().sampling([IMAGE], [IMAGE]) == Sampling((0, 0))
    with pytest.raises(ShapeError, match="needs channels"):
        Normalize().shapes([Blob((3,))])
