"""Pooling, pooling that keeps its mask, and the unpooling that uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from jax import lax
from pydantic import Field, model_validator

from segspec.layers.base import Arrays, Blob, Context, Count, Forward, Layer, Sampling, ShapeError
from segspec.ops.argmax_pool import argmax_pool, index_dtype, to_flat, unpool, unpool_flat
from segspec.ops.cast import as_real
from segspec.ops.pooling import average_pool
from segspec.ops.window import Pair, PoolWindow
from segspec.schema.types import Margin, Reference, Size


def _check_image(x: Blob) -> None:
    if len(x.shape) != 4:
        raise ShapeError(f"needs an image (batch, height, width, channels), got {x}")


class Pooling(Layer):
    """Reduces each window of each channel to its maximum or its mean.

    Output size ceil((H + 2 pad - kernel) / stride) + 1, a last window that would start behind the image dropped; floor
    instead of ceil with round_mode FLOOR. MAX: windows are clipped to the image, and the first maximum passes the
    gradient. AVE: the sum over the image divided by the window's area in the padded image. A second output of MAX is
    the mask: where each maximum lay, as a local index. Source: Caffe, pooling_layer.cpp.
    """

    type: ClassVar[str] = "Pooling"
    short: ClassVar[str] = "pool"
    tops: ClassVar[tuple[int, int | None]] = (1, 2)
    top_names: ClassVar[tuple[str, ...]] = ("mask",)
    message: ClassVar[str] = "pooling_param"
    example: ClassVar[str] = "{pool: MAX, kernel_size: 3, stride: 2}"

    pool: Literal["MAX", "AVE", "STOCHASTIC"] = Field("MAX", description="What becomes of a window. No STOCHASTIC yet.")
    kernel_size: Size | None = Field(None, description="Height and width of a window, in pixels.")
    stride: Size = Field((1, 1), description="Step from one window to the next, in pixels.")
    pad: Margin = Field((0, 0), description="Padding on every side, in pixels; it never wins a maximum.")
    global_pooling: bool = Field(False, description="Whether one window covers the whole image, whatever its size.")
    round_mode: Literal["CEIL", "FLOOR"] = Field("CEIL", description="How a last window that does not fit counts.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.pool == "STOCHASTIC":
            raise ValueError("stochastic pooling is not supported; use MAX or AVE")
        if self.global_pooling and (self.kernel_size is not None or self.pad != (0, 0) or self.stride != (1, 1)):
            raise ValueError("global_pooling takes no kernel_size, stride or pad")
        if not self.global_pooling and self.kernel_size is None:
            raise ValueError("needs 'kernel_size' (or global_pooling: true)")
        if self.kernel_size is not None and any(self.pad[axis] >= self.kernel_size[axis] for axis in (0, 1)):
            raise ValueError("pad must be smaller than kernel_size")
        return self

    def window(self, size: Pair) -> PoolWindow:
        """The windows over a plane of this (height, width). Raises ShapeError when none fits."""
        if self.global_pooling or self.kernel_size is None:
            return PoolWindow.over(size, size, size)
        kernel = self.kernel_size
        window = PoolWindow.over(size, kernel, self.stride, self.pad, ceil=self.round_mode == "CEIL")
        if min(window.output) < 1:
            raise ShapeError(f"windows of {kernel[0]}x{kernel[1]} pixels do not fit the padded input")
        return window

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The pooled image, and the mask with its window."""
        (x,) = bottoms
        _check_image(x)
        if tops == 2 and self.pool != "MAX":
            raise ShapeError("only MAX pooling has a mask")
        window = self.window((x.shape[1], x.shape[2]))
        shape = (x.shape[0], *window.output, x.shape[3])
        pooled = Blob(shape, x.dtype if self.pool == "MAX" else "float32")
        return (pooled, Blob(shape, str(index_dtype(window)), window))[:tops]

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        (x,) = bottoms
        window = self.window((x.shape[1], x.shape[2]))
        if self.pool == "AVE":
            return (average_pool(x, window),), {}
        maximum, index = argmax_pool(as_real(x), window)
        return (maximum.astype(x.dtype), index)[: ctx.tops], {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        if self.global_pooling or self.kernel_size is None:
            return Sampling((0, 0), (Fraction(bottoms[0].shape[1]), Fraction(bottoms[0].shape[2])))
        return Sampling(self.kernel_size, (Fraction(self.stride[0]), Fraction(self.stride[1])))


class PoolingMask(Pooling):
    """MAX pooling that keeps where each maximum lay, for an Upsample that puts values back there.

    The same as Pooling with two outputs; windows of 2x2 pixels edge to edge unless told otherwise.
    Source: Badrinarayanan, Kendall, Cipolla 2017; caffe-segnet, pooling_layer.cpp.
    """

    type: ClassVar[str] = "PoolingMask"
    tops: ClassVar[tuple[int, int | None]] = (2, 2)
    example: ClassVar[str] = "{kernel_size: 2, stride: 2}"

    kernel_size: Size | None = Field((2, 2), description="Height and width of a window, in pixels.")
    stride: Size = Field((2, 2), description="Step from one window to the next, in pixels.")

    @model_validator(mode="after")
    def _is_maximum(self) -> Self:
        if self.pool != "MAX":
            raise ValueError("only MAX pooling has a mask")
        return self


class Upsample(Layer):
    """Puts each value back where the pooling found its maximum; all other places are 0.

    The output has the size of what was pooled, or upsample_h x upsample_w, or scale times the input less one row or
    column for pad_out_h or pad_out_w. Where windows overlapped and two values meet, the later one stays. Sizes other
    than the pooled one keep the meaning of Caffe's flat indices: rows are filled one after the other.
    Source: caffe-segnet, upsample_layer.cpp.
    """

    type: ClassVar[str] = "Upsample"
    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    message: ClassVar[str] = "upsample_param"
    references: ClassVar[Mapping[str, int]] = {"mask": 1}
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"scale": 2}
    example: ClassVar[str] = "{scale: 2}"

    mask: Reference | None = Field(None, description="The PoolingMask whose maxima tell where values go.")
    scale: Count | None = Field(None, description="Output height and width per input height and width.")
    upsample_h: Count | None = Field(None, description="Output height in pixels, with upsample_w.")
    upsample_w: Count | None = Field(None, description="Output width in pixels, with upsample_h.")
    pad_out_h: bool = Field(False, description="Whether the output has one row less than scale says.")
    pad_out_w: bool = Field(False, description="Whether the output has one column less than scale says.")

    @model_validator(mode="after")
    def _both_sizes(self) -> Self:
        if (self.upsample_h is None) != (self.upsample_w is None):
            raise ValueError("upsample_h and upsample_w go together: give both or neither")
        if self.scale is None and (self.pad_out_h or self.pad_out_w):
            raise ValueError("pad_out_h and pad_out_w take a row or column off what 'scale' says: give scale too")
        return self

    def size(self, x: Blob, mask: Blob) -> Pair:
        """(height, width) of the output."""
        if self.upsample_h is not None and self.upsample_w is not None:
            return (self.upsample_h, self.upsample_w)
        if self.scale is None and mask.window is not None:
            return mask.window.input
        scale = self.scale or 2
        return (scale * x.shape[1] - self.pad_out_h, scale * x.shape[2] - self.pad_out_w)

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """One output. Raises ShapeError where the mask is not of the same pooling."""
        x, mask = bottoms
        _check_image(x)
        if x.shape != mask.shape:
            raise ShapeError(f"the mask must have the shape of the input, {x}, but is {mask}")
        size = self.size(x, mask)
        if min(size) < 1:
            raise ShapeError(f"an output of {size[0]}x{size[1]} pixels is empty")
        if mask.window is not None and mask.window.input != size:
            _refuse_outside(mask.window, size)
        return (Blob((x.shape[0], *size, x.shape[3]), x.dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x, mask = bottoms
        window = ctx.inputs[1].window if len(ctx.inputs) == 2 else None
        size = self.size(Blob(x.shape), Blob(mask.shape, window=window))
        if window is None:
            return (unpool_flat(x, mask, size),), {}
        if window.input[1] != size[1]:
            return (unpool_flat(x, to_flat(mask, window), size),), {}
        plane = unpool(x, mask, window)
        rows = (0, size[0] - window.input[0], 0)
        return (lax.pad(plane, jnp.zeros((), x.dtype), ((0, 0, 0), rows, (0, 0, 0), (0, 0, 0))),), {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        x, y = bottoms[0].shape, tops[0].shape
        return Sampling((1, 1), (Fraction(1, max(1, round(y[1] / x[1]))), Fraction(1, max(1, round(y[2] / x[2])))))


def _refuse_outside(window: PoolWindow, size: Pair) -> None:
    """Flat indices of the pooled plane must lie inside the output plane."""
    if window.input[0] * window.input[1] > size[0] * size[1]:
        raise ShapeError(
            f"an output of {size[0]}x{size[1]} pixels cannot hold the maxima of the "
            f"{window.input[0]}x{window.input[1]} that were pooled; leave the size out to get that"
        )
