"""Max pooling that remembers where its maxima lay, and the unpooling that places values back there.

The place of a maximum is a *local index*: its row-major position inside its window, one byte for windows of up to 256
positions. The backward pass of the pooling is the unpooling (adding where windows overlap), and the backward pass of
the unpooling is `pick`, the reading of the same places. Windows that tile the plane are the fast case; all others work.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from segspec.ops.pool_place import flat_index, place, take
from segspec.ops.pool_search import search_tiles, search_windows
from segspec.ops.window import Pair, PoolWindow


def index_dtype(window: PoolWindow) -> np.dtype[Any]:
    """The type of local indices: one byte where it suffices."""
    return np.dtype(np.uint8 if window.positions <= 256 else np.int32)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def argmax_pool(x: jax.Array, window: PoolWindow) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window and where it lay.

    The first maximum in row-major order wins. Windows are clipped to the image. As in Caffe, a value wins by being
    greater, so a NaN loses against every number; a window of NaNs alone gives NaN and names its first pixel, where
    Caffe would hide it behind the least number there is.

    Args:
        x: (batch, height, width, channels), real numbers.
        window: the windows; `window.input` is (height, width).

    Returns:
        maximum: (batch, *window.output, channels), of the type of x.
        index: local indices of the same shape, see `index_dtype`.
    """
    search = search_tiles if window.tiles else search_windows
    return search(x, window, index_dtype(window))


def _argmax_pool_forward(x: jax.Array, window: PoolWindow) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    maximum, index = argmax_pool(x, window)
    return (maximum, index), index


def _argmax_pool_backward(
    window: PoolWindow, index: jax.Array, cotangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array]:
    return (place(cotangents[0], index, window, add=True),)


argmax_pool.defvjp(_argmax_pool_forward, _argmax_pool_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def unpool(values: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    """Places each value where its window's maximum lay; all other places are 0.

    Where windows overlap and two values meet, the one of the later window in row-major order stays, as in Caffe's
    Upsample; in the backward pass both receive the gradient of the place.

    Args:
        values: (batch, *window.output, channels).
        index: local indices of the same shape.
        window: the windows of the pooling that gave the index.

    Returns:
        (batch, *window.input, channels).
    """
    return place(values, index, window, add=False)


def _unpool_forward(values: jax.Array, index: jax.Array, window: PoolWindow) -> tuple[jax.Array, jax.Array]:
    return unpool(values, index, window), index


def _unpool_backward(window: PoolWindow, index: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, np.ndarray]:
    return pick(cotangent, index, window), np.zeros(index.shape, jax.dtypes.float0)


unpool.defvjp(_unpool_forward, _unpool_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def pick(plane: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    """The value at each window's index.

    Args:
        plane: (batch, *window.input, channels).
        index: (batch, *window.output, channels) local indices.
        window: the windows.

    Returns:
        (batch, *window.output, channels).
    """
    return take(plane, index, window)


def _pick_forward(plane: jax.Array, index: jax.Array, window: PoolWindow) -> tuple[jax.Array, jax.Array]:
    return take(plane, index, window), index


def _pick_backward(window: PoolWindow, index: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, np.ndarray]:
    return place(cotangent, index, window, add=True), np.zeros(index.shape, jax.dtypes.float0)


pick.defvjp(_pick_forward, _pick_backward)


def to_flat(index: jax.Array, window: PoolWindow) -> jax.Array:
    """Caffe's mask: for each window the row-major number, row * width + column, of its maximum in the input plane.

    Args:
        index: (batch, *window.output, channels) local indices.
        window: the windows.

    Returns:
        int32 of the same shape.
    """
    return flat_index(index, window)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def unpool_flat(values: jax.Array, flat: jax.Array, size: Pair) -> jax.Array:
    """Unpooling by Caffe's flat indices, for masks whose windows are not known.

    y[flat[i]] = values[i] in each plane; the last of equal indices wins, an index outside the plane is dropped.

    Args:
        values: (batch, height, width, channels).
        flat: indices of the same shape, whole numbers of any type.
        size: (height, width) of the plane to fill, in whose rows the indices count.

    Returns:
        (batch, *size, channels).
    """
    batch, height, width, channels = values.shape
    places = _flat_places(flat, size)
    order = jnp.broadcast_to(jnp.arange(height * width, dtype=jnp.int32)[None, :, None], places.shape)
    images, features = np.arange(batch)[:, None, None], np.arange(channels)[None, None, :]
    empty = jnp.full((batch, size[0] * size[1], channels), -1, jnp.int32)
    last = empty.at[images, places, features].max(order, mode="drop")
    found = jnp.take_along_axis(values.reshape(batch, height * width, channels), jnp.maximum(last, 0), axis=1)
    return jnp.where(last >= 0, found, jnp.zeros((), values.dtype)).reshape(batch, *size, channels)


def _flat_places(flat: jax.Array, size: Pair) -> jax.Array:
    """(batch, windows, channels) int32; what lies outside the plane points just behind it."""
    batch, height, width, channels = flat.shape
    pixels = size[0] * size[1]
    numbers = flat if jnp.issubdtype(flat.dtype, jnp.floating) else flat.astype(jnp.int32)
    inside = (numbers >= 0) & (numbers < pixels)
    return jnp.where(inside, numbers, pixels).astype(jnp.int32).reshape(batch, height * width, channels)


def _unpool_flat_forward(values: jax.Array, flat: jax.Array, size: Pair) -> tuple[jax.Array, jax.Array]:
    return unpool_flat(values, flat, size), flat


def _unpool_flat_backward(
    size: Pair, flat: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array | np.ndarray]:
    batch, _, _, channels = cotangent.shape
    planes = jnp.pad(cotangent.reshape(batch, -1, channels), ((0, 0), (0, 1), (0, 0)))
    picked = jnp.take_along_axis(planes, _flat_places(flat, size), axis=1).reshape(flat.shape)
    if jnp.issubdtype(flat.dtype, jnp.floating):
        return picked, jnp.zeros_like(flat)
    return picked, np.zeros(flat.shape, jax.dtypes.float0)


unpool_flat.defvjp(_unpool_flat_forward, _unpool_flat_backward)
