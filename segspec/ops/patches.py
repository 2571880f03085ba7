"""The windows of a convolution laid out as channels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from segspec.ops.window import Pair, convolution_output


def lay_out_windows(x: jax.Array, *, kernel: Pair, stride: Pair, pad: Pair, dilation: Pair) -> jax.Array:
    """The pixels of each window side by side, with zeros for the padding: what Caffe calls im2col.

    Args:
        x: (batch, height, width, channels).
        kernel, stride, pad, dilation: (height, width) in pixels.

    Returns:
        (batch, out height, out width, channels x kernel height x kernel width), the channel changing slowest.
    """
    padded = jnp.pad(x, ((0, 0), (pad[0], pad[0]), (pad[1], pad[1]), (0, 0)))
    height, width = (
        convolution_output(x.shape[1 + axis], kernel[axis], stride[axis], pad[axis], dilation[axis]) for axis in (0, 1)
    )
    taps = [
        _tap(padded, (row * dilation[0], column * dilation[1]), stride, (height, width))
        for row in range(kernel[0])
        for column in range(kernel[1])
    ]
    return jnp.stack(taps, axis=-1).reshape(x.shape[0], height, width, -1)


def _tap(padded: jax.Array, start: Pair, stride: Pair, size: Pair) -> jax.Array:
    """What all windows hold at one place: (batch, *size, channels)."""
    end = [start[axis] + (size[axis] - 1) * stride[axis] + 1 for axis in (0, 1)]
    limits = (padded.shape[0], end[0], end[1], padded.shape[3])
    return lax.slice(padded, (0, *start, 0), limits, (1, *stride, 1))
