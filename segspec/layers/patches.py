"""Windows of an image as channels."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

import jax
from pydantic import Field

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, Sampling, ShapeError
from segspec.layers.pooling import check_image
from segspec.ops.patches import lay_out_windows
from segspec.ops.window import Pair, convolution_output
from segspec.schema.types import Margin, Size


class Im2col(Layer):
    """Lays out the pixels of each window as channels: what a convolution multiplies with its filters.

    The output has channels x kernel height x kernel width channels, the input's channel changing slowest, and the size
    of a convolution with these windows: floor((H + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1.
    Source: Caffe, im2col_layer.cpp.
    """

    type: ClassVar[str] = "Im2col"
    message: ClassVar[str] = "convolution_param"
    example: ClassVar[str] = "{kernel_size: 3, pad: 1}"

    kernel_size: Size = Field(description="Height and width of a window, in pixels.")
    stride: Size = Field((1, 1), description="Step from one window to the next, in pixels.")
    pad: Margin = Field((0, 0), description="Zeros added on every side, in pixels.")
    dilation: Size = Field((1, 1), description="Distance between the pixels of a window, in pixels.")

    def _reach(self) -> Pair:
        """Pixels that a dilated window covers."""
        height, width = (self.dilation[axis] * (self.kernel_size[axis] - 1) + 1 for axis in (0, 1))
        return (height, width)

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """One output. Raises ShapeError where no window fits."""
        (x,) = bottoms
        check_image(x)
        height, width = (
            convolution_output(
                x.shape[1 + axis], self.kernel_size[axis], self.stride[axis], self.pad[axis], self.dilation[axis]
            )
            for axis in (0, 1)
        )
        if height < 1 or width < 1:
            reach = self._reach()
            raise ShapeError(f"a window covers {reach[0]}x{reach[1]} pixels, more than the padded input")
        return (Blob((x.shape[0], height, width, x.shape[3] * self.kernel_size[0] * self.kernel_size[1]), x.dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        columns = lay_out_windows(
            bottoms[0], kernel=self.kernel_size, stride=self.stride, pad=self.pad, dilation=self.dilation
        )
        return (columns,), {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return Sampling(self._reach(), (Fraction(self.stride[0]), Fraction(self.stride[1])))
