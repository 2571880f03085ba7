"""Values spread over the windows they stand for: what an average pooling does to its gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from segspec.ops.pooling import sum_pool, window_areas
from segspec.ops.window import Pair, PoolWindow


def spread_tile(values: jax.Array, window: PoolWindow) -> jax.Array:
    """Each value repeated over its window; where windows overlap, values add up, and what none reaches is 0.

    Args:
        values: (batch, *window.output, channels).
        window: the windows.

    Returns:
        (batch, *window.input, channels), of the type of the values.
    """
    batch, height, width, channels = values.shape
    reached = [_reached(window, axis) for axis in (0, 1)]
    inner = PoolWindow(window.kernel, window.stride, window.pad, (reached[0], reached[1]), (height, width))
    plane = jax.ShapeDtypeStruct((batch, *inner.input, channels), jnp.float32)
    transpose = jax.linear_transpose(lambda plane: sum_pool(plane, inner), plane)
    (spread,) = transpose(values.astype(jnp.float32))
    return _fit(spread.astype(values.dtype), window.input)


def spread_average(values: jax.Array, window: PoolWindow) -> jax.Array:
    """Each value divided evenly among the pixels of its window in the padded image; see `spread_tile`."""
    return spread_tile(values / window_areas(window)[None, :, :, None].astype(values.dtype), window)


def spread_corner(values: jax.Array, window: PoolWindow) -> jax.Array:
    """Each value at the upper left pixel of its window, moved into the image; of values that meet the last stays.

    Args:
        values: (batch, *window.output, channels).
        window: the windows.

    Returns:
        (batch, *window.input, channels), zeros elsewhere.
    """
    rows, columns = (_corners(window, axis) for axis in (0, 1))
    last_rows = {place: number for number, place in enumerate(rows)}
    last_columns = {place: number for number, place in enumerate(columns)}
    kept = values[:, list(last_rows.values())][:, :, list(last_columns.values())]
    plane = jnp.zeros((values.shape[0], *window.input, values.shape[3]), values.dtype)
    places = jnp.asarray(list(last_rows))[:, None], jnp.asarray(list(last_columns))[None, :]
    return plane.at[:, places[0], places[1]].set(kept, unique_indices=True)


def _corners(window: PoolWindow, axis: int) -> list[int]:
    starts = (number * window.stride[axis] - window.pad[axis] for number in range(window.output[axis]))
    return [max(0, min(start, window.input[axis] - 1)) for start in starts]


def _reached(window: PoolWindow, axis: int) -> int:
    """Pixels from the first on that some window may cover, no more than there are."""
    end = (window.output[axis] - 1) * window.stride[axis] + window.kernel[axis] - window.pad[axis]
    return min(end, window.input[axis])


def _fit(plane: jax.Array, size: Pair) -> jax.Array:
    """The plane with zeros below and to the right."""
    rows, columns = ((0, size[axis] - plane.shape[1 + axis], 0) for axis in (0, 1))
    return lax.pad(plane, jnp.zeros((), plane.dtype), ((0, 0, 0), rows, columns, (0, 0, 0)))
