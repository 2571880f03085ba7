"""Layers that combine elements: across inputs, or along axes of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add, mul
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from segspec.layers.arrangement import caffe_axis
from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, ShapeError, stored_axis
from segspec.ops.cast import as_real
from segspec.ops.order import from_caffe_order, stored_shape, to_caffe_order
from segspec.schema.types import Count, Real, Reals, Reference, References


class Eltwise(Layer):
    """Combines inputs of equal shape element by element: sum of coeff x, product, or maximum.

    At equal maxima the gradient goes to the second of the first two inputs, then to the earlier one, as in Caffe.
    Source: Caffe, eltwise_layer.cpp.
    """

    type: ClassVar[str] = "Eltwise"
    bottoms: ClassVar[tuple[int, int | None]] = (2, None)
    references: ClassVar[Mapping[str, int]] = {"with": 0}
    message: ClassVar[str] = "eltwise_param"
    example: ClassVar[str] = "{with: e1, operation: MAX}"

    with_: References = Field(
        (), alias="with", description="The layers that are combined with the current feature: one name or a list."
    )
    operation: Literal["SUM", "PROD", "MAX"] = Field("SUM", description="How elements are combined.")
    coeff: Reals = Field((), description="Factors of a sum, one an input; without them all are 1.")

    @model_validator(mode="after")
    def _coeff_of_a_sum(self) -> Self:
        if self.coeff and self.operation != "SUM":
            raise ValueError(f"coeff belongs to a SUM, not to {self.operation}")
        return self

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        if len({bottom.shape for bottom in bottoms}) > 1:
            raise ShapeError(f"needs equal shapes, got {' and '.join(map(str, bottoms))}")
        if len(self.coeff) not in (0, len(bottoms)):
            raise ShapeError(f"coeff has {len(self.coeff)} numbers for {len(bottoms)} inputs")
        return (Blob(bottoms[0].shape),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        inputs = [as_real(bottom) for bottom in bottoms]
        match self.operation:
            case "SUM":
                factors = self.coeff or (1.0,) * len(inputs)
                scaled = [x if factor == 1 else factor * x for factor, x in zip(factors, inputs, strict=True)]
                return (reduce(add, scaled),), {}
            case "PROD":
                return (reduce(mul, inputs),), {}
            case "MAX":
                return (_maximum(inputs),), {}


def _maximum(inputs: Sequence[jax.Array]) -> jax.Array:
    first, second, *others = inputs
    greatest = jnp.where(first > second, first, second)
    for other in others:
        greatest = jnp.where(other > greatest, other, greatest)
    return greatest


class Axpy(Layer):
    """Scales each channel of each sample by its own number and adds: y = a x + b.

    Bottoms: a (batch, 1, 1, channels) or (batch, channels), then x and b of one shape. In YAML the current feature is
    a. Source: Hu et al., Squeeze-and-Excitation Networks, 2018; its Caffe, axpy_layer.cpp.
    """

    type: ClassVar[str] = "Axpy"
    bottoms: ClassVar[tuple[int, int | None]] = (3, 3)
    references: ClassVar[Mapping[str, int]] = {"of": 0, "plus": 0}
    example: ClassVar[str] = "{of: e1, plus: data}"

    of: Reference | None = Field(None, description="The layer whose channels the current feature scales: x.")
    plus: Reference | None = Field(None, description="The layer that is added: b.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        factor, x, term = bottoms
        if x.shape != term.shape:
            raise ShapeError(f"needs equal shapes to add, got {x} and {term}")
        wanted = x.caffe_shape[:2]
        if len(x.shape) < 2 or factor.caffe_shape not in (wanted, (*wanted, 1, 1)):
            raise ShapeError(f"needs one factor a sample and channel of {x}, got {factor}")
        return (Blob(x.shape),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        factor, x, term = (as_real(bottom) for bottom in bottoms)
        channels = stored_axis(1, x.ndim)
        spread = [size if axis in (0, channels) else 1 for axis, size in enumerate(x.shape)]
        return (factor.reshape(spread) * x + term,), {}


class Reduction(Layer):
    """Reduces all axes from `axis` on to one number: coeff times the sum, mean, sum of |x| or of x^2.

    Source: BVLC Caffe, reduction_layer.cpp.
    """

    type: ClassVar[str] = "Reduction"
    message: ClassVar[str] = "reduction_param"
    example: ClassVar[str] = "{operation: MEAN, axis: 1}"

    operation: Literal["SUM", "ASUM", "SUMSQ", "MEAN"] = Field(
        "SUM", description="Sum, sum of absolute values, sum of squares, or mean."
    )
    axis: int = Field(0, description="First axis that is reduced, in Caffe's order: batch, channels, height, width.")
    coeff: Real = Field(1.0, description="Factor on the result.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        shape = bottoms[0].caffe_shape
        return (Blob(shape[: caffe_axis(self.axis, len(shape))]),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = to_caffe_order(as_real(bottoms[0]))
        kept = x.shape[: caffe_axis(self.axis, x.ndim)]
        rows = x.reshape(*kept, math.prod(x.shape[len(kept) :])).astype(jnp.float32)
        match self.operation:
            case "SUM":
                result = jnp.sum(rows, axis=-1)
            case "ASUM":
                result = jnp.sum(jnp.abs(rows), axis=-1)
            case "SUMSQ":
                result = jnp.sum(jnp.square(rows), axis=-1)
            case "MEAN":
                result = jnp.mean(rows, axis=-1)
        return ((self.coeff * result).astype(x.dtype),), {}


class ArgMax(Layer):
    """The positions of the `top_k` greatest elements along an axis; of equal ones the highest position comes first.

    Without `axis`, each image is flattened in Caffe's order and the output is (batch, 1, top_k, 1) in that order, with
    the values as a second channel where `out_max_val` is set. With `axis`, `out_max_val` gives the values instead of
    the positions. Passes no gradient through positions. Source: Caffe, argmax_layer.cpp.
    """

    type: ClassVar[str] = "ArgMax"
    message: ClassVar[str] = "argmax_param"
    example: ClassVar[str] = "{axis: 1}"

    axis: int | None = Field(None, description="Axis that is searched, in Caffe's order; without it, the whole image.")
    top_k: Count = Field(1, description="How many positions are given.")
    out_max_val: bool = Field(
        False, description="Whether values are given: beside positions without axis, else instead."
    )

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        shape = bottoms[0].caffe_shape
        searched = math.prod(shape[1:]) if self.axis is None else shape[caffe_axis(self.axis, len(shape))]
        if self.top_k > searched:
            raise ShapeError(f"top_k is {self.top_k} but only {searched} elements are searched")
        dtype = "float32" if self.out_max_val else "int32"
        if self.axis is None:
            return (Blob(stored_shape(self._flat_shape(shape)), dtype),)
        axis = caffe_axis(self.axis, len(shape))
        return (Blob(stored_shape((*shape[:axis], self.top_k, *shape[axis + 1 :])), dtype),)

    def _flat_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        rank = max(len(shape), 3)
        return (shape[0], 2 if self.out_max_val else 1, self.top_k, *(1,) * (rank - 3))

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = as_real(bottoms[0])
        if self.axis is None:
            return (self._over_images(to_caffe_order(x)),), {}
        axis = stored_axis(self.axis, x.ndim)
        values, positions = _greatest(jnp.moveaxis(x, axis, -1), self.top_k)
        return (jnp.moveaxis(values if self.out_max_val else positions, -1, axis),), {}

    def _over_images(self, x: jax.Array) -> jax.Array:
        values, positions = _greatest(x.reshape(x.shape[0], -1), self.top_k)
        result = jnp.stack([positions.astype(x.dtype), values], axis=1) if self.out_max_val else positions
        return from_caffe_order(result.reshape(self._flat_shape(x.shape)))


def _greatest(x: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Values and int32 positions of the greatest elements along the last axis, later ones first among equals."""
    values, reversed_positions = jax.lax.top_k(jnp.flip(x, -1), count)
    return values, (x.shape[-1] - 1 - reversed_positions).astype(jnp.int32)
