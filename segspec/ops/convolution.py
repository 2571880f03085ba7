"""Convolution and its transpose over (batch, height, width, channels)."""

from __future__ import annotations

import jax
from jax import lax

from segspec.ops.window import Pair

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(x: jax.Array, weight: jax.Array, *, stride: Pair, pad: Pair, dilation: Pair, group: int) -> jax.Array:
    """Slides filters over an image (a cross-correlation: filters are not flipped).

    Args:
        x: (batch, height, width, in).
        weight: (kernel height, kernel width, in / group, out).
        stride, pad, dilation: (height, width) in pixels.
        group: channel groups; each sees its own share of the input.

    Returns:
        (batch, out height, out width, out), see `convolution_output`.
    """
    return lax.conv_general_dilated(
        x,
        weight,
        stride,
        [(pad[0], pad[0]), (pad[1], pad[1])],
        rhs_dilation=dilation,
        dimension_numbers=_LAYOUT,
        feature_group_count=group,
    )


def deconvolve(
    x: jax.Array,
    weight: jax.Array,
    *,
    stride: Pair,
    pad: Pair,
    dilation: Pair,
    group: int,
    restored: Pair = (0, 0),
) -> jax.Array:
    """The transpose of `convolve`: each input value adds its filter, times the value, to the output.

    Args:
        x: (batch, height, width, in).
        weight: (kernel height, kernel width, out / group, in): the weight of the convolution this transposes.
        stride, pad, dilation: (height, width) in pixels; a stride of 2 doubles the size.
        group: channel groups.
        restored: rows and columns at the lower and right border that `pad` does not cut off after all.

    Returns:
        (batch, out height, out width, out), see `deconvolution_output`; larger by what is restored.
    """
    reach = [dilation[axis] * (weight.shape[axis] - 1) for axis in (0, 1)]
    return lax.conv_general_dilated(
        x,
        _transpose_filters(weight, group),
        (1, 1),
        [(reach[axis] - pad[axis], reach[axis] - pad[axis] + restored[axis]) for axis in (0, 1)],
        lhs_dilation=stride,
        rhs_dilation=dilation,
        dimension_numbers=_LAYOUT,
        feature_group_count=group,
    )


def _transpose_filters(weight: jax.Array, group: int) -> jax.Array:
    """Filters turned by 180 degrees, inputs and outputs exchanged within each group."""
    height, width, out_share, inputs = weight.shape
    grouped = weight[::-1, ::-1].reshape(height, width, out_share, group, inputs // group)
    return grouped.transpose(0, 1, 4, 3, 2).reshape(height, width, inputs // group, group * out_share)
