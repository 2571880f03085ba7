"""Layers that put elements into another order: of axes, of channels, of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from pydantic import Field, model_validator

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, ShapeError, stored_axis
from segspec.ops.cast import as_real
from segspec.ops.order import from_caffe_order, stored_shape, to_caffe_order
from segspec.schema.types import Count, Integers


class Permute(Layer):
    """Puts the axes into another order: axis i of the output is axis order[i] of the input, in Caffe's order.

    Axes that `order` does not name follow in their old order. Source: SSD's Caffe, permute_layer.cpp.
    """

    type: ClassVar[str] = "Permute"
    message: ClassVar[str] = "permute_param"
    example: ClassVar[str] = "{order: [0, 2, 3, 1]}"

    order: Integers = Field(description="The input's axes in their new order: 0 batch, 1 channels, 2 height, 3 width.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.order)) != len(self.order) or any(axis < 0 for axis in self.order):
            raise ValueError("order names each axis at most once, from 0")
        return self

    def _axes(self, rank: int) -> tuple[int, ...]:
        if any(axis >= rank for axis in self.order):
            raise ShapeError(f"order {list(self.order)} names an axis that an input of {rank} axes lacks")
        return (*self.order, *(axis for axis in range(rank) if axis not in self.order))

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        shape = bottoms[0].caffe_shape
        return (Blob(stored_shape(tuple(shape[axis] for axis in self._axes(len(shape)))), bottoms[0].dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = to_caffe_order(bottoms[0])
        return (from_caffe_order(jnp.transpose(x, self._axes(x.ndim))),), {}


class ShuffleChannel(Layer):
    """Mixes the channels of groups: channel j of group i becomes channel i of group j.

    Source: Zhang et al., ShuffleNet, 2018; its Caffe, shuffle_channel_layer.cpp.
    """

    type: ClassVar[str] = "ShuffleChannel"
    message: ClassVar[str] = "shuffle_channel_param"
    example: ClassVar[str] = "{group: 3}"

    group: Count = Field(1, description="Groups that the channels form before.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        x = bottoms[0]
        channels = x.shape[stored_axis(1, len(x.shape))]
        if channels % self.group:
            raise ShapeError(f"group {self.group} must divide the {channels} channels of the input")
        return (Blob(x.shape, x.dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = bottoms[0]
        axis = stored_axis(1, x.ndim)
        before, channels, behind = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
        groups = x.reshape(*before, self.group, channels // self.group, *behind)
        return (jnp.swapaxes(groups, axis, axis + 1).reshape(x.shape),), {}


class BatchReindex(Layer):
    """Picks samples of a batch by their numbers, each as often as it is named: y[i] = x[index[i]].

    Bottoms: the batch, and one number a sample of the output. A number that is no sample gives NaN.
    Source: BVLC Caffe, batch_reindex_layer.cpp.
    """

    type: ClassVar[str] = "BatchReindex"
    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    example: ClassVar[str] = "{}"

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        x, index = bottoms
        if len(index.shape) != 1:
            raise ShapeError(f"the second input is {index}: it must be a plain list of sample numbers")
        return (Blob((*index.shape, *x.shape[1:])),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x, index = as_real(bottoms[0]), bottoms[1].astype(jnp.int32)
        return (x.at[index].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False),), {}
