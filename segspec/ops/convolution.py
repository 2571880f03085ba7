"""Convolution and its transpose over (batch, height, width, channels).

On a processor both go through kernels of our own, see `segspec.ops.native`, where these are there and know the shapes;
everywhere else through XLA. The gradients of either are convolutions again: with g the gradient of the result of a
convolution, that of its input is the transposed convolution of g, and that of its weight sums products of x and g. For
the weight a processor without a kernel has `segspec.ops.taps`. There is no forward mode, as kernels have none.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from segspec.ops import native
from segspec.ops.channels import sum_channels
from segspec.ops.native import Geometry
from segspec.ops.phases import deconvolve_phases
from segspec.ops.taps import multiply_taps
from segspec.ops.window import Pair, convolution_output, deconvolution_output

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_FEWEST_CHANNELS = 8
"""Of a group: with fewer, most of the lanes of a register would be empty."""
_FEWEST_PIXELS = 64
"""Of a batch: for fewer, packing many weights takes longer than multiplying by them."""
_FEW_WEIGHTS = 2**16


def convolve(
    x: jax.Array,
    weight: jax.Array,
    *,
    stride: Pair,
    pad: Pair,
    dilation: Pair,
    group: int,
    size: Pair | None = None,
) -> jax.Array:
    """Slides filters over an image (a cross-correlation: filters are not flipped).

    Args:
        x: (batch, height, width, in).
        weight: (kernel height, kernel width, in / group, out), of x's type or float32.
        stride, pad, dilation: (height, width) in pixels.
        group: channel groups; each sees its own share of the input.
        size: (height, width) of the output, with as many zeros behind the image as its last windows need; left out,
            the image has `pad` on every side.

    Returns:
        (batch, out height, out width, out) of x's type, see `convolution_output`.
    """
    if size is None:
        height, width = (
            convolution_output(x.shape[1 + axis], weight.shape[axis], stride[axis], pad[axis], dilation[axis])
            for axis in (0, 1)
        )
        size = (height, width)
    geometry = Geometry(stride, pad, dilation, group)
    return _convolve(x, weight, geometry, size)


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
        (batch, out height, out width, out) of x's type, see `deconvolution_output`; larger by what is restored.
    """
    height, width = (
        deconvolution_output(x.shape[1 + axis], weight.shape[axis], stride[axis], pad[axis], dilation[axis])
        + restored[axis]
        for axis in (0, 1)
    )
    return _deconvolve(x, weight, Geometry(stride, pad, dilation, group), (height, width))


@jax.custom_vjp
def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """y (..., channels) plus a number a channel, in y's type.

    The gradient of the bias is summed in float32; as the transpose of a sum in bfloat16 it would be rounded, and XLA
    would take ten times as long for it on a CPU.
    """
    return y + bias.astype(y.dtype)


def _add_bias_forward(y: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    return add_bias(y, bias), bias


def _add_bias_backward(bias: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    return cotangent, sum_channels(cotangent).astype(bias.dtype)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def _is_native(x: jax.Array, y: tuple[int, ...], weight: jax.Array | jax.ShapeDtypeStruct, geometry: Geometry) -> bool:
    """Whether our own kernels are there and do well: channels that fill a group, pixels to reuse the weights for.

    Where a kernel covers more than the image, XLA exchanges the two and takes a hundred times as long.

    Args:
        x: what is convolved, or its gradient, or the other way round.
        y: shape of what comes of it.
        weight: the filters, or what their gradient will be.
        geometry: of the windows.
    """
    shares = (x.shape[3] // geometry.groups, y[3] // geometry.groups)
    pixels = x.shape[0] * min(x.shape[1] * x.shape[2], y[1] * y[2])
    exceeds = any(weight.shape[axis] > min(x.shape[1 + axis], y[1 + axis]) for axis in (0, 1))
    return (
        weight.dtype == jnp.float32
        and native.computes(x.dtype)
        and (geometry.groups == 1 or min(shares) >= _FEWEST_CHANNELS)
        and (pixels >= _FEWEST_PIXELS or weight.size <= _FEW_WEIGHTS or exceeds)
        and (geometry.dilation == (1, 1) or geometry.stride == (1, 1))
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, weight: jax.Array, geometry: Geometry, size: Pair) -> jax.Array:
    """A convolution whose output has a given size, whatever lies beyond the last window."""
    output = (x.shape[0], *size, weight.shape[3])

    def xla(x: jax.Array, weight: jax.Array) -> jax.Array:
        return _xla_convolve(x, weight, geometry, size)

    def own(x: jax.Array, weight: jax.Array) -> jax.Array:
        return native.convolve(x, weight, geometry, output)

    if not _is_native(x, output, weight, geometry):
        return xla(x, weight)
    found: jax.Array = lax.platform_dependent(x, weight, cpu=own, default=xla)
    return found


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _deconvolve(x: jax.Array, weight: jax.Array, geometry: Geometry, size: Pair) -> jax.Array:
    """The transpose of `_convolve` by its image: x is of the output's size, the result of the image's."""

    def xla(x: jax.Array, weight: jax.Array) -> jax.Array:
        return _xla_deconvolve(x, weight, geometry, size)

    def own(x: jax.Array, weight: jax.Array) -> jax.Array:
        return deconvolve_phases(x, weight, geometry, size)

    output = (x.shape[0], *size, weight.shape[2] * geometry.groups)
    if not _is_native(x, output, weight, geometry):
        return xla(x, weight)
    found: jax.Array = lax.platform_dependent(x, weight, cpu=own, default=xla)
    return found


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _weigh(x: jax.Array, cotangent: jax.Array, geometry: Geometry, kernel: Pair) -> jax.Array:
    """The transpose of `_convolve` by its weight, float32 or better."""
    shape = (*kernel, x.shape[3] // geometry.groups, cotangent.shape[3])

    def xla(x: jax.Array, cotangent: jax.Array) -> jax.Array:
        size = (cotangent.shape[1], cotangent.shape[2])
        weight = jax.ShapeDtypeStruct(shape, jnp.promote_types(x.dtype, jnp.float32))
        gradient: jax.Array
        (gradient,) = jax.linear_transpose(lambda w: _xla_convolve(x, w, geometry, size), weight)(cotangent)
        return gradient

    def own(x: jax.Array, cotangent: jax.Array) -> jax.Array:
        if _is_native(x, cotangent.shape, jax.ShapeDtypeStruct(shape, jnp.float32), geometry):
            return native.weight_gradient(x, cotangent, geometry, shape)
        return multiply_taps(x, cotangent, geometry, kernel)

    found: jax.Array = lax.platform_dependent(x, cotangent, cpu=own, default=xla)
    return found


Residuals = tuple[jax.Array, jax.Array]


def _convolve_forward(x: jax.Array, weight: jax.Array, geometry: Geometry, size: Pair) -> tuple[jax.Array, Residuals]:
    return _convolve(x, weight, geometry, size), (x, weight)


def _convolve_backward(geometry: Geometry, size: Pair, residuals: Residuals, cotangent: jax.Array) -> Residuals:
    x, weight = residuals
    gradient = _weigh(x, cotangent, geometry, _kernel(weight))
    return _deconvolve(cotangent, weight, geometry, _size(x)), gradient.astype(weight.dtype)


def _deconvolve_forward(x: jax.Array, weight: jax.Array, geometry: Geometry, size: Pair) -> tuple[jax.Array, Residuals]:
    return _deconvolve(x, weight, geometry, size), (x, weight)


def _deconvolve_backward(geometry: Geometry, size: Pair, residuals: Residuals, cotangent: jax.Array) -> Residuals:
    x, weight = residuals
    gradient = _weigh(cotangent, x, geometry, _kernel(weight))
    return _convolve(cotangent, weight, geometry, _size(x)), gradient.astype(weight.dtype)


def _weigh_forward(x: jax.Array, cotangent: jax.Array, geometry: Geometry, kernel: Pair) -> tuple[jax.Array, Residuals]:
    return _weigh(x, cotangent, geometry, kernel), (x, cotangent)


def _weigh_backward(geometry: Geometry, kernel: Pair, residuals: Residuals, weight: jax.Array) -> Residuals:
    x, cotangent = residuals
    return _deconvolve(cotangent, weight, geometry, _size(x)), _convolve(x, weight, geometry, _size(cotangent))


_convolve.defvjp(_convolve_forward, _convolve_backward)
_deconvolve.defvjp(_deconvolve_forward, _deconvolve_backward)
_weigh.defvjp(_weigh_forward, _weigh_backward)


def _size(x: jax.Array) -> Pair:
    return (x.shape[1], x.shape[2])


def _kernel(weight: jax.Array) -> Pair:
    return (weight.shape[0], weight.shape[1])


def _xla_convolve(x: jax.Array, weight: jax.Array, geometry: Geometry, size: Pair) -> jax.Array:
    padding = []
    for axis in (0, 1):
        reach = geometry.dilation[axis] * (weight.shape[axis] - 1) + 1
        seen = geometry.stride[axis] * (size[axis] - 1) + reach
        padding.append((geometry.pad[axis], seen - geometry.pad[axis] - x.shape[1 + axis]))
    return lax.conv_general_dilated(
        x,
        weight.astype(x.dtype),
        geometry.stride,
        padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_LAYOUT,
        feature_group_count=geometry.groups,
    )


def _xla_deconvolve(x: jax.Array, weight: jax.Array, geometry: Geometry, size: Pair) -> jax.Array:
    padding = []
    for axis in (0, 1):
        before = geometry.dilation[axis] * (weight.shape[axis] - 1) - geometry.pad[axis]
        spread = max(geometry.stride[axis] * (x.shape[1 + axis] - 1) + 1, 0)
        padding.append((before, size[axis] + geometry.pad[axis] - spread))
    return lax.conv_general_dilated(
        x,
        _transpose_filters(weight, geometry.groups).astype(x.dtype),
        (1, 1),
        padding,
        lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_LAYOUT,
        feature_group_count=geometry.groups,
    )


def _transpose_filters(weight: jax.Array, group: int) -> jax.Array:
    """Filters turned by 180 degrees, inputs and outputs exchanged within each group."""
    height, width, out_share, inputs = weight.shape
    grouped = weight[::-1, ::-1].reshape(height, width, out_share, group, inputs // group)
    return grouped.transpose(0, 1, 4, 3, 2).reshape(height, width, inputs // group, group * out_share)
