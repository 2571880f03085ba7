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

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segspec.ops.native import Geometry
from segspec.ops.window import Pair

_BAND_BYTES = 4 << 20
"""Of what stands side by side: it stays in a processor's caches. More where the gradient, to which each band adds, is
larger than that."""


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
    stride, dilation, groups = geometry.stride, geometry.dilation, geometry.groups
    batch, height, width = cotangent.shape[:3]
    summed = jnp.promote_types(x.dtype, jnp.float32)
    if x.size == 0 or cotangent.size == 0:
        return jnp.zeros((*kernel, x.shape[3] // groups, cotangent.shape[3]), summed)
    taps = [divmod(dilation[0] * row, stride[0]) for row in range(kernel[0])]
    shifts, phases = (sorted(set(places)) for places in zip(*taps, strict=True))
    reach = shifts[-1]

    rows = batch * (height + reach)
    sides = (len(phases) * kernel[1] * x.shape[3], len(shifts) * cotangent.shape[3])
    beside = rows * width * sum(sides) * x.dtype.itemsize
    most = max(_BAND_BYTES, math.prod(sides) // groups * summed.itemsize)
    size = -(-rows // min(rows, -(-beside // most)))
    bands = -(-rows // size)

    reads = stride[1] * (width - 1) + 1
    span = reads + dilation[1] * (kernel[1] - 1)
    # Transposed before it is padded, since XLA would write it out twice else.
    tall = _pad(x.transpose(3, 0, 1, 2), 2, geometry.pad, ((height + reach) * stride[0], span))
    tall = _pad(tall.reshape(x.shape[3], rows, stride[0], span), 1, (0,), (bands * size,))
    tall = tall.transpose(2, 0, 1, 3)[np.array(phases)]
    shifted = _pad(cotangent, 1, (0,), (height + reach,)).reshape(rows, width, cotangent.shape[3])
    shifted = _pad(shifted, 0, (reach,), (reach + bands * size,))

    def multiply(first: jax.Array | int) -> jax.Array:
        """The product of a band: (groups, phases x columns, in / groups, shifts, out / groups)."""
        # All phases at once: XLA takes a minute to compile the 2048 slices that a kernel of 64 with a stride of 32 has
        # phases and columns.
        seen = (*tall.shape[:2], size, reads)
        left = [
            lax.dynamic_slice(tall, (0, 0, first, dilation[1] * column), seen)[..., :: stride[1]]
            for column in range(kernel[1])
        ]
        right = [lax.dynamic_slice_in_dim(shifted, first + reach - shift, size) for shift in shifts]
        product: jax.Array = lax.dot_general(
            jnp.stack(left, 1).reshape(len(phases) * kernel[1], groups, -1, size, width),
            jnp.stack(right, 2).reshape(size, width, len(right), groups, -1),
            (((3, 4), (0, 1)), ((1,), (3,))),
            preferred_element_type=summed,
        )
        return product

    made = jax.eval_shape(multiply, 0)
    nothing = jnp.zeros(made.shape, made.dtype)
    total = lax.fori_loop(0, bands, lambda band, total: total + multiply(band * size), nothing)
    found = total.reshape(groups, len(phases), kernel[1], -1, len(shifts), cotangent.shape[3] // groups)
    found = found.transpose(1, 4, 2, 3, 0, 5).reshape(len(phases), len(shifts), *found.shape[2:4], -1)
    return jnp.stack([found[phases.index(phase), shifts.index(shift)] for shift, phase in taps])


def _pad(x: jax.Array, axis: int, before: tuple[int, ...], size: tuple[int, ...]) -> jax.Array:
    """From an axis on: so many zeros before, and behind as many as make the size; where these are below 0, cut."""
    ends = [(0, 0, 0)] * x.ndim
    for place, (first, whole) in enumerate(zip(before, size, strict=True), axis):
        ends[place] = (first, whole - first - x.shape[place], 0)
    return lax.pad(x, jnp.zeros((), x.dtype), ends)
