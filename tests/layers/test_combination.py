from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, Layer, ShapeError
from segspec.layers.combination import ArgMax, Axpy, Eltwise, Reduction

RNG = np.random.default_rng(0)


def run(layer: Layer, *arrays: np.ndarray) -> np.ndarray:
    declared = layer.shapes([Blob(array.shape) for array in arrays])[0]
    (top,), _ = layer.forward({}, {}, [jnp.asarray(array) for array in arrays], Context())
    assert (top.shape, str(top.dtype)) == (declared.shape, declared.dtype)
    return np.asarray(top)


def test_eltwise_operations() -> None:
    a, b, c = RNG.normal(size=(3, 2, 4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(run(Eltwise(), a, b, c), a + b + c, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(run(Eltwise(coeff=(1.0, -0.5, 2.0)), a, b, c), a - b / 2 + 2 * c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(Eltwise(operation="PROD"), a, b, c), a * b * c, rtol=1e-6)
    np.testing.assert_array_equal(run(Eltwise(operation="MAX"), a, b, c), np.maximum(np.maximum(a, b), c))


def test_equal_maxima_send_the_gradient_to_the_second_input() -> None:
    layer = Eltwise(operation="MAX")

    def total(*inputs: jax.Array) -> jax.Array:
        return jnp.sum(layer.forward({}, {}, inputs, Context())[0][0])

    same = jnp.ones(4)
    assert [float(g.sum()) for g in jax.grad(total, (0, 1))(same, same)] == [0, 4]
    assert [float(g.sum()) for g in jax.grad(total, (0, 1, 2))(same, same, same)] == [0, 4, 0]


def test_eltwise_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="equal shapes, got 2x4x5x3 and 2x4x5x4"):
        Eltwise().shapes([Blob((2, 4, 5, 3)), Blob((2, 4, 5, 4))])
    with pytest.raises(ShapeError, match="coeff has 3 numbers for 2 inputs"):
        Eltwise(coeff=(1.0, 2.0, 3.0)).shapes([Blob((2, 3)), Blob((2, 3))])
    with pytest.raises(ValidationError, match="coeff belongs to a SUM"):
        Eltwise(operation="MAX", coeff=(1.0, 2.0))


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
@pytest.mark.parametrize(
    ("operation", "reduce"),
    [
        ("SUM", np.sum),
        ("MEAN", np.mean),
        ("ASUM", lambda x, axis: np.sum(np.abs(x), axis)),
        ("SUMSQ", lambda x, axis: np.sum(x**2, axis)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reduction_takes_all_axes_from_one_on(operation: str, reduce: object, axis: int) -> None:
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    layer = Reduction.model_validate({"operation": operation, "axis": axis, "coeff": 0.5})
    expected = 0.5 * reduce(x.astype(np.float64), axis=tuple(range(axis % 4, 4)))  # type: ignore[operator]
    np.testing.assert_allclose(run(layer, x.transpose(0, 2, 3, 1)), expected, rtol=1e-5, atol=1e-5)


def test_the_highest_of_equal_positions_wins() -> None:
    x = np.array([[1.0, 3.0, 3.0, 2.0]], np.float32).reshape(1, 1, 1, 4)
    assert run(ArgMax(axis=1), x).ravel().tolist() == [2]
    assert run(ArgMax(axis=1, top_k=4), x).ravel().tolist() == [2, 1, 3, 0]
    assert run(ArgMax(axis=1, top_k=2, out_max_val=True), x).ravel().tolist() == [3.0, 3.0]


def test_without_axis_positions_count_channels_first() -> None:
    x = np.zeros((2, 4, 5, 3), np.float32)
    x[0, 1, 2, 2] = 1
    x[1, 3, 4, 0] = 1
    positions = run(ArgMax(), x)
    assert positions.shape == (2, 1, 1, 1)
    assert positions.ravel().tolist() == [2 * 20 + 1 * 5 + 2, 3 * 5 + 4]
    both = run(ArgMax(out_max_val=True), x)
    assert both[0].ravel().tolist() == [47.0, 1.0]


def test_top_k_is_at_most_what_there_is() -> None:
    with pytest.raises(ShapeError, match="top_k is 4 but only 3 elements"):
        ArgMax(axis=1, top_k=4).shapes([Blob((2, 4, 5, 3))])


def test_a_factor_a_channel_scales_before_the_sum() -> None:
    x, term = RNG.normal(size=(2, 2, 4, 5, 3)).astype(np.float32)
    factor = RNG.normal(size=(2, 3)).astype(np.float32)
    expected = factor[:, None, None] * x + term
    np.testing.assert_allclose(run(Axpy(), factor, x, term), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(Axpy(), factor.reshape(2, 1, 1, 3), x, term), expected, rtol=1e-5, atol=1e-6)
    vectors = x[:, 0, 0], term[:, 0, 0]
    np.testing.assert_allclose(run(Axpy(), factor, *vectors), factor * vectors[0] + vectors[1], rtol=1e-5, atol=1e-6)


def test_factors_that_fit_no_channel() -> None:
    x = Blob((2, 4, 5, 3))
    with pytest.raises(ShapeError, match="needs one factor a sample and channel of 2x4x5x3, got 2x4x5x3"):
        Axpy().shapes([x, x, x])
    with pytest.raises(ShapeError, match="needs equal shapes to add"):
        Axpy().shapes([Blob((2, 3)), x, Blob((2, 4, 4, 3))])
