"""Convolution and deconvolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.base import Arrays, Blob, Context, Filler, Forward, Layer, ParamSpec, Sampling, ShapeError
from segspec.ops.convolution import add_bias, convolve, deconvolve
from segspec.ops.window import Pair, convolution_output, deconvolution_output, upper_padding
from segspec.schema.types import Count, Margin, Padding, Reference, Size


class _Filtering(Layer):
    """What convolution and deconvolution declare alike."""

    message: ClassVar[str] = "convolution_param"

    num_output: Count = Field(description="Number of filters: channels of the output.")
    kernel_size: Size = Field(description="Height and width of each filter, in pixels.")
    stride: Size = Field((1, 1), description="Step from one window to the next, in pixels.")
    dilation: Size = Field((1, 1), description="Distance between the taps of a filter, in pixels.")
    group: Count = Field(1, description="Groups of channels; each group of outputs sees its own share of the inputs.")
    bias_term: bool = Field(True, description="Whether a learned number is added to each output channel.")
    bias_filler: Filler = Field(Filler(), description="Initial values of the bias.")

    def _groups(self, channels: int) -> int:
        """Groups of an input of so many channels."""
        return self.group

    def _check(self, x: Blob) -> None:
        if len(x.shape) != 4:
            raise ShapeError(f"needs an image (batch, height, width, channels), got {x}")
        group = self._groups(x.shape[3])
        if x.shape[3] % group or self.num_output % group:
            raise ShapeError(
                f"group {group} must divide the {x.shape[3]} channels of the input and num_output {self.num_output}"
            )

    def _reach(self) -> Pair:
        """Pixels that a dilated filter covers."""
        height, width = (self.dilation[axis] * (self.kernel_size[axis] - 1) + 1 for axis in (0, 1))
        return (height, width)

    def _with_bias(self, weight: ParamSpec) -> dict[str, ParamSpec]:
        bias = {"bias": ParamSpec((self.num_output,), self.bias_filler)} if self.bias_term else {}
        return {"weight": weight, **bias}


class Convolution(_Filtering):
    """Slides learned filters over the image: each output is a weighted sum of a window plus a bias.

    Output size floor((H + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1; ceil(H / stride) with pad: same_upper,
    where the zeros that this takes are shared by both sides, an odd one below or right. Source: BVLC Caffe,
    conv_layer.cpp; TensorFlow and Keras (padding "same"), ONNX (SAME_UPPER).
    """

    type: ClassVar[str] = "Convolution"
    short: ClassVar[str] = "conv"
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"weight_filler": {"type": "constant"}}
    example: ClassVar[str] = "{num_output: 8, kernel_size: 3, pad: same}"

    pad: Padding = Field(
        (0, 0),
        description="Zeros added on every side, in pixels; `same` keeps the size at stride 1 (kernels are odd); "
        "`same_upper` pads as TensorFlow and Keras do.",
    )
    weight_filler: Filler = Field(Filler(type="msra"), description="Initial values of the filters.")

    def padding(self, size: Pair) -> Pair:
        """Pixels of padding above and left of an image of this size. Raises ShapeError for `same` on even kernels."""
        reach = self._reach()
        if self.pad == "same_upper":
            top, left = (upper_padding(size[axis], reach[axis], self.stride[axis]) for axis in (0, 1))
            return (top, left)
        if self.pad != "same":
            return self.pad
        if reach[0] % 2 == 0 or reach[1] % 2 == 0:
            raise ShapeError(
                f"pad: same needs odd kernels, kernel_size {self.kernel_size[0]}x{self.kernel_size[1]} covers "
                f"{reach[0]}x{reach[1]} pixels; write the padding as a number"
            )
        return (reach[0] // 2, reach[1] // 2)

    def output_size(self, size: Pair) -> Pair:
        """(height, width) of what comes of an image of this size; below 1 where the filter covers more than it."""
        if self.pad == "same_upper":
            return (-(-size[0] // self.stride[0]), -(-size[1] // self.stride[1]))
        pad = self.padding(size)
        height, width = (
            convolution_output(size[axis], self.kernel_size[axis], self.stride[axis], pad[axis], self.dilation[axis])
            for axis in (0, 1)
        )
        return (height, width)

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """One output of num_output channels."""
        (x,) = bottoms
        self._check(x)
        height, width = self.output_size((x.shape[1], x.shape[2]))
        if height < 1 or width < 1:
            reach = self._reach()
            raise ShapeError(f"the filter covers {reach[0]}x{reach[1]} pixels, more than the padded input")
        return (Blob((x.shape[0], height, width, self.num_output)),)

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """`weight` (height, width, in / group, out) and `bias` (out)."""
        channels = bottoms[0].shape[3]
        shape = (*self.kernel_size, channels // self._groups(channels), self.num_output)
        return self._with_bias(ParamSpec(shape, self.weight_filler, "filter"))

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        (x,) = bottoms
        size = (x.shape[1], x.shape[2])
        y = convolve(
            x.astype(ctx.dtype),
            params["weight"],
            stride=self.stride,
            pad=self.padding(size),
            dilation=self.dilation,
            group=self._groups(x.shape[3]),
            size=self.output_size(size),
        )
        if self.bias_term:
            y = add_bias(y, params["bias"])
        return (y,), {}

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> int:
        height, width = self.kernel_size
        channels = bottoms[0].shape[3]
        return tops[0].size * height * width * channels // self._groups(channels)

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return Sampling(self._reach(), (Fraction(self.stride[0]), Fraction(self.stride[1])))


class DepthwiseConvolution(Convolution):
    """A convolution in which each channel of the input has filters of its own: group is the number of channels.

    num_output is the number of channels, or a multiple of it. Source: Howard et al., MobileNets, 2017; its Caffe,
    depthwise_conv_layer.cpp; also called ConvolutionDepthwise.
    """

    type: ClassVar[str] = "DepthwiseConvolution"
    short: ClassVar[str] = "depthwise"
    example: ClassVar[str] = "{num_output: 3, kernel_size: 3, pad: same}"

    group: Count = Field(1, description="1, meaning as many groups as the input has channels, or their number.")

    def _groups(self, channels: int) -> int:
        return channels

    def _check(self, x: Blob) -> None:
        super()._check(x)
        if self.group not in (1, x.shape[3]):
            raise ShapeError(f"group is {self.group} but the input has {x.shape[3]} channels; leave group out")


class Deconvolution(_Filtering):
    """The transpose of a convolution: each input adds its filter, times its value, to the output.

    Output size stride (H - 1) + dilation (kernel - 1) + 1 - 2 pad. With `size_of` the output is then cut to the size of
    the named layer, so that each input stays in the middle of the stride x stride pixels it enlarges to; missing rows
    or columns at the lower and right border, fewer than a stride, are those that `pad` cut off, then zeros. A filler of
    type bilinear with one filter a channel (group = num_output) enlarges like bilinear interpolation. Source: BVLC
    Caffe, deconv_layer.cpp.
    """

    type: ClassVar[str] = "Deconvolution"
    short: ClassVar[str] = "deconv"
    bottoms: ClassVar[tuple[int, int | None]] = (1, 2)
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"weight_filler": {"type": "constant"}}
    references: ClassVar[Mapping[str, int]] = {"size_of": 0}
    example: ClassVar[str] = "{num_output: 4, kernel_size: 2, stride: 2}"

    pad: Margin = Field((0, 0), description="Pixels cut off on every side of the output.")
    weight_filler: Filler | None = Field(
        None, description="Initial values of the filters; left out, bilinear where each channel has its own, else msra."
    )
    size_of: Reference | None = Field(None, description="Layer whose height and width the output takes.")

    def _filler(self, channels: int) -> Filler:
        if self.weight_filler is not None:
            return self.weight_filler
        return Filler(type="bilinear" if self.group == self.num_output == channels else "msra")

    def _own_size(self, x: Blob) -> Pair:
        height, width = (
            deconvolution_output(
                x.shape[1 + axis], self.kernel_size[axis], self.stride[axis], self.pad[axis], self.dilation[axis]
            )
            for axis in (0, 1)
        )
        return (height, width)

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """One output of num_output channels."""
        x = bottoms[0]
        self._check(x)
        size = self._own_size(x)
        if min(size) < 1:
            raise ShapeError(f"pad {self.pad[0]}x{self.pad[1]} cuts off the whole output")
        if len(bottoms) == 2:
            if len(bottoms[1].shape) != 4:
                raise ShapeError(f"size_of needs an image (batch, height, width, channels), got {bottoms[1]}")
            size = self._wanted(size, (bottoms[1].shape[1], bottoms[1].shape[2]))
        return (Blob((x.shape[0], *size, self.num_output)),)

    def _wanted(self, own: Pair, wanted: Pair) -> Pair:
        """The size asked for, if it is the size of this enlargement up to a stride; the wrong layer is not."""
        if any(wanted[axis] - own[axis] >= self.stride[axis] for axis in (0, 1)):
            raise ShapeError(
                f"the input enlarges to {own[0]}x{own[1]} pixels, far from the {wanted[0]}x{wanted[1]} of 'size_of'"
            )
        return wanted

    def restored(self, own: Pair, wanted: Pair) -> Pair:
        """How many of the missing rows and columns are among those that `pad` cuts off."""
        height, width = (min(self.pad[axis], max(0, wanted[axis] - own[axis])) for axis in (0, 1))
        return (height, width)

    def cut(self, surplus: Pair) -> Pair:
        """Of so many superfluous rows and columns, how many are cut off above and left."""
        height, width = (
            min(max(0, (self._reach()[axis] - self.stride[axis]) // 2 - self.pad[axis]), max(0, surplus[axis]))
            for axis in (0, 1)
        )
        return (height, width)

    def _fit(self, y: jax.Array, size: Pair) -> jax.Array:
        """Cut so that inputs keep their places; what is missing still becomes zeros at the lower and right border."""
        surplus = (y.shape[1] - size[0], y.shape[2] - size[1])
        before = self.cut(surplus)
        config = [(0, 0, 0), *((-before[axis], before[axis] - surplus[axis], 0) for axis in (0, 1))]
        return jax.lax.pad(y, jnp.zeros((), y.dtype), (*config, (0, 0, 0)))

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """`weight` (height, width, out / group, in) and `bias` (out)."""
        channels = bottoms[0].shape[3]
        shape = (*self.kernel_size, self.num_output // self.group, channels)
        return self._with_bias(ParamSpec(shape, self._filler(channels), "filter"))

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        own, wanted = self._own_size(Blob(bottoms[0].shape)), (bottoms[-1].shape[1], bottoms[-1].shape[2])
        y = deconvolve(
            bottoms[0].astype(ctx.dtype),
            params["weight"],
            stride=self.stride,
            pad=self.pad,
            dilation=self.dilation,
            group=self.group,
            restored=self.restored(own, wanted) if len(bottoms) == 2 else (0, 0),
        )
        if self.bias_term:
            y = add_bias(y, params["bias"])
        if len(bottoms) == 2:
            y = self._fit(y, wanted)
        return (y,), {}

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> int:
        height, width = self.kernel_size
        return bottoms[0].size * height * width * self.num_output // self.group

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        reach = self._reach()
        seen = (-(-reach[0] // self.stride[0]), -(-reach[1] // self.stride[1]))
        return Sampling(seen, (Fraction(1, self.stride[0]), Fraction(1, self.stride[1])))
