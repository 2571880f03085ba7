"""Values put at the places that local indices name, and read from there, without a scatter.

Results are therefore the same on every backend and in every run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segspec.ops.pool_search import LARGE, join, pad_plane, stretches, tile_slices, window_values
from segspec.ops.window import Pair, PoolWindow

Distance = tuple[jax.Array | int, jax.Array | int]

MANY = 16
"""Windows that can hold one pixel from which on a loop is run over them: one long expression compiles too slowly."""


def place(values: jax.Array, index: jax.Array, window: PoolWindow, *, add: bool) -> jax.Array:
    """Places each value at its window's index; all other places are 0.

    The plane is cut into blocks of one stride. Block b lies in the windows b, b - 1, ... that began before it and still
    reach it, so for each of these distances value and index are repeated over the block and compared with the position
    the block has in that window: one pass for windows that do not overlap, one loop over the output.

    Args:
        values: (batch, *window.output, channels).
        index: local indices of the same shape.
        window: the windows.
        add: whether values that meet are added; otherwise the one of the later window in row-major order stays.

    Returns:
        (batch, *window.input, channels).
    """
    blocks = _Blocks.of(window)
    if not window.tiles:
        values, index = blocks.pad(values), blocks.pad(index)

    def put(number: jax.Array | int, plane: jax.Array) -> jax.Array:
        distance = divmod(number, blocks.distances[1])
        hit = blocks.repeat(index, distance) == blocks.positions(distance).astype(index.dtype)
        if not window.tiles:
            hit &= blocks.inside(distance)
        moved = blocks.repeat(values, distance)
        return plane + jnp.where(hit, moved, 0) if add else jnp.where(hit, moved, plane)

    passes = math.prod(blocks.distances)
    shape = (values.shape[0], blocks.grid[0], window.stride[0], blocks.grid[1], window.stride[1], values.shape[3])
    plane = jnp.zeros(shape, values.dtype)
    if passes > MANY:
        plane = lax.fori_loop(0, passes, lambda number, plane: put(passes - 1 - number, plane), plane)
    else:
        for number in reversed(range(passes)):
            plane = put(number, plane)
    return blocks.join(plane)


class _Blocks(NamedTuple):
    """The padded plane cut into blocks of one stride, which start where windows start.

    Attributes:
        window: the windows.
        grid: blocks along the height and the width.
        distances: how many windows along each axis can hold one pixel: the block's own, the one before it, ...
    """

    window: PoolWindow
    grid: Pair
    distances: Pair

    @classmethod
    def of(cls, window: PoolWindow) -> _Blocks:
        rows, columns = (-(-(window.input[axis] + window.pad[axis]) // window.stride[axis]) for axis in (0, 1))
        down, across = (-(-window.kernel[axis] // window.stride[axis]) for axis in (0, 1))
        return cls(window, (rows, columns), (down, across))

    def pad(self, values: jax.Array) -> jax.Array:
        """One value a window, with a border so that every block has a value for every distance."""
        border = [(self.distances[axis] - 1, self.grid[axis] - self.window.output[axis], 0) for axis in (0, 1)]
        return lax.pad(values, jnp.zeros((), values.dtype), ((0, 0, 0), *border, (0, 0, 0)))

    def repeat(self, padded: jax.Array, distance: Distance) -> jax.Array:
        """(batch, rows, 1, columns, 1, channels): for each block the value of the window so far before it."""
        start = (0, self.distances[0] - 1 - distance[0], self.distances[1] - 1 - distance[1], 0)
        moved = lax.dynamic_slice(padded, start, (padded.shape[0], *self.grid, padded.shape[3]))
        return moved[:, :, None, :, None, :]

    def positions(self, distance: Distance) -> jax.Array:
        """(1, 1, stride, 1, stride, 1): the local index of each pixel of a block in the window so far before it."""
        (down, across), width = self.window.stride, self.window.kernel[1]
        row, column = (lax.broadcasted_iota(jnp.int32, (1, 1, down, 1, across, 1), axis) for axis in (2, 4))
        return (row + distance[0] * down) * width + column + distance[1] * across

    def inside(self, distance: Distance) -> jax.Array:
        """(1, rows, stride, columns, stride, 1): whether that window exists and reaches the pixel."""
        rows, columns = (self._inside_along(axis, distance[axis]) for axis in (0, 1))
        return (rows[:, :, None, None] & columns[None, None, :, :])[None, ..., None]

    def _inside_along(self, axis: int, distance: jax.Array | int) -> jax.Array:
        stride = self.window.stride[axis]
        number = jnp.arange(self.grid[axis]) - distance
        exists = (number >= 0) & (number < self.window.output[axis])
        reaches = jnp.arange(stride) + distance * stride < self.window.kernel[axis]
        return exists[:, None] & reaches[None, :]

    def join(self, blocks: jax.Array) -> jax.Array:
        """The plane that was pooled, without its padding."""
        plane = blocks.reshape(blocks.shape[0], self.grid[0] * blocks.shape[2], -1, blocks.shape[5])
        (top, left), (height, width) = self.window.pad, self.window.input
        return plane[:, top : top + height, left : left + width]


def take(plane: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    """The value at each window's index; see `segspec.ops.argmax_pool.pick`."""
    if window.positions > LARGE:
        return _take_gathered(plane, index, window)
    return _take_tiles(plane, index, window) if window.tiles else _take_windows(plane, index, window)


def _take_tiles(plane: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    blocks: list[list[jax.Array]] = []
    row = 0
    for rows in stretches(window, 0):
        blocks.append([])
        column = 0
        for columns in stretches(window, 1):
            own = index[:, row : row + rows.windows, column : column + columns.windows]
            blocks[-1].append(_select(tile_slices(plane, window, rows, columns), own))
            column += columns.windows
        row += rows.windows
    return join(blocks)


def _select(choices: list[tuple[int, jax.Array]], index: jax.Array) -> jax.Array:
    """The value whose local index is meant, found by halving: two rounds for a 2x2 window."""
    if len(choices) == 1:
        return choices[0][1]
    half = (len(choices) + 1) // 2
    first = _select(choices[:half], index)
    return jnp.where(index < choices[half][0], first, _select(choices[half:], index))


def _take_windows(plane: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    padded = pad_plane(plane, window, 0.0)
    choices = [(position, window_values(padded, window, position)) for position in range(window.positions)]
    return _select(choices, index)


def _take_gathered(plane: jax.Array, index: jax.Array, window: PoolWindow) -> jax.Array:
    batch, channels = plane.shape[0], plane.shape[3]
    places = flat_index(index, window).reshape(batch, -1, channels)
    return jnp.take_along_axis(plane.reshape(batch, -1, channels), places, axis=1).reshape(index.shape)


def flat_index(index: jax.Array, window: PoolWindow) -> jax.Array:
    """Row-major pixel numbers in the input plane; see `segspec.ops.argmax_pool.to_flat`."""
    local = index.astype(jnp.int32)
    rows = np.arange(window.output[0], dtype=np.int32)[:, None, None] * window.stride[0] - window.pad[0]
    columns = np.arange(window.output[1], dtype=np.int32)[None, :, None] * window.stride[1] - window.pad[1]
    row, column = local // window.kernel[1] + rows, local % window.kernel[1] + columns
    return row * window.input[1] + column
