from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.ops import channels
from segspec.ops.channels import batch_moments, sum_channels
from segspec.ops.normalize import batch_normalize

Array = np.ndarray[Any, Any]
SHAPES = [(2, 4, 5, 3), (1, 40, 50, 33), (6, 3), (2, 3, 7), (2, 3, 4, 2, 2), (1, 1, 1, 5)]


@pytest.fixture(params=["native", "xla"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our own kernels where they are there, and XLA."""
    if request.param == "xla":
        monkeypatch.setattr(channels, "is_native", lambda x: False)
    elif not channels.is_native(jnp.ones((1, 1))):
        pytest.skip("there are no kernels here")
    return


def normal(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def channels_last(x: Array) -> Array:
    """(numbers, channels) in float64."""
    return np.moveaxis(x, -1 if x.ndim == 4 else 1, -1).reshape(-1, x.shape[-1 if x.ndim == 4 else 1]).astype(float)


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("shape", SHAPES)
def test_moments_of_each_channel(shape: tuple[int, ...]) -> None:
    x = normal(shape) * 3 + 1
    mean, variance = batch_moments(jnp.asarray(x))
    np.testing.assert_allclose(mean, channels_last(x).mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, channels_last(x).var(0), rtol=1e-5, atol=1e-10)


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_each_channel(shape: tuple[int, ...]) -> None:
    x = np.abs(normal(shape))
    np.testing.assert_allclose(sum_channels(jnp.asarray(x)), channels_last(x).sum(0), rtol=1e-5)


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("offset", [1e3, 1e4, -1e5])
def test_large_means_leave_the_variance_alone(offset: float) -> None:
    x = normal((2, 30, 40, 4)) + np.float32(offset)
    np.testing.assert_allclose(batch_moments(jnp.asarray(x))[1], channels_last(x).var(0), rtol=1e-4)


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("kind", [jnp.float32, jnp.bfloat16])
def test_a_constant_channel_has_no_variance_below_0(kind: Any) -> None:
    values = np.random.default_rng(0).uniform(1e5, 2e5, 512).astype(np.float32)
    x = jnp.broadcast_to(jnp.asarray(values, kind), (1, 32, 32, 512))
    for part in jnp.split(x, 16, axis=3):  # few channels, so that many pixels are summed in one go
        y, (_, variance) = batch_normalize(part, jnp.ones(32), jnp.zeros(32), 1e-9)
        assert (variance >= 0).all()
        assert jnp.isfinite(y.astype(jnp.float32)).all()


@pytest.mark.usefixtures("route")
def test_bfloat16_is_measured_in_float32() -> None:
    x = jnp.asarray(normal((2, 20, 20, 2)) + 10, jnp.bfloat16)
    exact = channels_last(np.asarray(x.astype(jnp.float32)))
    mean, variance = batch_moments(x)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, exact.var(0), rtol=1e-4)
    np.testing.assert_allclose(sum_channels(x), exact.sum(0), rtol=1e-5)


def test_the_sum_of_nothing_is_0() -> None:
    assert not np.asarray(sum_channels(jnp.zeros((0, 3, 4, 2)))).any()


@pytest.mark.parametrize("kind", [jnp.float32, jnp.bfloat16])
def test_both_routes_have_the_same_gradients(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weights = (jnp.asarray(normal((2, 9, 11, 18), seed), kind) for seed in (0, 1))
    if not channels.is_native(x):
        pytest.skip("there are no kernels here")

    def gradients() -> list[Array]:
        def loss(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
            return jnp.sum((batch_normalize(x, scale, shift, 1e-5)[0] * weights).astype(jnp.float32))

        found = jax.grad(loss, (0, 1, 2))(x, jnp.linspace(-1, 2, 18), jnp.ones(18))
        return [np.asarray(each.astype(jnp.float32)) for each in found]

    ours = gradients()
    monkeypatch.setattr("segspec.ops.normalize.is_native", lambda x: False)
    monkeypatch.setattr(channels, "is_native", lambda x: False)
    for here, there in zip(ours, gradients(), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-2 if kind == jnp.bfloat16 else 1e-4, atol=1e-4)
