"""Pooling, pooling that keeps its mask, and pooling on a pyramid of grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, Sampling, ShapeError
from segspec.ops.argmax_pool import argmax_pool, index_dtype
from segspec.ops.cast import as_real
from segspec.ops.order import to_caffe_order
from segspec.ops.pooling import average_bins, average_pool, even_spans
from segspec.ops.stochastic_pool import expected_pool, sample_pool
from segspec.ops.window import Pair, PoolWindow
from segspec.schema.types import Count, PoolingPadding, Size


def check_image(x: Blob) -> None:
    """Raises ShapeError unless the blob is an image."""
    if len(x.shape) != 4:
        raise ShapeError(f"needs an image (batch, height, width, channels), got {x}")


class Pooling(Layer):
    """Reduces each window of each channel to its maximum, its mean, or an element drawn at random.

    Output size ceil((H + 2 pad - kernel) / stride) + 1, a last window that would start behind the image dropped; floor
    instead of ceil with round_mode FLOOR. MAX: windows are clipped to the image, and the first maximum passes the
    gradient; with pad: same_upper there are ceil(H / stride) windows as in TensorFlow and Keras, whose surplus is
    shared by both sides, an odd pixel below or right. AVE: the sum over the image divided by the window's area in the
    padded image. STOCHASTIC, for inputs from 0: in TRAIN an element x_i with probability x_i / sum x, in TEST the
    expectation sum x^2 / sum x; no padding.
    A second output of MAX is the mask: where each maximum lay, as a local index. With `bins` (AVE), window i of n along
    a side of H pixels goes from floor(i H / n) to ceil((i + 1) H / n).
    Source: Caffe, pooling_layer.cpp, pooling_layer.cu; Zeiler and Fergus 2013 for STOCHASTIC.
    """

    type: ClassVar[str] = "Pooling"
    short: ClassVar[str] = "pool"
    tops: ClassVar[tuple[int, int | None]] = (1, 2)
    top_names: ClassVar[tuple[str, ...]] = ("mask",)
    message: ClassVar[str] = "pooling_param"
    example: ClassVar[str] = "{pool: MAX, kernel_size: 3, stride: 2}"

    pool: Literal["MAX", "AVE", "STOCHASTIC"] = Field("MAX", description="What becomes of a window.")
    kernel_size: Size | None = Field(None, description="Height and width of a window, in pixels.")
    stride: Size = Field((1, 1), description="Step from one window to the next, in pixels.")
    pad: PoolingPadding = Field(
        (0, 0), description="Padding on every side, in pixels, or same_upper (MAX only); it never wins a maximum."
    )
    global_pooling: bool = Field(False, description="Whether one window covers the whole image, whatever its size.")
    round_mode: Literal["CEIL", "FLOOR"] = Field("CEIL", description="How a last window that does not fit counts.")
    bins: Size | None = Field(
        None,
        description="Rows and columns of the output, instead of kernel_size: windows that cover any image evenly.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.bins is not None:
            return self._agree_on_bins()
        if self.pool == "STOCHASTIC" and self.pad != (0, 0):
            raise ValueError("STOCHASTIC pooling takes no pad")
        if self.global_pooling and (self.kernel_size is not None or self.pad != (0, 0) or self.stride != (1, 1)):
            raise ValueError("global_pooling takes no kernel_size, stride or pad")
        if not self.global_pooling and self.kernel_size is None:
            raise ValueError("needs 'kernel_size' (or global_pooling: true)")
        if self.pad == "same_upper":
            return self._agree_on_same_upper()
        if self.kernel_size is not None and any(self.pad[axis] >= self.kernel_size[axis] for axis in (0, 1)):
            raise ValueError("pad must be smaller than kernel_size")
        return self

    def _agree_on_same_upper(self) -> Self:
        if self.pool != "MAX":
            raise ValueError("pad: same_upper needs pool: MAX")
        if self.round_mode == "FLOOR":
            raise ValueError("pad: same_upper leaves nothing to round, so it takes no round_mode")
        return self

    def _agree_on_bins(self) -> Self:
        if self.pool != "AVE":
            raise ValueError("bins need pool: AVE")
        if self.global_pooling or self.kernel_size is not None or self.pad != (0, 0) or self.stride != (1, 1):
            raise ValueError("bins take no kernel_size, stride, pad or global_pooling")
        return self

    def window(self, size: Pair) -> PoolWindow:
        """The windows over a plane of this (height, width). Raises ShapeError when none fits."""
        if self.global_pooling or self.kernel_size is None:
            return PoolWindow.over(size, size, size)
        kernel = self.kernel_size
        if self.pad == "same_upper":
            return PoolWindow.same_upper(size, kernel, self.stride)
        window = PoolWindow.over(size, kernel, self.stride, self.pad, ceil=self.round_mode == "CEIL")
        if min(window.output) < 1:
            raise ShapeError(f"windows of {kernel[0]}x{kernel[1]} pixels do not fit the padded input")
        return window

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The pooled image, and the mask with its window."""
        (x,) = bottoms
        check_image(x)
        if tops == 2 and self.pool != "MAX":
            raise ShapeError("only MAX pooling has a mask")
        if self.bins is not None:
            return (Blob((x.shape[0], *self.bins, x.shape[3])),)
        window = self.window((x.shape[1], x.shape[2]))
        shape = (x.shape[0], *window.output, x.shape[3])
        pooled = Blob(shape, x.dtype if self.pool == "MAX" else "float32")
        return (pooled, Blob(shape, str(index_dtype(window)), window))[:tops]

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        (x,) = bottoms
        if self.bins is not None:
            return (average_bins(x, self.bins),), {}
        window = self.window((x.shape[1], x.shape[2]))
        if self.pool == "AVE":
            return (average_pool(x, window),), {}
        if self.pool == "STOCHASTIC":
            key = ctx.key if ctx.train else None
            return (expected_pool(x, window) if key is None else sample_pool(x, window, key),), {}
        maximum, index = argmax_pool(as_real(x), window)
        return (maximum.astype(x.dtype), index)[: ctx.tops], {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        if self.bins is not None:
            return _sampling_of_bins(bottoms[0], self.bins)
        if self.global_pooling or self.kernel_size is None:
            return Sampling((0, 0), (Fraction(bottoms[0].shape[1]), Fraction(bottoms[0].shape[2])))
        return Sampling(self.kernel_size, (Fraction(self.stride[0]), Fraction(self.stride[1])))


def _sampling_of_bins(x: Blob, bins: Pair) -> Sampling:
    """The widest window, and the mean step from one to the next."""
    if bins == (1, 1):
        return Sampling((0, 0), (Fraction(x.shape[1]), Fraction(x.shape[2])))
    widest = tuple(max(stop - start for start, stop in even_spans(x.shape[1 + axis], bins[axis])) for axis in (0, 1))
    return Sampling((widest[0], widest[1]), (Fraction(x.shape[1], bins[0]), Fraction(x.shape[2], bins[1])))


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


class SPP(Layer):
    """Pools over the whole image, its halves, its quarters, ...: a vector whose length no input size changes.

    Level l of `pyramid_height` levels pools on a grid of 2^l x 2^l windows of ceil(size / 2^l) pixels, padded evenly to
    cover the image. Each level is flattened in Caffe's order and the levels follow one another: (batch, numbers). A
    height of 1 gives the pooled image as it is. Source: He et al. 2014; Caffe, spp_layer.cpp.
    """

    type: ClassVar[str] = "SPP"
    message: ClassVar[str] = "spp_param"
    example: ClassVar[str] = "{pyramid_height: 2}"

    pyramid_height: Count = Field(description="Number of grids.")
    pool: Literal["MAX", "AVE", "STOCHASTIC"] = Field("MAX", description="What becomes of a window.")

    def levels(self, x: Blob) -> list[Pooling]:
        """The pooling of each level. Raises ShapeError where an image has fewer pixels than a grid needs."""
        check_image(x)
        return [self._level(2**level, (x.shape[1], x.shape[2])) for level in range(self.pyramid_height)]

    def _level(self, bins: int, size: Pair) -> Pooling:
        kernel = (-(-size[0] // bins), -(-size[1] // bins))
        pad = tuple((kernel[axis] * bins - size[axis] + 1) // 2 for axis in (0, 1))
        if any(pad[axis] >= kernel[axis] for axis in (0, 1)):
            raise ShapeError(f"{size[0]}x{size[1]} pixels cannot be divided into a grid of {bins}x{bins} windows")
        if self.pool == "STOCHASTIC" and any(pad):
            raise ShapeError(f"STOCHASTIC needs a height and width that {bins} divides, got {size[0]}x{size[1]}")
        return Pooling(pool=self.pool, kernel_size=kernel, stride=kernel, pad=(pad[0], pad[1]))

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """(batch, numbers), or the pooled image for a height of 1."""
        pooled = [level.shapes(bottoms)[0] for level in self.levels(bottoms[0])]
        if len(pooled) == 1:
            return (pooled[0],)
        batch = bottoms[0].shape[0]
        return (Blob((batch, sum(level.size // batch for level in pooled)), pooled[0].dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = bottoms[0]
        pooled: list[jax.Array] = []
        for number, level in enumerate(self.levels(Blob(x.shape))):
            key = None if ctx.key is None else jax.random.fold_in(ctx.key, number)
            pooled += level.forward({}, {}, bottoms, replace(ctx, key=key, tops=1))[0]
        if len(pooled) == 1:
            return (pooled[0],), {}
        rows = [to_caffe_order(level).reshape(x.shape[0], -1) for level in pooled]
        return (jnp.concatenate(rows, axis=1),), {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return Sampling((0, 0), (Fraction(bottoms[0].shape[1]), Fraction(bottoms[0].shape[2])))
