"""Max pooling that remembers where its maxima lay, and the unpooling that places values back there.

The place of a maximum is a *local index*: its row-major position inside its window, one byte for windows of up to 256
positions. Nothing here scatters: values are placed by comparing each position with the index, so results are the same
on every backend and in every run. The backward pass of the pooling is the unpooling (adding where windows overlap), and
the backward pass of the unpooling is `pick`, the gather at the same places.

Two forms exist. Windows that tile the plane (kernel equal to stride, no padding) are handled by reshapes and strided
slices; the general form walks over the positions of a window and is slower.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segspec.ops.window import Pair, PoolWindow


def index_dtype(window: PoolWindow) -> jnp.dtype:
    """The type of local indices: one byte where it suffices."""
    return jnp.dtype(jnp.uint8 if window.positions <= 256 else jnp.int32)


def argmax_pool(x: jax.Array, window: PoolWindow) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window and where it lay.

    The first maximum in row-major order wins. Windows are clipped to the image. As in Caffe, a value wins by being
    greater, so a NaN is passed over unless it comes first.

    Args:
        x: (batch, height, width, channels), real.
        window: the windows; `window.input` is (height, width).

    Returns:
        maximum: (batch, *window.output, channels), of the type of x.
        index: local indices of the same shape, see `index_dtype`.
    """
    return _argmax_pool(x, window)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _argmax_pool(x: jax.Array, window: PoolWindow) -> tuple[jax.Array, jax.Array]:
    return _argmax_tiles(x, window) if window.tiles else _argmax_windows(x, window)


def _argmax_pool_forward(x: jax.Array, window: PoolWindow) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    maximum, index = _argmax_pool(x, window)
    return (maximum, index), index


def _argmax_pool_backward(
    window: PoolWindow, index: jax.Array, cotangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array]:
    return (_place_sum(cotangents[0], index, window),)


_argmax_pool.defvjp(_argmax_pool_forward, _argmax_pool_backward)


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
    return _unpool(values, index, window)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _unpool(values: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    return _place_tiles(values, index, window) if window.tiles else _place_last(values, index, window)


def _unpool_forward(values: jax.Array, index: jax.Array, window: PoolWindow) -> tuple[jax.Array, jax.Array]:
    return _unpool(values, index, window), index


def _unpool_backward(window: PoolWindow, index: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, np.ndarray]:
    return pick(cotangent, index, window), np.zeros(index.shape, jax.dtypes.float0)


_unpool.defvjp(_unpool_forward, _unpool_backward)


def pick(plane: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    """The value at each window's index.

    Args:
        plane: (batch, *window.input, channels).
        index: (batch, *window.output, channels) local indices.
        window: the windows.

    Returns:
        (batch, *window.output, channels).
    """
    zero = jnp.zeros((), plane.dtype)
    slices = _slices(plane, window, zero)
    if window.positions == 4:
        first, second, third, fourth = slices
        top = jnp.where(index == 0, first, second)
        return jnp.where(index < 2, top, jnp.where(index == 2, third, fourth))
    picked = jnp.zeros(index.shape, plane.dtype)
    for position, values in enumerate(slices):
        picked = jnp.where(index == position, values, picked)
    return picked


def to_flat(index: jax.Array, window: PoolWindow) -> jax.Array:
    """Caffe's mask: for each window the row-major number, row * width + column, of its maximum in the input plane.

    Args:
        index: (batch, *window.output, channels) local indices.
        window: the windows.

    Returns:
        int32 of the same shape.
    """
    local = index.astype(jnp.int32)
    rows = np.arange(window.output[0])[:, None, None] * window.stride[0] - window.pad[0]
    columns = np.arange(window.output[1])[None, :, None] * window.stride[1] - window.pad[1]
    row, column = local // window.kernel[1] + rows, local % window.kernel[1] + columns
    return row * window.input[1] + column


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
    places = flat.astype(jnp.int32).reshape(batch, height * width, channels)
    planes = size[0] * size[1]
    return jnp.where((places >= 0) & (places < planes), places, planes)


def _unpool_flat_forward(values: jax.Array, flat: jax.Array, size: Pair) -> tuple[jax.Array, jax.Array]:
    return unpool_flat(values, flat, size), flat


def _unpool_flat_backward(size: Pair, flat: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array | np.ndarray]:
    batch, _, _, channels = cotangent.shape
    planes = jnp.pad(cotangent.reshape(batch, -1, channels), ((0, 0), (0, 1), (0, 0)))
    picked = jnp.take_along_axis(planes, _flat_places(flat, size), axis=1).reshape(flat.shape)
    if jnp.issubdtype(flat.dtype, jnp.floating):
        return picked, jnp.zeros_like(flat)
    return picked, np.zeros(flat.shape, jax.dtypes.float0)


unpool_flat.defvjp(_unpool_flat_forward, _unpool_flat_backward)


def _padding(window: PoolWindow) -> list[tuple[int, int]]:
    """Rows and columns to put around the plane so that every window lies inside; the far side may be negative."""
    return [
        (pad, (count - 1) * stride + kernel - size - pad)
        for size, kernel, stride, pad, count in zip(
            window.input, window.kernel, window.stride, window.pad, window.output, strict=True
        )
    ]


def _slices(x: jax.Array, window: PoolWindow, fill: jax.Array) -> list[jax.Array]:
    """For each position of a window, the values at that position in all windows: (batch, *output, channels) each."""
    (top, bottom), (left, right) = _padding(window)
    padded = lax.pad(x, fill, ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))
    rows, columns = window.output
    down, across = window.stride
    return [
        padded[:, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * across + 1 : across]
        for i in range(window.kernel[0])
        for j in range(window.kernel[1])
    ]


def _lowest(x: jax.Array) -> jax.Array:
    return jnp.array(-jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min, x.dtype)


def _argmax_tiles(x: jax.Array, window: PoolWindow) -> tuple[jax.Array, jax.Array]:
    """A tournament between neighbouring positions; position 0 always lies inside, so padding never wins."""
    dtype = index_dtype(window)
    players = [
        (values, jnp.full((), position, dtype)) for position, values in enumerate(_slices(x, window, _lowest(x)))
    ]
    while len(players) > 1:
        pairs = list(zip(players[::2], players[1::2], strict=False))
        rest = players[-1:] if len(players) % 2 else []
        players = [_winner(left, right) for left, right in pairs] + rest
    maximum, index = players[0]
    return maximum, jnp.broadcast_to(index, maximum.shape)


def _winner(left: tuple[jax.Array, jax.Array], right: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The greater value with its index; the left one, which comes first, where they are equal."""
    later = right[0] > left[0]
    return jnp.where(later, right[0], left[0]), jnp.where(later, right[1], left[1])


def _argmax_windows(x: jax.Array, window: PoolWindow) -> tuple[jax.Array, jax.Array]:
    """Position by position; a window that holds nothing above minus infinity names its first pixel."""
    inside = _inside(window)
    first = np.argmax(inside, axis=0)[None, :, :, None]
    shape = (x.shape[0], *window.output, x.shape[3])
    index = jnp.broadcast_to(jnp.asarray(first, index_dtype(window)), shape)
    maximum = jnp.full(shape, _lowest(x), x.dtype)
    for position, values in enumerate(_slices(x, window, _lowest(x))):
        better = (values > maximum) & inside[position][None, :, :, None]
        maximum = jnp.where(better, values, maximum)
        index = jnp.where(better, jnp.asarray(position, index.dtype), index)
    return maximum, index


def _inside(window: PoolWindow) -> np.ndarray:
    """(positions, *output): whether each position of each window lies in the image."""
    along = []
    for size, kernel, stride, pad, count in zip(
        window.input, window.kernel, window.stride, window.pad, window.output, strict=True
    ):
        places = np.arange(kernel)[:, None] + np.arange(count)[None, :] * stride - pad
        along.append((places >= 0) & (places < size))
    rows, columns = along
    both = rows[:, None, :, None] & columns[None, :, None, :]
    return np.asarray(both.reshape(window.positions, *window.output))


def _place_tiles(values: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    """One fused loop over the output: value and index are repeated over their tile and compared with the position."""
    batch, rows, columns, channels = values.shape
    kernel_height, kernel_width = window.kernel
    tile = (1, 1, kernel_height, 1, kernel_width, 1)
    position = kernel_width * lax.broadcasted_iota(index.dtype, tile, 2) + lax.broadcasted_iota(index.dtype, tile, 4)
    hit = index[:, :, None, :, None, :] == position
    placed = jnp.where(hit, values[:, :, None, :, None, :], jnp.zeros((), values.dtype))
    plane = placed.reshape(batch, rows * kernel_height, columns * kernel_width, channels)
    return plane[:, : window.input[0], : window.input[1]]


def _spread(values: jax.Array, window: PoolWindow, position: int) -> jax.Array:
    """A plane of zeros with each window's value at one position of that window."""
    offset = divmod(position, window.kernel[1])
    config = [(0, 0, 0)]
    for axis in (0, 1):
        start = offset[axis] - window.pad[axis]
        end = start + (window.output[axis] - 1) * window.stride[axis] + 1
        config.append((start, window.input[axis] - end, window.stride[axis] - 1))
    return lax.pad(values, jnp.zeros((), values.dtype), (*config, (0, 0, 0)))


def _place_sum(values: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    """Places values at their indices, adding where windows overlap: the gradient of the pooling."""
    if window.tiles:
        return _place_tiles(values, index, window)
    zero = jnp.zeros((), values.dtype)
    plane = jnp.zeros((values.shape[0], *window.input, values.shape[3]), values.dtype)
    for position in range(window.positions):
        plane = plane + _spread(jnp.where(index == position, values, zero), window, position)
    return plane


def _place_last(values: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    """Places values at their indices, later windows over earlier ones.

    A pixel lies at smaller positions of later windows, so positions are walked from the last to the first.
    """
    plane = jnp.zeros((values.shape[0], *window.input, values.shape[3]), values.dtype)
    for position in reversed(range(window.positions)):
        hit = index == position
        where = _spread(hit.astype(jnp.uint8), window, position)
        plane = jnp.where(where > 0, _spread(values, window, position), plane)
    return plane
