"""The opposites of pooling: values go back where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from jax import lax
from pydantic import Field, model_validator

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, Sampling, ShapeError
from segspec.layers.pooling import check_image
from segspec.ops.argmax_pool import to_flat, unpool, unpool_flat
from segspec.ops.cast import as_real
from segspec.ops.spread import spread_average, spread_corner, spread_tile
from segspec.ops.window import Pair, PoolWindow
from segspec.schema.types import Count, Margin, Reference, Size


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
        check_image(x)
        size = self.size(x, mask)
        _check_mask(x, mask, size)
        return (Blob((x.shape[0], *size, x.shape[3]), x.dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x, mask = bottoms
        window = ctx.inputs[1].window if ctx.inputs else None
        return (_place(x, mask, window, self.size(Blob(x.shape), Blob(mask.shape, window=window))),), {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return _enlargement(bottoms[0], tops[0])


class Unpooling(Layer):
    """Spreads a pooled image out again, as DeconvNet does: the opposite of a pooling with the same windows.

    MAX: each value goes where the mask says, or to the upper left of its window without one; all other places are 0.
    AVE: each value is divided among the pixels of its window. TILE: each is repeated over its window. Where windows
    overlap, MAX keeps the later value and the others add up. The output is unpool_size, or has the size of a third
    input, or of what was pooled, or (H - 1) stride + kernel - 2 pad pixels. Its gradient is the true one, where
    DeconvNet's program divides that of TILE by the window's area.
    Source: Noh, Hong, Han 2015; DeconvNet's Caffe, unpooling_layer.cpp.
    """

    type: ClassVar[str] = "Unpooling"
    short: ClassVar[str] = "unpool"
    bottoms: ClassVar[tuple[int, int | None]] = (1, 3)
    message: ClassVar[str] = "unpooling_param"
    references: ClassVar[Mapping[str, int]] = {"mask": 1, "size_of": 0}
    example: ClassVar[str] = "{kernel_size: 2, stride: 2}"

    unpool: Literal["MAX", "AVE", "TILE"] = Field("MAX", description="What becomes of a value.")
    mask: Reference | None = Field(None, description="The PoolingMask whose maxima tell where values of MAX go.")
    kernel_size: Size = Field(description="Height and width of the windows, in pixels.")
    stride: Size = Field((1, 1), description="Step from one window to the next, in pixels.")
    pad: Margin = Field((0, 0), description="Padding of the pooling, in pixels, that is not put out.")
    unpool_size: Size | None = Field(None, description="Height and width of the output, in pixels.")
    size_of: Reference | None = Field(None, description="Layer whose height and width the output takes, with a mask.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if any(self.pad[axis] >= self.kernel_size[axis] for axis in (0, 1)):
            raise ValueError("pad must be smaller than kernel_size")
        if self.mask is not None and self.unpool != "MAX":
            raise ValueError(f"a mask belongs to MAX, not to {self.unpool}")
        if self.size_of is not None and self.mask is None:
            raise ValueError("size_of goes with a mask; write unpool_size")
        return self

    def size(self, bottoms: Sequence[Blob]) -> Pair:
        """(height, width) of the output."""
        if self.unpool_size is not None:
            return self.unpool_size
        if len(bottoms) == 3:
            return (bottoms[2].shape[1], bottoms[2].shape[2])
        window = bottoms[1].window if len(bottoms) == 2 else None
        return window.input if window is not None else self._covered(bottoms[0])

    def _covered(self, x: Blob) -> Pair:
        height, width = (
            (x.shape[1 + axis] - 1) * self.stride[axis] + self.kernel_size[axis] - 2 * self.pad[axis] for axis in (0, 1)
        )
        return (height, width)

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """One output. Raises ShapeError where the mask is not of the same pooling."""
        for image in (bottoms[0], *bottoms[2:]):
            check_image(image)
        x, size = bottoms[0], self.size(bottoms)
        if len(bottoms) > 1:
            if self.unpool != "MAX":
                raise ShapeError(f"{self.unpool} takes no mask")
            _check_mask(x, bottoms[1], size)
        elif any((x.shape[1 + axis] - 1) * self.stride[axis] - self.pad[axis] >= size[axis] for axis in (0, 1)):
            raise ShapeError(f"an output of {size[0]}x{size[1]} pixels ends before the last window begins")
        return (Blob((x.shape[0], *size, x.shape[3])),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = as_real(bottoms[0])
        blobs = ctx.inputs or [Blob(bottom.shape) for bottom in bottoms]
        size = self.size(blobs)
        if len(bottoms) > 1:
            return (_place(x, bottoms[1], blobs[1].window, size),), {}
        window = PoolWindow(self.kernel_size, self.stride, self.pad, size, (x.shape[1], x.shape[2]))
        match self.unpool:
            case "MAX":
                return (spread_corner(x, window),), {}
            case "AVE":
                return (spread_average(x, window),), {}
            case "TILE":
                return (spread_tile(x, window),), {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return _enlargement(bottoms[0], tops[0])


def _place(x: jax.Array, mask: jax.Array, window: PoolWindow | None, size: Pair) -> jax.Array:
    """Values where their mask says, in a plane of this size; a mask without window holds Caffe's flat indices."""
    if window is None:
        return unpool_flat(x, mask, size)
    if window.input[1] != size[1]:
        return unpool_flat(x, to_flat(mask, window), size)
    rows = (0, size[0] - window.input[0], 0)
    return lax.pad(unpool(x, mask, window), jnp.zeros((), x.dtype), ((0, 0, 0), rows, (0, 0, 0), (0, 0, 0)))


def _enlargement(x: Blob, y: Blob) -> Sampling:
    """How an output position sees the input, where each input pixel becomes a window."""
    step = [Fraction(1, max(1, round(y.shape[axis] / x.shape[axis]))) for axis in (1, 2)]
    return Sampling((1, 1), (step[0], step[1]))


def _check_mask(x: Blob, mask: Blob, size: Pair) -> None:
    """Raises ShapeError unless the mask has a place in a plane of this size for each value."""
    if x.shape != mask.shape:
        raise ShapeError(f"the mask must have the shape of the input, {x}, but is {mask}")
    if min(size) < 1:
        raise ShapeError(f"an output of {size[0]}x{size[1]} pixels is empty")
    if mask.window is not None and mask.window.input != size:
        _refuse_outside(mask.window, size)


def _refuse_outside(window: PoolWindow, size: Pair) -> None:
    """Flat indices of the pooled plane must lie inside the output plane."""
    if window.input[0] * window.input[1] > size[0] * size[1]:
        raise ShapeError(
            f"an output of {size[0]}x{size[1]} pixels cannot hold the maxima of the "
            f"{window.input[0]}x{window.input[1]} that were pooled; leave the size out to get that"
        )
