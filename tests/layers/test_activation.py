from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.activation import (
    BNLL,
    ELU,
    AbsVal,
    Clip,
    Exp,
    Log,
    Power,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    Softmax,
    Swish,
    TanH,
    Threshold,
)
from segspec.layers.base import Blob, Context, Layer

X = np.array([-100.0, -2.0, -0.5, 0.0, 0.5, 2.0, 100.0], np.float32)


def run(layer: Layer, x: object, params: dict[str, jax.Array] | None = None) -> jax.Array:
    tops, state = layer.forward(params or {}, {}, [jnp.asarray(x)], Context())
    assert state == {}
    return tops[0]


def slope_at(layer: Layer, x: float) -> float:
    return float(jax.grad(lambda value: run(layer, value))(jnp.float32(x)))


@pytest.mark.parametrize(
    ("layer", "formula"),
    [
        (ReLU(), lambda x: np.maximum(x, 0)),
        (ReLU(negative_slope=0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
        (Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
        (TanH(), np.tanh),
        (ELU(alpha=0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0)))),
        (Swish(beta=1.5), lambda x: x / (1 + np.exp(-1.5 * x))),
        (AbsVal(), np.abs),
        (BNLL(), lambda x: np.logaddexp(x, 0)),
        (Power(power=2.0, scale=0.5, shift=1.0), lambda x: (1 + 0.5 * x) ** 2),
        (Power(power=0.0), np.ones_like),
        (Threshold(threshold=0.5), lambda x: (x > 0.5).astype(float)),
    ],
    ids=lambda value: value.type if isinstance(value, Layer) else "",
)
def test_formula(layer: Layer, formula: object) -> None:
    expected = formula(X.astype(np.float64))  # type: ignore[operator]
    np.testing.assert_allclose(run(layer, X), expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("layer", "slope"),
    [(ReLU(), 0.0), (ReLU(negative_slope=0.1), 0.1), (AbsVal(), 0.0), (Threshold(), 0.0), (ELU(alpha=0.5), 0.5)],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_gradient_at_zero(layer: Layer, slope: float) -> None:
    assert slope_at(layer, 0.0) == pytest.approx(slope)


@pytest.mark.parametrize("layer", [BNLL(), Sigmoid(), Swish(), TanH(), ELU()], ids=lambda layer: layer.type)
@pytest.mark.parametrize("x", [-1e4, 1e4])
def test_huge_inputs_stay_finite(layer: Layer, x: float) -> None:
    assert math.isfinite(float(run(layer, jnp.float32(x))))
    assert math.isfinite(slope_at(layer, x))


def test_relu_shows_nan_rather_than_hiding_it() -> None:
    assert math.isnan(float(run(ReLU(), np.float32("nan"))))


def test_prelu_has_one_slope_a_channel() -> None:
    layer = PReLU()
    blob = Blob((1, 2, 2, 3))
    assert layer.params([blob])["slope"].shape == (3,)
    assert layer.params([blob])["slope"].filler.value == 0.25
    slopes = jnp.array([0.0, 0.5, 2.0])
    np.testing.assert_allclose(run(layer, -np.ones(blob.shape, np.float32), {"slope": slopes})[0, 1, 1], -slopes)


def test_prelu_channels_are_axis_1_of_other_ranks_too() -> None:
    slope = jnp.array([0.5, 2.0])
    rows = run(PReLU(), -np.ones((3, 2, 4), np.float32), {"slope": slope})
    np.testing.assert_allclose(rows[0, :, 0], -slope)


def test_shared_prelu_has_one_number() -> None:
    layer = PReLU(channel_shared=True)
    assert layer.params([Blob((1, 2, 2, 3))])["slope"].shape == ()
    assert float(run(layer, np.float32(-2.0), {"slope": jnp.float32(0.5)})) == -1.0


def test_exp_and_log_are_inverse() -> None:
    x = np.linspace(-2, 2, 9, dtype=np.float32)
    for base in (-1.0, 2.0, 10.0):
        np.testing.assert_allclose(run(Log(base=base), run(Exp(base=base), x)), x, atol=1e-6)
    np.testing.assert_allclose(run(Exp(base=2.0, scale=3.0, shift=1.0), x), 2.0 ** (3 * x + 1), rtol=1e-6)


@pytest.mark.parametrize("base", [0.0, -2.0, 1.0])
def test_impossible_bases_are_refused(base: float) -> None:
    with pytest.raises(ValidationError, match="base must be above 0"):
        Log(base=base)


@pytest.mark.parametrize(("axis", "stored"), [(0, 0), (1, 3), (2, 1), (3, 2), (-3, 3), (-1, 2)])
def test_softmax_axis_counts_in_caffes_order(axis: int, stored: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(np.sum(run(Softmax(axis=axis), x), axis=stored), 1.0, rtol=1e-6)


def test_softmax_of_huge_scores_is_finite() -> None:
    np.testing.assert_allclose(run(Softmax(), np.array([[1e4, 0.0, -1e4]], np.float32)), [[1, 0, 0]])


def test_half_precision_stays_and_integers_become_real() -> None:
    assert run(Softmax(), jnp.ones((2, 3), jnp.bfloat16)).dtype == jnp.bfloat16
    assert run(ReLU(), jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
    assert run(Power(scale=0.5), jnp.array([3], jnp.int32))[0] == 1.5


@pytest.mark.parametrize("layer", [Sigmoid(), TanH()], ids=["Sigmoid", "TanH"])
def test_the_slope_of_a_saturated_unit_is_not_lost_in_bfloat16(layer: Layer) -> None:
    x = jnp.array([3.0, 4.5, 7.0], jnp.bfloat16)
    found, exact = (jax.grad(lambda x: jnp.sum(run(layer, x)))(x.astype(dtype)) for dtype in ("bfloat16", "float32"))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), exact, rtol=2**-8)


def test_the_gradient_of_prelus_slope_is_summed_in_float32() -> None:
    x, g = (jnp.asarray(np.random.default_rng(seed).normal(size=(1, 60, 80, 8)), jnp.bfloat16) for seed in (1, 2))

    def total(slope: jax.Array, dtype: str) -> jax.Array:
        return jnp.sum((run(PReLU(), x.astype(dtype), {"slope": slope}) * g.astype(dtype)).astype(jnp.float32))

    found, exact = (jax.grad(total)(jnp.full(8, 0.25), dtype) for dtype in ("bfloat16", "float32"))
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-3)


def _slopes(layer: Layer, x: object) -> np.ndarray:
    return np.asarray(jax.grad(lambda x: jnp.sum(layer.forward({}, {}, [x], Context())[0][0]))(jnp.asarray(x)))


def test_rectified_up_to_6() -> None:
    x = np.float32([-1, 0, 0.5, 6, 7])
    np.testing.assert_array_equal(ReLU6().forward({}, {}, [jnp.asarray(x)], Context())[0][0], [0, 0, 0.5, 6, 6])
    np.testing.assert_array_equal(_slopes(ReLU6(), x), [0, 0, 1, 0, 0])


def test_clipped_at_both_ends_which_still_pass_the_gradient() -> None:
    layer, x = Clip(min=-1, max=2), np.float32([-3, -1, 0.5, 2, 2.5])
    np.testing.assert_array_equal(layer.forward({}, {}, [jnp.asarray(x)], Context())[0][0], [-1, -1, 0.5, 2, 2])
    np.testing.assert_array_equal(_slopes(layer, x), [0, 1, 1, 1, 0])
    with pytest.raises(ValidationError, match="min 2 is above max 1"):
        Clip(min=2, max=1)
