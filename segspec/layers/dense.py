"""Layers without a sense of place: a full matrix product, a table looked up by number, a learned array."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.arrangement import caffe_axis
from segspec.layers.base import Arrays, Blob, Context, Filler, Forward, Layer, ParamSpec, Sampling
from segspec.ops.cast import as_real
from segspec.ops.order import from_caffe_order, stored_shape, to_caffe_order
from segspec.schema.types import Count


class InnerProduct(Layer):
    """A fully connected layer: y = x W + b, x all axes from `axis` on as one vector, in Caffe's order.

    Computed in the net's precision. Source: Caffe, inner_product_layer.cpp.
    """

    type: ClassVar[str] = "InnerProduct"
    message: ClassVar[str] = "inner_product_param"
    short: ClassVar[str] = "fc"
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"weight_filler": {"type": "constant"}}
    example: ClassVar[str] = "{num_output: 8}"

    num_output: Count = Field(description="Numbers computed for each vector.")
    bias_term: bool = Field(True, description="Whether a learned bias is added.")
    weight_filler: Filler = Field(Filler(type="msra"), description="How weights start.")
    bias_filler: Filler = Field(Filler(), description="How biases start.")
    axis: int = Field(1, description="First axis of the vectors, in Caffe's order: batch, channels, height, width.")
    transpose: bool = Field(
        False, description="Whether Caffe's weight blob is (inputs, outputs), not (outputs, inputs)."
    )

    def _features(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape[caffe_axis(self.axis, len(shape)) :])

    def _output(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[: caffe_axis(self.axis, len(shape))], self.num_output)

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        return (Blob(stored_shape(self._output(bottoms[0].caffe_shape))),)

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        shape = (self._features(bottoms[0].caffe_shape), self.num_output)
        specs = {"weight": ParamSpec(shape, self.weight_filler, "plain" if self.transpose else "matrix")}
        if self.bias_term:
            specs["bias"] = ParamSpec((self.num_output,), self.bias_filler)
        return specs

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = to_caffe_order(as_real(bottoms[0])).astype(ctx.dtype)
        product = x.reshape(-1, self._features(x.shape)) @ params["weight"].astype(ctx.dtype)
        if self.bias_term:
            product = product + params["bias"].astype(ctx.dtype)
        return (from_caffe_order(product.reshape(self._output(x.shape))),), {}

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> int:
        return bottoms[0].size * self.num_output

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return Sampling((0, 0))


class Embed(Layer):
    """Replaces each whole number of its input by a row of a learned table, plus a bias.

    Source: Caffe, embed_layer.cpp.
    """

    type: ClassVar[str] = "Embed"
    message: ClassVar[str] = "embed_param"
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"weight_filler": {"type": "constant"}}
    example: ClassVar[str] = "{input_dim: 6, num_output: 3}"

    input_dim: Count = Field(description="Rows of the table: inputs lie between 0 and this, exclusive.")
    num_output: Count = Field(description="Numbers in a row.")
    bias_term: bool = Field(True, description="Whether a learned bias is added.")
    weight_filler: Filler = Field(Filler(type="xavier"), description="How rows start.")
    bias_filler: Filler = Field(Filler(), description="How biases start.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        return (Blob(stored_shape((*bottoms[0].caffe_shape, self.num_output))),)

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        specs = {"weight": ParamSpec((self.input_dim, self.num_output), self.weight_filler)}
        if self.bias_term:
            specs["bias"] = ParamSpec((self.num_output,), self.bias_filler)
        return specs

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        rows = to_caffe_order(bottoms[0]).astype(jnp.int32)
        found = params["weight"].at[rows].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        return (from_caffe_order(found + params["bias"] if self.bias_term else found),), {}


class Parameter(Layer):
    """A learned array of its own, without an input; it starts at 0. Source: BVLC Caffe, parameter_layer.hpp."""

    type: ClassVar[str] = "Parameter"
    bottoms: ClassVar[tuple[int, int | None]] = (0, 0)
    message: ClassVar[str] = "parameter_param"
    example: ClassVar[str] = "{shape: [1, 8, 1, 1]}"

    shape: tuple[Count, ...] = Field(description="Sizes of the axes, in Caffe's order.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        return (Blob(stored_shape(self.shape)),)

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """`value`, its axes in Caffe's order."""
        return {"value": ParamSpec(self.shape, Filler())}

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        return (from_caffe_order(params["value"]),), {}
