"""Where the maximum of each pooling window lies.

A value wins against another by being greater, so of equal values the first in row-major order stays; a NaN loses
against every number. A window of NaNs alone gives NaN, and names its first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segspec.ops.schedule import make_once
from segspec.ops.window import PoolWindow

Found = tuple[jax.Array, jax.Array]

LARGE = 64
"""Positions in a window from which on programs with one slice a position would grow too long."""


class Stretch(NamedTuple):
    """Windows along one axis that hold equally many pixels.

    Attributes:
        start: first pixel.
        windows: how many there are.
        inside: pixels in each; fewer than the kernel in the last window of a plane that does not divide.
    """

    start: int
    windows: int
    inside: int


def stretches(window: PoolWindow, axis: int) -> list[Stretch]:
    """The whole tiles along an axis, then the one that the border cuts, if there is one."""
    size, kernel = window.input[axis], window.kernel[axis]
    whole, rest = divmod(size, kernel)
    found = [Stretch(0, whole, kernel)] if whole else []
    return [*found, Stretch(whole * kernel, 1, rest)] if rest else found


def tile_slices(plane: jax.Array, window: PoolWindow, rows: Stretch, columns: Stretch) -> list[tuple[int, jax.Array]]:
    """For each position that lies inside these tiles: its local index, and its value in all of them."""
    down, across = window.kernel

    def strided(stretch: Stretch, offset: int, step: int) -> slice:
        first = stretch.start + offset
        return slice(first, first + (stretch.windows - 1) * step + 1, step)

    return [
        (i * across + j, plane[:, strided(rows, i, down), strided(columns, j, across)])
        for i in range(rows.inside)
        for j in range(columns.inside)
    ]


def search_tiles(x: jax.Array, window: PoolWindow, dtype: np.dtype[Any]) -> Found:
    """Maxima and local indices of windows that tile the plane.

    Windows that the border cuts are searched apart: padding the plane instead would copy it.
    """
    search = _search_large if window.positions > LARGE else _search_slices
    found = [
        [search(x, window, rows, columns, dtype) for columns in stretches(window, 1)] for rows in stretches(window, 0)
    ]
    maximum, index = (join([[planes[which] for planes in row] for row in found]) for which in (0, 1))
    return maximum, make_once(index, window.positions)


def join(blocks: Sequence[Sequence[jax.Array]]) -> jax.Array:
    """One plane from blocks of rows and columns."""
    rows = [row[0] if len(row) == 1 else jnp.concatenate(row, 2) for row in blocks]
    return rows[0] if len(rows) == 1 else jnp.concatenate(rows, 1)


def _search_slices(x: jax.Array, window: PoolWindow, rows: Stretch, columns: Stretch, dtype: np.dtype[Any]) -> Found:
    players = [(values, jnp.full((), position, dtype)) for position, values in tile_slices(x, window, rows, columns)]
    maximum, index = _greatest(players)
    index = jnp.broadcast_to(index, maximum.shape)
    return maximum, jnp.where(jnp.isnan(maximum), jnp.zeros((), dtype), index)


def _greatest(players: list[Found]) -> Found:
    """A tournament between neighbours: half as many rounds of comparisons in a row as a walk would take."""
    while len(players) > 1:
        pairs = zip(players[::2], players[1::2], strict=False)
        rest = players[-1:] if len(players) % 2 else []
        players = [_winner(left, right) for left, right in pairs] + rest
    return players[0]


def _winner(left: Found, right: Found) -> Found:
    later = (right[0] > left[0]) | jnp.isnan(left[0])
    return jnp.where(later, right[0], left[0]), jnp.where(later, right[1], left[1])


def _search_large(x: jax.Array, window: PoolWindow, rows: Stretch, columns: Stretch, dtype: np.dtype[Any]) -> Found:
    """The same for tiles too large to slice: each is laid out in a row, and the row is searched."""
    batch, channels = x.shape[0], x.shape[3]
    height, width = rows.windows * rows.inside, columns.windows * columns.inside
    block = lax.dynamic_slice(x, (0, rows.start, columns.start, 0), (batch, height, width, channels))
    split = block.reshape(batch, rows.windows, rows.inside, columns.windows, columns.inside, channels)
    tiles = split.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows.windows, columns.windows, -1, channels)
    number = jnp.isnan(tiles)
    place = jnp.argmax(jnp.where(number, -jnp.inf, tiles), axis=3)
    # Where nothing exceeds minus infinity the first number counts, not a NaN before it.
    bottomless = jnp.take_along_axis(number, place[:, :, :, None], axis=3)[:, :, :, 0]
    place = jnp.where(bottomless, jnp.argmin(number, axis=3), place)
    maximum = jnp.take_along_axis(tiles, place[:, :, :, None], axis=3)[:, :, :, 0]
    return maximum, (place // columns.inside * window.kernel[1] + place % columns.inside).astype(dtype)


def search_windows(x: jax.Array, window: PoolWindow, dtype: np.dtype[Any]) -> Found:
    """Maxima and local indices of any windows, position by position.

    Padding is NaN, which never wins, not even against minus infinity. It is a loop, not one expression, so that XLA
    keeps the indices instead of searching again wherever they are used.
    """
    padded = pad_plane(x, window, jnp.nan)
    shape = (x.shape[0], *window.output, x.shape[3])

    def challenge(position: jax.Array, found: Found) -> Found:
        best, index = found
        values = window_values(padded, window, position)
        wins = (values > best) | (jnp.isnan(best) & ~jnp.isnan(values))
        return jnp.where(wins, values, best), jnp.where(wins, position.astype(dtype), index)

    start = jnp.full(shape, jnp.nan, x.dtype), jnp.broadcast_to(_first_inside(window).astype(dtype), shape)
    maximum, index = lax.fori_loop(0, window.positions, challenge, start)
    return maximum, index


def window_values(padded: jax.Array, window: PoolWindow, position: jax.Array | int) -> jax.Array:
    """The values at one position of all windows of a padded plane: (batch, *output, channels)."""
    rows, columns = ((window.output[axis] - 1) * window.stride[axis] + 1 for axis in (0, 1))
    start = (0, position // window.kernel[1], position % window.kernel[1], 0)
    reached = lax.dynamic_slice(padded, start, (padded.shape[0], rows, columns, padded.shape[3]))
    return reached[:, :: window.stride[0], :: window.stride[1]]


def pad_plane(plane: jax.Array, window: PoolWindow, fill: float) -> jax.Array:
    """The plane with a border of `fill`, so that every window lies inside; what no window reaches is cut off."""
    config = [(0, 0, 0)]
    for axis in (0, 1):
        reach = (window.output[axis] - 1) * window.stride[axis] + window.kernel[axis]
        config.append((window.pad[axis], reach - window.input[axis] - window.pad[axis], 0))
    return lax.pad(plane, jnp.asarray(fill, plane.dtype), (*config, (0, 0, 0)))


def _first_inside(window: PoolWindow) -> np.ndarray:
    """(1, *output, 1): the local index of each window's first pixel inside the image."""
    first = [np.maximum(0, window.pad[axis] - np.arange(window.output[axis]) * window.stride[axis]) for axis in (0, 1)]
    return np.asarray(first[0][:, None] * window.kernel[1] + first[1][None, :], np.int32)[None, :, :, None]
