"""Pooling that draws an element of each window, and its expectation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from segspec.ops.argmax_pool import index_dtype, pick
from segspec.ops.cast import as_real
from segspec.ops.pool_search import pad_plane
from segspec.ops.pooling import sum_pool
from segspec.ops.window import PoolWindow


def sample_pool(x: jax.Array, window: PoolWindow, key: jax.Array) -> jax.Array:
    """An element of each window, drawn with the probability x_i / sum x; it alone passes the gradient.

    With u uniform in (0, 1], the first element in row-major order at which the running sum reaches u sum x. A window of
    zeros gives 0.

    Args:
        x: (batch, *window.input, channels), numbers from 0.
        window: the windows, without padding.
        key: source of randomness.

    Returns:
        (batch, *window.output, channels), of the type of x; float32 for whole numbers.
    """
    values = as_real(x)
    running = jnp.cumsum(_laid_out(values.astype(jnp.float32), window), axis=3)
    total = running[:, :, :, -1:]
    share = 1.0 - jax.random.uniform(key, total.shape)
    index = jnp.argmax(running >= share * total, axis=3)
    return pick(values, index.astype(index_dtype(window)), window)


def expected_pool(x: jax.Array, window: PoolWindow) -> jax.Array:
    """What `sample_pool` gives on average: sum x^2 / sum x of each window, 0 where the sum is not above 0."""
    values = as_real(x)
    real = values.astype(jnp.float32)
    total = sum_pool(real, window)
    positive = total > 0
    mean = jnp.where(positive, sum_pool(jnp.square(real), window), 0.0) / jnp.where(positive, total, 1.0)
    return mean.astype(values.dtype)


def _laid_out(x: jax.Array, window: PoolWindow) -> jax.Array:
    """(batch, *window.output, positions, channels): the values of each window, zeros beyond the image."""
    rows, columns = (
        np.arange(window.output[axis])[:, None] * window.stride[axis] + np.arange(window.kernel[axis])
        for axis in (0, 1)
    )
    taken = pad_plane(x, window, 0.0)[:, rows][:, :, :, columns]
    return taken.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape[0], *window.output, window.positions, x.shape[3])
