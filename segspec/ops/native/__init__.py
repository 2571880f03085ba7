"""Convolutions and sums over pixels of our own for processors: the C++ beside this file, called by XLA.

The library is built when segspec is installed, if there is a compiler; without it, or on another kind of machine,
XLA's own serve. `SEGSPEC_NATIVE=0` in the environment leaves it unused; `SEGSPEC_NATIVE=avx2`, `avx512`,
`avx512_bf16` or `amx` names the best instructions to use, if the processor has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from segspec.ops.native.library import instructions
from segspec.ops.window import Pair


@dataclass(frozen=True)
class Geometry:
    """How windows lie on an image.

    Attributes:
        stride, dilation: (height, width) in pixels.
        pad: zeros above and left, in pixels; negative to begin inside the image.
        groups: of channels.
    """

    stride: Pair
    pad: Pair
    dilation: Pair
    groups: int


def computes(dtype: jax.typing.DTypeLike) -> bool:
    """Whether there are kernels for arrays of this type here."""
    kernels = {
        np.dtype(np.float32): instructions() != "",
        np.dtype(jnp.bfloat16): instructions() in ("avx512_bf16", "amx"),
    }
    return kernels.get(np.dtype(dtype), False)


def convolve(
    x: jax.Array, weight: jax.Array, geometry: Geometry, output: tuple[int, ...], *, turned: bool = False
) -> jax.Array:
    """Slides filters over an image.

    Args:
        x: (batch, height, width, in), float32 or bfloat16.
        weight: float32 (kernel height, kernel width, in / groups, out); where `turned`, that of the convolution whose
            input gradient this is, (kernel height, kernel width, out / groups, in).
        geometry: of the windows.
        output: shape of the result.
        turned: whether to turn the filters by 180 degrees, and exchange inputs and outputs.

    Returns:
        An array of the shape `output` and of x's type.
    """
    call = _call("segspec_convolve", jax.ShapeDtypeStruct(output, x.dtype))
    found: jax.Array = call(x, weight, turned=np.bool_(turned), **_attributes(geometry))
    return found


def weight_gradient(x: jax.Array, cotangent: jax.Array, geometry: Geometry, weight: tuple[int, ...]) -> jax.Array:
    """The gradient of `convolve` by its weight.

    Args:
        x: (batch, height, width, in), float32 or bfloat16.
        cotangent: of the result, (batch, out height, out width, out), of x's type.
        geometry: of the windows.
        weight: shape of the weight.

    Returns:
        float32 of that shape.
    """
    call = _call("segspec_weight_gradient", jax.ShapeDtypeStruct(weight, jnp.float32))
    found: jax.Array = call(x, cotangent, **_attributes(geometry))
    return found


def sum_channels(x: jax.Array) -> jax.Array:
    """The sum of each channel, (channels,) and float32; x has channels last and is not empty."""
    found: jax.Array = _call("segspec_sum_channels", _per_channel(x))(x)
    return found


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of each channel, (channels,) and float32; x has channels last and is not empty."""
    mean, variance = _call("segspec_moments", (_per_channel(x), _per_channel(x)))(x)
    return mean, variance


def normalize_backward(
    x: jax.Array, cotangent: jax.Array, mean: jax.Array, inverse: jax.Array, scale: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of scale (x - mean) inverse + shift, where mean and inverse are made of x.

    Args:
        x: channels last, float32 or bfloat16, not empty.
        cotangent: of the result, as x.
        mean, inverse, scale: (channels,), float32; inverse is 1 / sqrt(variance + eps).

    Returns:
        Those by x, in its type, by scale and by shift.
    """
    shapes = (jax.ShapeDtypeStruct(x.shape, x.dtype), _per_channel(x), _per_channel(x))
    dx, dscale, dshift = _call("segspec_normalize_backward", shapes)(x, cotangent, mean, inverse, scale)
    return dx, dscale, dshift


def _per_channel(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape[-1:], jnp.float32)


def _call(name: str, results: Any) -> Callable[..., Any]:
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")


def _attributes(geometry: Geometry) -> dict[str, np.ndarray | np.int64 | np.bool_]:
    """What the library's functions are told besides arrays."""
    precision: str | None = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return {
        "stride": np.array(geometry.stride, np.int64),
        "pad": np.array(geometry.pad, np.int64),
        "dilation": np.array(geometry.dilation, np.int64),
        "groups": np.int64(geometry.groups),
        "high": np.bool_(precision == "high"),
    }
