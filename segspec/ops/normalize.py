"""Normalisation: over batches, over neighbouring channels, over a sample."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from segspec.ops import native
from segspec.ops.channels import Moments, batch_moments, channel_axes, is_native, per_channel
from segspec.ops.pooling import average_pool
from segspec.ops.schedule import wait_for
from segspec.ops.window import PoolWindow


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_normalize(x: jax.Array, scale: jax.Array, shift: jax.Array, eps: float) -> tuple[jax.Array, Moments]:
    """scale (x - mean) / sqrt(variance + eps) + shift, with the batch's own mean and biased variance.

    The backward pass keeps x and two vectors, and normalises x anew when dy has come: with g = scale dy and
    n = (x - mean) / sqrt(variance + eps), dx = (g - mean(g) - n mean(g n)) / sqrt(variance + eps),
    dscale = sum(dy n), dshift = sum(dy).

    Args:
        x: (batch, height, width, channels), or (batch, channels, ...).
        scale, shift: (channels,), float32.
        eps: added to the variance.

    Returns:
        The normalised x in its type, and (mean, variance), which pass no gradient.
    """
    return _batch_normalize_forward(x, scale, shift, eps)[0]


_Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def _batch_normalize_forward(
    x: jax.Array, scale: jax.Array, shift: jax.Array, eps: float
) -> tuple[tuple[jax.Array, Moments], _Residuals]:
    mean, variance = batch_moments(x)
    inverse = lax.rsqrt(variance + eps)
    return (normalize_with(x, mean, inverse, scale, shift), (mean, variance)), (x, mean, inverse, scale)


def _batch_normalize_backward(
    eps: float, residuals: _Residuals, cotangents: tuple[jax.Array, Moments]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, *used = residuals
    dy = cotangents[0]
    arguments = (wait_for(x, dy), dy, *used)
    if not is_native(x):
        return _normalize_backward(*arguments)
    gradients: tuple[jax.Array, jax.Array, jax.Array] = lax.platform_dependent(
        *arguments, cpu=native.normalize_backward, default=_normalize_backward
    )
    return gradients


def _normalize_backward(
    x: jax.Array, dy: jax.Array, mean: jax.Array, inverse: jax.Array, scale: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of `batch_normalize` by x, scale and shift."""
    channel, axes = channel_axes(x)
    dy = dy.astype(jnp.float32)
    normal = (x.astype(jnp.float32) - per_channel(mean, x)) * per_channel(inverse, x)
    dshift = jnp.sum(dy, axes)
    dscale = jnp.sum(dy * normal, axes)
    count = x.size // x.shape[channel]
    centred = dy - per_channel(dshift / count, x) - normal * per_channel(dscale / count, x)
    return (centred * per_channel(scale * inverse, x)).astype(x.dtype), dscale, dshift


batch_normalize.defvjp(_batch_normalize_forward, _batch_normalize_backward)


def normalize_with(x: jax.Array, mean: jax.Array, inverse: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """scale (x - mean) inverse + shift, a value a channel each, computed in float32 and returned in x's type."""
    factor = scale * inverse
    centred = x.astype(jnp.float32) - per_channel(mean, x)
    return (centred * per_channel(factor, x) + per_channel(shift, x)).astype(x.dtype)


def local_response_across(x: jax.Array, size: int, alpha: float, beta: float, k: float) -> jax.Array:
    """x S^-beta with S = k + alpha / size * (sum of x^2 over `size` neighbouring channels); beyond the ends, zeros."""
    channel, _ = channel_axes(x)
    values = x.astype(jnp.float32)
    reach = (size - 1) // 2
    window = tuple(size if axis == channel else 1 for axis in range(x.ndim))
    padding = [(reach, size - 1 - reach) if axis == channel else (0, 0) for axis in range(x.ndim)]
    squares: jax.Array = lax.reduce_window(jnp.square(values), 0.0, lax.add, window, (1,) * x.ndim, padding)
    return (values * (k + alpha / size * squares) ** -beta).astype(x.dtype)


def local_response_within(x: jax.Array, size: int, alpha: float, beta: float) -> jax.Array:
    """x (1 + alpha m)^-beta with m the mean of x^2 over a `size` by `size` window of the same channel."""
    values = x.astype(jnp.float32)
    reach = (size - 1) // 2
    window = PoolWindow.over((x.shape[1], x.shape[2]), (size, size), (1, 1), (reach, reach))
    return (values * (1 + alpha * average_pool(jnp.square(values), window)) ** -beta).astype(x.dtype)


def mean_variance_normalize(x: jax.Array, *, variance: bool, across_channels: bool, eps: float) -> jax.Array:
    """(x - mean) / (sqrt(var) + eps) over each sample, or over each channel of it; without the division on request.

    The gradient is Caffe's, which takes sqrt(var) + eps for the deviation: exact as eps goes to 0, and finite where var
    is 0.
    """
    values = x.astype(jnp.float32)
    channel, _ = channel_axes(x)
    axes = tuple(axis for axis in range(1, x.ndim) if across_channels or axis != channel)
    centred = values - jnp.mean(values, axes, keepdims=True)
    if variance:
        variances = jnp.mean(jnp.square(centred), axes, keepdims=True)
        rest = jax.lax.stop_gradient(jnp.square(jnp.sqrt(variances) + eps) - variances)
        centred = centred / jnp.sqrt(variances + rest)
    return centred.astype(x.dtype)


def normalize_length(x: jax.Array, *, across_spatial: bool, eps: float) -> jax.Array:
    """x / sqrt(sum x^2 + eps) in float32, the sum over the channels of each pixel, or over all of a sample."""
    values = x.astype(jnp.float32)
    channel, _ = channel_axes(x)
    axes = tuple(range(1, x.ndim)) if across_spatial else (channel,)
    return values * lax.rsqrt(jnp.sum(jnp.square(values), axes, keepdims=True) + eps)
