"""What lies beyond the border of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, ShapeError
from segspec.schema.types import Margin


class MirrorPad(Layer):
    """Enlarges an image by what lies behind its border in a mirror: pixel -i is pixel i, pixel H - 1 + i is H - 1 - i.

    The border itself is not repeated; an image smaller than the padding is mirrored several times. Padding by zeros is
    a matter of the convolution behind. Source: Ronneberger, Fischer, Brox 2015; Yu, Koltun 2016; torch's
    ReflectionPad2d, TensorFlow's MirrorPad (REFLECT).
    """

    type: ClassVar[str] = "MirrorPad"
    in_caffe: ClassVar[bool] = False
    example: ClassVar[str] = "{pad: 2}"

    pad: Margin = Field(description="Pixels added on every side.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        (x,) = bottoms
        if len(x.shape) != 4:
            raise ShapeError(f"needs an image (batch, height, width, channels), got {x}")
        height, width = (x.shape[1 + axis] + 2 * self.pad[axis] for axis in (0, 1))
        return (Blob((x.shape[0], height, width, x.shape[3]), x.dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        (rows, columns) = self.pad
        return (jnp.pad(bottoms[0], ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode="reflect"),), {}
