"""The gradient of a convolution by its weight, as products of matrices: where there is no kernel of our own for it.

Tap (i, j) of the gradient is a sum over all pixels of the output: x[s r + d i, s w + d j] g[r, w], with x the padded
image, g the gradient of the output, stride s and dilation d. XLA's own way leaves all but one core idle where channels
are few, and takes hundreds of times as long where channels are in groups. A product a tap would read everything
kernel x kernel times. So x is set side by side with itself as the columns of the kernel see it, and g with itself as
the rows see it, shifted the other way; then one product holds all taps:

    x at column 0, 1, 2, a row a channel       g at row 0, 1, 2        the gradient

    +--------- pixels ---------+               +------------+         row 0    1    2
    | in                       |               |out|out|out |        +-------------+
    +--------------------------+               |   |   |   pixels    |in x out| .. | column 0
    | in, a pixel to the right |       .       |   |   |    |    =   +-------------+
    +--------------------------+               |   |   |    |        |   ..   | .. | 1
    | in, two pixels           |               +------------+        +-------------+
    +--------------------------+                                     |   ..   | .. | 2

With a stride, rows of x that are s apart belong together, a phase: row i of the kernel reads phase d i mod s, and g
shifted by d i div s rows. The images of a batch lie one above the other with so many rows of zeros between them that no
shift reaches the next. What stands side by side is made a band of rows at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segspec.ops.native import Geometry
from segspec.ops.window import Pair

_BAND_BYTES = 4 << 20
"""Of what stands side by side: it stays in a processor's caches. More where the gradient, to which each band adds, is
larger than that."""


@dataclass(frozen=True)
class _KernelRows:
    """How the rows of a kernel meet the rows of an image.

    Attributes:
        taps: of each row, by how many rows g is shifted, and the phase of x that it reads.
        shifts, phases: those that occur, in order.
    """

    taps: tuple[tuple[int, int], ...]
    shifts: tuple[int, ...]
    phases: tuple[int, ...]

    @classmethod
    def of(cls, rows: int, stride: int, dilation: int) -> _KernelRows:
        taps = tuple(divmod(dilation * row, stride) for row in range(rows))
        shifts, phases = (tuple(sorted(set(places))) for places in zip(*taps, strict=True))
        return cls(taps, shifts, phases)

    @property
    def reach(self) -> int:
        """The largest shift."""
        return self.shifts[-1]


def multiply_taps(x: jax.Array, cotangent: jax.Array, geometry: Geometry, kernel: Pair) -> jax.Array:
    """The gradient of a convolution by its weight.

    Args:
        x: (batch, height, width, in).
        cotangent: of the result, (batch, out height, out width, out), of x's type.
        geometry: of the windows.
        kernel: (height, width).

    Returns:
        (kernel height, kernel width, in / groups, out), float32 or better, summed as such.
    """
    groups, stride, dilation = geometry.groups, geometry.stride[1], geometry.dilation[1]
    batch, height, width, out = cotangent.shape
    summed = jnp.promote_types(x.dtype, jnp.float32)
    if x.size == 0 or cotangent.size == 0:
        return jnp.zeros((*kernel, x.shape[3] // groups, out), summed)
    kernel_rows = _KernelRows.of(kernel[0], geometry.stride[0], geometry.dilation[0])

    sides = len(kernel_rows.phases) * kernel[1] * x.shape[3], len(kernel_rows.shifts) * out
    rows = batch * (height + kernel_rows.reach)
    most = max(_BAND_BYTES, math.prod(sides) // groups * summed.itemsize)
    size = -(-rows // min(rows, -(-rows * width * sum(sides) * x.dtype.itemsize // most)))
    bands = -(-rows // size)
    columns = stride * (width - 1) + dilation * (kernel[1] - 1) + 1
    phases = _stack_phases(x, geometry, kernel_rows, (height, columns), bands * size)
    below = _stack_images(cotangent, kernel_rows.reach, bands * size)

    def multiply(first: jax.Array | int) -> jax.Array:
        """The product of a band: (groups, phases x columns, in / groups, shifts, out / groups)."""
        # All phases at once: XLA takes a minute to compile the 2048 slices that a kernel of 64 with a stride of 32 has
        # phases and columns.
        seen = (*phases.shape[:2], size, stride * (width - 1) + 1)
        left = [
            lax.dynamic_slice(phases, (0, 0, first, dilation * column), seen)[..., ::stride]
            for column in range(kernel[1])
        ]
        reach = kernel_rows.reach
        right = [lax.dynamic_slice_in_dim(below, first + reach - shift, size) for shift in kernel_rows.shifts]
        product: jax.Array = lax.dot_general(
            jnp.stack(left, 1).reshape(phases.shape[0] * kernel[1], groups, -1, size, width),
            jnp.stack(right, 2).reshape(size, width, len(right), groups, -1),
            (((3, 4), (0, 1)), ((1,), (3,))),
            preferred_element_type=summed,
        )
        return product

    made = jax.eval_shape(multiply, 0)
    nothing = jnp.zeros(made.shape, made.dtype)
    total = lax.fori_loop(0, bands, lambda band, total: total + multiply(band * size), nothing)
    return _order_taps(total, kernel_rows, kernel[1])


def _stack_phases(x: jax.Array, geometry: Geometry, kernel_rows: _KernelRows, read: Pair, size: int) -> jax.Array:
    """x by phase and channel, its images one above the other: (phases, in, size, columns).

    Args:
        x: images.
        geometry: of the windows.
        kernel_rows: of the kernel.
        read: rows of the output, columns of the padded image.
        size: rows of zeros are added to make so many.
    """
    batch, _, _, channels = x.shape
    rows, columns = read[0] + kernel_rows.reach, read[1]
    # Transposed before it is padded, since XLA would write it out twice else.
    images = _pad(x.transpose(3, 0, 1, 2), 2, geometry.pad, (rows * geometry.stride[0], columns))
    stacked = _pad(images.reshape(channels, batch * rows, geometry.stride[0], columns), 1, (0,), (size,))
    return stacked.transpose(2, 0, 1, 3)[np.array(kernel_rows.phases)]


def _stack_images(cotangent: jax.Array, reach: int, size: int) -> jax.Array:
    """g, its images one above the other, with `reach` rows of zeros before each: (reach + size, width, out)."""
    batch, height, width, out = cotangent.shape
    stacked = _pad(cotangent, 1, (0,), (height + reach,)).reshape(batch * (height + reach), width, out)
    return _pad(stacked, 0, (reach,), (reach + size,))


def _order_taps(total: jax.Array, rows: _KernelRows, columns: int) -> jax.Array:
    """The gradient, of (groups, phases x columns, in / groups, shifts, out / groups)."""
    groups, _, share, shifts, made = total.shape
    split = total.reshape(groups, len(rows.phases), columns, share, shifts, made).transpose(1, 4, 2, 3, 0, 5)
    found = split.reshape(len(rows.phases), shifts, columns, share, groups * made)
    return jnp.stack([found[rows.phases.index(phase), rows.shifts.index(shift)] for shift, phase in rows.taps])


def _pad(x: jax.Array, axis: int, before: tuple[int, ...], size: tuple[int, ...]) -> jax.Array:
    """From an axis on: so many zeros before, and behind as many as make the size; where these are below 0, cut."""
    ends = [(0, 0, 0)] * x.ndim
    for place, (first, whole) in enumerate(zip(before, size, strict=True), axis):
        ends[place] = (first, whole - first - x.shape[place], 0)
    return lax.pad(x, jnp.zeros((), x.dtype), ends)
