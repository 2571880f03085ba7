from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.ops.normalize import (
    batch_normalize,
    local_response_across,
    local_response_within,
    mean_variance_normalize,
    normalize_with,
)

Array = np.ndarray[Any, Any]
EPS = 1e-5


def normal(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("offset", [1e3, 1e4, -1e5])
def test_large_means_do_no_harm(offset: float) -> None:
    x = normal((2, 30, 40, 4)) + np.float32(offset)
    y = batch_normalize(jnp.asarray(x), jnp.ones(4), jnp.zeros(4), 1e-9)[0]
    np.testing.assert_allclose(jnp.std(y, (0, 1, 2)), np.ones(4), rtol=1e-4)


def test_bfloat16_stays_what_it_is() -> None:
    x = jnp.asarray(normal((2, 20, 20, 2)) + 10, jnp.bfloat16)
    y, _ = batch_normalize(x, jnp.ones(2), jnp.zeros(2), EPS)
    assert y.dtype == jnp.bfloat16
    dx, dscale, _ = jax.grad(lambda *a: jnp.sum(batch_normalize(*a, EPS)[0].astype(jnp.float32) ** 2), (0, 1, 2))(
        x, jnp.ones(2), jnp.zeros(2)
    )
    assert dx.dtype == jnp.bfloat16 and dscale.dtype == jnp.float32


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (6, 3)])
def test_gradient_is_the_one_of_the_formula(shape: tuple[int, ...]) -> None:
    """The hand-written backward pass against automatic differentiation of the same formula."""
    x, scale, shift = (jnp.asarray(normal(size, seed)) for seed, size in enumerate((shape, (3,), (3,))))
    weights = jnp.asarray(normal(shape, 7))

    def plain(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
        axes = tuple(range(x.ndim - 1))
        mean, variance = jnp.mean(x, axes), jnp.var(x, axes)
        return jnp.sum(normalize_with(x, mean, jax.lax.rsqrt(variance + EPS), scale, shift) * weights)

    def ours(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
        return jnp.sum(batch_normalize(x, scale, shift, EPS)[0] * weights)

    for here, there in zip(*(jax.grad(f, (0, 1, 2))(x, scale, shift) for f in (ours, plain)), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5)


def test_the_moments_pass_no_gradient() -> None:
    def mean(x: jax.Array) -> jax.Array:
        return jnp.sum(batch_normalize(x, jnp.ones(3), jnp.zeros(3), EPS)[1][0])

    assert not jax.grad(mean)(jnp.asarray(normal((2, 4, 5, 3)))).any()


def across(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    reach, channels = (size - 1) // 2, x.shape[3]
    energy = np.stack([(x[..., max(0, c - reach) : c + reach + 1] ** 2).sum(-1) for c in range(channels)], -1)
    return x * (k + alpha / size * energy) ** -beta


def within(x: Array, size: int, alpha: float, beta: float) -> Array:
    reach = (size - 1) // 2
    padded = np.pad(x**2, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    return x * (1 + alpha * windows.mean((-1, -2))) ** -beta


@settings(max_examples=15)
@given(size=st.sampled_from([1, 3, 5, 9]), channels=st.integers(1, 7), k=st.sampled_from([1.0, 2.0]))
def test_local_response_across_channels(size: int, channels: int, k: float) -> None:
    x = normal((1, 2, 3, channels)) * 3
    np.testing.assert_allclose(
        local_response_across(jnp.asarray(x), size, 0.7, 0.75, k), across(x, size, 0.7, 0.75, k), rtol=1e-5
    )


@settings(max_examples=15)
@given(size=st.sampled_from([1, 3, 5, 9]), height=st.integers(1, 6), width=st.integers(1, 6))
def test_local_response_within_a_channel(size: int, height: int, width: int) -> None:
    x = normal((1, height, width, 2)) * 3
    np.testing.assert_allclose(
        local_response_within(jnp.asarray(x), size, 0.7, 0.5), within(x, size, 0.7, 0.5), rtol=1e-5
    )


@pytest.mark.parametrize("across_channels", [False, True])
@pytest.mark.parametrize("variance", [False, True])
def test_mean_and_variance_of_each_sample(variance: bool, across_channels: bool) -> None:
    x = normal((2, 4, 5, 3)) * 4 + 100
    axes = (1, 2, 3) if across_channels else (1, 2)
    expected = x - x.mean(axes, keepdims=True, dtype=float)
    if variance:
        expected = expected / (x.std(axes, keepdims=True, dtype=float) + 0.1)
    y = mean_variance_normalize(jnp.asarray(x), variance=variance, across_channels=across_channels, eps=0.1)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_a_flat_sample_has_a_finite_gradient() -> None:
    def total(x: jax.Array) -> jax.Array:
        y = mean_variance_normalize(x, variance=True, across_channels=False, eps=1e-9)
        return jnp.sum(y * jnp.arange(6.0).reshape(1, 2, 3, 1))

    assert jnp.isfinite(jax.grad(total)(jnp.ones((1, 2, 3, 1)))).all()


@pytest.mark.oracle
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_batch_normalisation_agrees_with_torch_forward_and_backward(offset: float) -> None:
    torch = pytest.importorskip("torch")
    arrays = normal((3, 5, 6, 4)) + np.float32(offset), normal((4,), 1), normal((4,), 2)
    dy = normal((3, 5, 6, 4), 3)
    there = [torch.tensor(arrays[0].transpose(0, 3, 1, 2), requires_grad=True)]
    there += [torch.tensor(array, requires_grad=True) for array in arrays[1:]]
    theirs = torch.nn.functional.batch_norm(there[0], None, None, there[1], there[2], training=True, eps=EPS)
    theirs.backward(torch.tensor(dy.transpose(0, 3, 1, 2)))
    ours, pull = jax.vjp(lambda *a: batch_normalize(*a, EPS)[0], *map(jnp.asarray, arrays))
    np.testing.assert_allclose(ours, theirs.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
    dx, *rest = pull(jnp.asarray(dy))
    np.testing.assert_allclose(dx, there[0].grad.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
    for here, parameter in zip(rest, there[1:], strict=True):
        np.testing.assert_allclose(here, parameter.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.oracle
@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_agrees_with_torch_forward_and_backward(size: int) -> None:
    """Both divide alpha by the number of channels in a window, those beyond the ends counted."""
    torch = pytest.importorskip("torch")
    x = normal((2, 3, 4, 6)) * 2
    there = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    theirs = torch.nn.functional.local_response_norm(there, size, alpha=0.5, beta=0.75, k=1.5)
    theirs.backward(theirs.detach())
    ours, pull = jax.vjp(lambda x: local_response_across(x, size, 0.5, 0.75, 1.5), jnp.asarray(x))
    np.testing.assert_allclose(ours, theirs.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pull(ours)[0], there.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.oracle
def test_instance_normalisation_of_torch_is_mvn_with_another_eps() -> None:
    torch = pytest.importorskip("torch")
    x = normal((2, 4, 5, 3))
    theirs = torch.nn.functional.instance_norm(torch.tensor(x.transpose(0, 3, 1, 2)), eps=1e-12)
    ours = mean_variance_normalize(jnp.asarray(x), variance=True, across_channels=False, eps=1e-9)
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
