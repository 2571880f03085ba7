"""Functions of each element, and the softmax: the shape stays as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from segspec.layers.base import Arrays, Blob, Context, Filler, Forward, Layer, ParamSpec, stored_axis
from segspec.ops.cast import as_real
from segspec.schema.types import Real


class Elementwise(Layer):
    """A function of each element without learned blobs."""

    def compute(self, x: jax.Array) -> jax.Array:
        """The function, of an array of real numbers."""
        raise NotImplementedError

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        return (Blob(bottoms[0].shape),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        return (self.compute(as_real(bottoms[0])),), {}


class ReLU(Elementwise):
    """Rectified linear unit: x above 0, negative_slope x elsewhere. The gradient at 0 is negative_slope.

    Source: Caffe, relu_layer.cpp.
    """

    type: ClassVar[str] = "ReLU"
    message: ClassVar[str] = "relu_param"
    example: ClassVar[str] = "{negative_slope: 0.1}"

    negative_slope: Real = Field(0.0, description="Slope below 0; 0 gives the usual unit.")

    def compute(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x) if self.negative_slope == 0 else jnp.where(x > 0, x, self.negative_slope * x)


class ReLU6(Elementwise):
    """min(max(x, 0), 6); the gradient at 0 and at 6 is 0. Source: Sandler et al., MobileNetV2, 2018; its Caffe."""

    type: ClassVar[str] = "ReLU6"
    example: ClassVar[str] = "{}"

    def compute(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu6(x)


class Clip(Elementwise):
    """min(max(x, min), max); the gradient passes from min to max, both included. Source: BVLC Caffe, clip_layer.cpp."""

    type: ClassVar[str] = "Clip"
    message: ClassVar[str] = "clip_param"
    example: ClassVar[str] = "{min: -0.5, max: 0.5}"

    min: Real = Field(description="Least value that is put out.")
    max: Real = Field(description="Greatest value that is put out.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def compute(self, x: jax.Array) -> jax.Array:
        return jnp.where(x < self.min, self.min, jnp.where(x > self.max, self.max, x)).astype(x.dtype)


class PReLU(Layer):
    """Rectified linear unit whose slope below 0 is learned, one for each channel or one for all.

    x above 0, slope x elsewhere. Source: He et al. 2015; Caffe, prelu_layer.cpp.
    """

    type: ClassVar[str] = "PReLU"
    message: ClassVar[str] = "prelu_param"
    example: ClassVar[str] = "{channel_shared: true}"

    channel_shared: bool = Field(False, description="Whether all channels share one slope.")
    filler: Filler = Field(Filler(type="constant", value=0.25), description="How slopes start.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        stored_axis(1, len(bottoms[0].shape))
        return (Blob(bottoms[0].shape),)

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        shape = () if self.channel_shared else (bottoms[0].caffe_shape[1],)
        return {"slope": ParamSpec(shape, self.filler)}

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = as_real(bottoms[0])
        slope = params["slope"]
        if not self.channel_shared:
            channels = stored_axis(1, x.ndim)
            slope = slope.reshape([-1 if axis == channels else 1 for axis in range(x.ndim)])
        # The product in float32, as the gradient of the slope is a sum over many pixels.
        return (jnp.where(x > 0, x, (slope * x.astype(jnp.float32)).astype(x.dtype)),), {}


class Sigmoid(Elementwise):
    """1 / (1 + exp(-x)). Source: Caffe, sigmoid_layer.cpp."""

    type: ClassVar[str] = "Sigmoid"
    message: ClassVar[str] = "sigmoid_param"
    example: ClassVar[str] = "{}"

    def compute(self, x: jax.Array) -> jax.Array:
        # In float32: the slope, y (1 - y), would be lost where y was rounded to 1.
        return jax.nn.sigmoid(x.astype(jnp.float32)).astype(x.dtype)


class TanH(Elementwise):
    """Hyperbolic tangent. Source: Caffe, tanh_layer.cpp."""

    type: ClassVar[str] = "TanH"
    message: ClassVar[str] = "tanh_param"
    example: ClassVar[str] = "{}"

    def compute(self, x: jax.Array) -> jax.Array:
        return jnp.tanh(x.astype(jnp.float32)).astype(x.dtype)


class ELU(Elementwise):
    """Exponential linear unit: x above 0, alpha (exp(x) - 1) elsewhere.

    Source: Clevert et al. 2015; Caffe, elu_layer.cpp.
    """

    type: ClassVar[str] = "ELU"
    message: ClassVar[str] = "elu_param"
    example: ClassVar[str] = "{alpha: 0.5}"

    alpha: Real = Field(1.0, description="Minus the limit for large negative inputs.")

    def compute(self, x: jax.Array) -> jax.Array:
        return jax.nn.elu(x, self.alpha)


class Swish(Elementwise):
    """x sigmoid(beta x). Source: Ramachandran et al. 2017; BVLC Caffe, swish_layer.cpp."""

    type: ClassVar[str] = "Swish"
    message: ClassVar[str] = "swish_param"
    example: ClassVar[str] = "{beta: 1.5}"

    beta: Real = Field(1.0, description="Steepness of the sigmoid.")

    def compute(self, x: jax.Array) -> jax.Array:
        return x * jax.nn.sigmoid(self.beta * x)


class AbsVal(Elementwise):
    """|x|; the gradient at 0 is 0. Source: Caffe, absval_layer.cpp."""

    type: ClassVar[str] = "AbsVal"
    example: ClassVar[str] = "{}"

    def compute(self, x: jax.Array) -> jax.Array:
        return jnp.where(x == 0, jnp.zeros_like(x), jnp.abs(x))


class BNLL(Elementwise):
    """Binomial normal log likelihood: log(1 + exp(x)), exact for large x. Source: Caffe, bnll_layer.cpp."""

    type: ClassVar[str] = "BNLL"
    example: ClassVar[str] = "{}"

    def compute(self, x: jax.Array) -> jax.Array:
        return jax.nn.softplus(x)


class Power(Elementwise):
    """(shift + scale x)^power. Source: Caffe, power_layer.cpp."""

    type: ClassVar[str] = "Power"
    message: ClassVar[str] = "power_param"
    example: ClassVar[str] = "{power: 2, scale: 0.5, shift: 1}"

    power: Real = Field(1.0, description="Exponent.")
    scale: Real = Field(1.0, description="Factor on the input.")
    shift: Real = Field(0.0, description="Added before the power is taken.")

    def compute(self, x: jax.Array) -> jax.Array:
        base = self.scale * x + self.shift
        if self.power == 0:
            return jnp.ones_like(x)
        return base if self.power == 1 else jnp.power(base, self.power)


class _Logarithmic(Elementwise):
    base: Real = Field(-1.0, description="Base, above 0; -1 means e.")
    scale: Real = Field(1.0, description="Factor on the input.")
    shift: Real = Field(0.0, description="Added to the scaled input.")

    @model_validator(mode="after")
    def _usable_base(self) -> Self:
        if self.base != -1 and (self.base <= 0 or self.base == 1):
            raise ValueError("base must be above 0 and not 1, or -1 for e")
        return self

    @property
    def log_base(self) -> float:
        """The natural logarithm of the base."""
        return 1.0 if self.base == -1 else math.log(self.base)


class Exp(_Logarithmic):
    """base^(shift + scale x). Source: BVLC Caffe, exp_layer.cpp.

    Dialect segnet keeps a mistake of caffe-segnet, for nets that were trained with it: where base is e and shift is not
    0, it computes (-1)^shift e^(scale x).
    """

    type: ClassVar[str] = "Exp"
    message: ClassVar[str] = "exp_param"
    example: ClassVar[str] = "{base: 2, scale: 0.5}"

    dialect: Literal["bvlc", "segnet"] = Field("bvlc", description="Whose rules hold for base e with a shift.")

    def compute(self, x: jax.Array) -> jax.Array:
        if self.dialect == "segnet" and self.base == -1:
            return {0.0: 1.0, 1.0: -1.0}.get(self.shift % 2, math.nan) * jnp.exp(self.scale * x)
        return jnp.exp(self.log_base * (self.scale * x + self.shift))


class Log(_Logarithmic):
    """log_base(shift + scale x). Source: Caffe, log_layer.cpp."""

    type: ClassVar[str] = "Log"
    message: ClassVar[str] = "log_param"
    example: ClassVar[str] = "{base: 10, shift: 1}"

    def compute(self, x: jax.Array) -> jax.Array:
        return jnp.log(self.scale * x + self.shift) / self.log_base


class Threshold(Elementwise):
    """1 where x is above the threshold, else 0; passes no gradient. Source: Caffe, threshold_layer.cpp."""

    type: ClassVar[str] = "Threshold"
    message: ClassVar[str] = "threshold_param"
    example: ClassVar[str] = "{threshold: 0.5}"

    threshold: Real = Field(0.0, description="Inputs above it give 1.")

    def compute(self, x: jax.Array) -> jax.Array:
        return (x > self.threshold).astype(x.dtype)


class Softmax(Layer):
    """exp(x_c) / sum_k exp(x_k) over one axis, by default the channels. Source: Caffe, softmax_layer.cpp."""

    type: ClassVar[str] = "Softmax"
    message: ClassVar[str] = "softmax_param"
    example: ClassVar[str] = "{axis: 1}"

    axis: int = Field(1, description="Axis that sums to 1, in Caffe's order: batch, channels, height, width.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        stored_axis(self.axis, len(bottoms[0].shape))
        return (Blob(bottoms[0].shape),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = as_real(bottoms[0])
        probability = jax.nn.softmax(x.astype(jnp.float32), axis=stored_axis(self.axis, x.ndim))
        return (probability.astype(x.dtype),), {}
