"""What is summed over all pixels of a batch, a number a channel.

On a processor our own kernels do this, see `segspec.ops.native`, where they are there; XLA's reductions there take
several times as long, and have their operands written out in float32 first.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from segspec.ops import native

Moments = tuple[jax.Array, jax.Array]


def channel_axes(x: jax.Array) -> tuple[int, tuple[int, ...]]:
    """The axis of the channels, and all others: last for rank 4, Caffe's axis 1 otherwise."""
    channel = x.ndim - 1 if x.ndim == 4 else min(1, x.ndim - 1)
    return channel, tuple(axis for axis in range(x.ndim) if axis != channel)


def per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """A vector of one value a channel, shaped to broadcast against x."""
    channel, _ = channel_axes(x)
    return values.reshape([-1 if axis == channel else 1 for axis in range(x.ndim)])


def is_native(x: jax.Array) -> bool:
    """Whether our own kernels know arrays like this one."""
    return native.computes(x.dtype) and channel_axes(x)[0] == x.ndim - 1 and x.size > 0


def sum_channels(x: jax.Array) -> jax.Array:
    """The sum of each channel over batch and positions, in float32. Passes no gradient."""

    def xla(x: jax.Array) -> jax.Array:
        return jnp.sum(x.astype(jnp.float32), channel_axes(x)[1])

    sums: jax.Array = lax.platform_dependent(x, cpu=native.sum_channels, default=xla) if is_native(x) else xla(x)
    return sums


def batch_moments(x: jax.Array) -> Moments:
    """Mean and biased variance of each channel over batch and positions, in float32. Pass no gradient.

    The variance is the mean of the squared deviations, which large means do not harm.
    """

    def xla(x: jax.Array) -> Moments:
        _, axes = channel_axes(x)
        values = x.astype(jnp.float32)
        mean = jnp.mean(values, axes)
        return mean, jnp.mean(jnp.square(values - per_channel(mean, x)), axes)

    moments: Moments = lax.platform_dependent(x, cpu=native.moments, default=xla) if is_native(x) else xla(x)
    return moments
