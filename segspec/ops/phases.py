"""The transposed convolution as convolutions: one for each place of an output between two inputs."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from segspec.ops import native
from segspec.ops.native import Geometry
from segspec.ops.window import Pair


@dataclass(frozen=True)
class _Phase:
    """Along one axis, the outputs r, r + stride, r + 2 stride ...: a convolution by every stride-th tap.

    Output y receives input a through tap i where a stride + i dilation - pad = y. With y = u stride + r only the taps
    i = first + t stride meet whole a, which are then u + shift - t.

    Attributes:
        first: of its taps.
        taps: how many there are, perhaps none.
        shift: see above.
    """

    first: int
    taps: int
    shift: int

    @property
    def pad(self) -> int:
        """Of the convolution with the taps turned."""
        return self.taps - 1 - self.shift


def _phase(place: int, stride: int, pad: int, kernel: int) -> _Phase:
    first = (place + pad) % stride
    taps = len(range(first, kernel, stride))
    return _Phase(first, taps, (place + pad - first) // stride)


def deconvolve_phases(x: jax.Array, weight: jax.Array, geometry: Geometry, size: Pair) -> jax.Array:
    """The transpose of a convolution by its image, through our own kernels.

    Args:
        x: (batch, height, width, in).
        weight: (kernel height, kernel width, out / groups, in), float32.
        geometry: of the convolution that this transposes; its stride or its dilation is 1.
        size: (height, width) of the result.

    Returns:
        (batch, *size, out) of x's type.
    """
    channels = weight.shape[2] * geometry.groups
    if geometry.stride == (1, 1):
        above, left = (geometry.dilation[axis] * (weight.shape[axis] - 1) - geometry.pad[axis] for axis in (0, 1))
        turned = Geometry((1, 1), (above, left), geometry.dilation, geometry.groups)
        return native.convolve(x, weight, turned, (x.shape[0], *size, channels), turned=True)
    down, across = (
        [
            _phase(place, geometry.stride[axis], geometry.pad[axis], weight.shape[axis])
            for place in range(geometry.stride[axis])
        ]
        for axis in (0, 1)
    )
    height, width = (-(-size[axis] // geometry.stride[axis]) for axis in (0, 1))
    rows = [jnp.stack([_one(x, weight, geometry, (i, j), (height, width)) for j in across], 3) for i in down]
    grid = jnp.stack(rows, 2)
    whole = grid.reshape(x.shape[0], height * geometry.stride[0], width * geometry.stride[1], channels)
    return whole[:, : size[0], : size[1]]


def _one(x: jax.Array, weight: jax.Array, geometry: Geometry, phases: tuple[_Phase, _Phase], size: Pair) -> jax.Array:
    """The outputs of a phase along either axis; where the image ends, one more than there are."""
    output = (x.shape[0], *size, weight.shape[2] * geometry.groups)
    down, across = phases
    if down.taps == 0 or across.taps == 0:
        return jnp.zeros(output, x.dtype)
    taps = weight[down.first :: geometry.stride[0], across.first :: geometry.stride[1]]
    turned = Geometry((1, 1), (down.pad, across.pad), (1, 1), geometry.groups)
    return native.convolve(x, taps, turned, output, turned=True)
