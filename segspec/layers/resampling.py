"""Bilinear resizing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, Self

import jax
from pydantic import Field, model_validator

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, Sampling, ShapeError
from segspec.ops.resize import resize_bilinear, resize_nearest
from segspec.ops.window import Pair
from segspec.schema.types import Count, Reference


class Interp(Layer):
    """Resizes bilinearly, corner pixels keeping their values, or to the nearest pixel.

    The input is first cut by pad_beg and pad_end (0 or negative). The output is then (H - 1) / shrink_factor + 1
    pixels, enlarged to H + (H - 1)(zoom_factor - 1), or height x width, or the size of another layer.
    Source: DeepLab's Caffe, interp_layer.cpp.
    """

    type: ClassVar[str] = "Interp"
    bottoms: ClassVar[tuple[int, int | None]] = (1, 2)
    message: ClassVar[str] = "interp_param"
    references: ClassVar[Mapping[str, int]] = {"size_of": 0}
    example: ClassVar[str] = "{zoom_factor: 2}"

    height: Count | None = Field(None, description="Output height in pixels, with width.")
    width: Count | None = Field(None, description="Output width in pixels, with height.")
    zoom_factor: Count | None = Field(None, description="Output pixels per input pixel, between the corners.")
    shrink_factor: Count | None = Field(None, description="Input pixels per output pixel, between the corners.")
    pad_beg: int = Field(0, le=0, description="Rows and columns cut off above and left, as a negative number.")
    pad_end: int = Field(0, le=0, description="Rows and columns cut off below and right, as a negative number.")
    size_of: Reference | None = Field(None, description="Layer whose height and width the output takes.")
    align_corners: bool = Field(
        True, description="Whether corner pixels keep their values; false reads at (i + 1/2) in / out - 1/2."
    )

    nearest: bool = Field(False, description="Whether output pixel i copies input pixel floor(i in / out).")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width go together: give both or neither")
        if self.height is not None and (self.zoom_factor or self.shrink_factor or self.size_of):
            raise ValueError("height and width stand alone: no zoom_factor, shrink_factor or size_of beside them")
        if self.size_of is not None and (self.zoom_factor or self.shrink_factor):
            raise ValueError("size_of stands alone: no zoom_factor or shrink_factor beside it")
        return self

    def size(self, bottoms: Sequence[Blob]) -> Pair:
        """(height, width) of the output."""
        if len(bottoms) == 2:
            return (bottoms[1].shape[1], bottoms[1].shape[2])
        if self.height is not None and self.width is not None:
            return (self.height, self.width)
        height, width = (self._scaled(bottoms[0].shape[1 + axis] + self.pad_beg + self.pad_end) for axis in (0, 1))
        return (height, width)

    def _scaled(self, length: int) -> int:
        if self.shrink_factor:
            length = (length - 1) // self.shrink_factor + 1
        if self.zoom_factor:
            length += (length - 1) * (self.zoom_factor - 1)
        return length

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The resized image. Raises ShapeError where nothing says the size."""
        x = bottoms[0]
        if any(len(bottom.shape) != 4 for bottom in bottoms):
            raise ShapeError("needs an image (batch, height, width, channels)")
        if len(bottoms) == 1 and not (self.height or self.zoom_factor or self.shrink_factor):
            raise ShapeError("nothing says the size: give size_of, zoom_factor, shrink_factor, or height and width")
        size = self.size(bottoms)
        if min(size) < 1 or min(x.shape[1:3]) + self.pad_beg + self.pad_end < 1:
            raise ShapeError("nothing is left of the input")
        return (Blob((x.shape[0], *size, x.shape[3]), x.dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = bottoms[0]
        size = self.size([Blob(bottom.shape) for bottom in bottoms])
        height, width = x.shape[1] + self.pad_end, x.shape[2] + self.pad_end
        cut = x[:, -self.pad_beg : height, -self.pad_beg : width]
        if self.nearest:
            return (resize_nearest(cut, size),), {}
        return (resize_bilinear(cut, size, align_corners=self.align_corners),), {}

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> int:
        return 4 * tops[0].size

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        x, y = bottoms[0].shape, tops[0].shape
        return Sampling((2, 2), (Fraction(x[1], y[1]), Fraction(x[2], y[2])))
