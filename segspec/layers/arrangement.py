"""Layers that move elements and change none: joining, cutting, reshaping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import BeforeValidator, Field, WithJsonSchema

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, Role, ShapeError, stored_axis
from segspec.ops.order import from_caffe_order, stored_shape, to_caffe_order
from segspec.schema.types import Count, Integers, Reference, References

AXES = ("batch", "channels", "height", "width")


def caffe_axis(axis: int, rank: int) -> int:
    """The axis counted from the front, in Caffe's order. Raises ShapeError when there is none."""
    stored_axis(axis, rank)
    return axis % rank


def axis_name(axis: int, rank: int) -> str:
    """What an axis in Caffe's order holds: `channels` for axis 1 of rank 4."""
    return AXES[axis] if rank == 4 else f"axis {axis}"


class Concat(Layer):
    """Joins its inputs along one axis, by default the channels, in the order of the bottoms.

    Source: Caffe, concat_layer.cpp.
    """

    type: ClassVar[str] = "Concat"
    bottoms: ClassVar[tuple[int, int | None]] = (2, None)
    references: ClassVar[Mapping[str, int]] = {"with": 0}
    message: ClassVar[str] = "concat_param"
    example: ClassVar[str] = "{with: e1}"

    with_: References = Field(
        (), alias="with", description="The layers whose outputs follow the current feature: one name or a list."
    )
    axis: int = Field(1, description="Axis to join along, in Caffe's order: batch, channels, height, width.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        axis = caffe_axis(self.axis, len(bottoms[0].shape))
        first = bottoms[0].caffe_shape
        for other in bottoms[1:]:
            self._check_fit(first, other.caffe_shape, axis)
        joined = sum(bottom.caffe_shape[axis] for bottom in bottoms)
        return (Blob(stored_shape((*first[:axis], joined, *first[axis + 1 :])), bottoms[0].dtype),)

    def _check_fit(self, first: tuple[int, ...], other: tuple[int, ...], joined: int) -> None:
        if len(first) != len(other):
            raise ShapeError(f"joins inputs of equal rank, got {len(first)} and {len(other)} axes")
        differing = [axis for axis in range(len(first)) if axis != joined and first[axis] != other[axis]]
        if not differing:
            return
        if len(first) == 4 and min(differing) >= 2:
            remedy = "crop the larger one first (Crop: {like: NAME})"
            raise ShapeError(f"sizes differ: {_size(first)} and {_size(other)}; {remedy}")
        words = axis_name(differing[0], len(first))
        raise ShapeError(f"{words} differ: {first[differing[0]]} and {other[differing[0]]}")

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        return (jnp.concatenate(bottoms, axis=stored_axis(self.axis, bottoms[0].ndim)),), {}


def _size(caffe_shape: tuple[int, ...]) -> str:
    return "x".join(map(str, caffe_shape[2:]))


class Slice(Layer):
    """Cuts its input along one axis into as many outputs as the layer has tops: the opposite of Concat.

    Source: Caffe, slice_layer.cpp.
    """

    type: ClassVar[str] = "Slice"
    tops: ClassVar[tuple[int, int | None]] = (1, None)
    message: ClassVar[str] = "slice_param"
    example: ClassVar[str] = "{axis: 1, slice_point: [1, 3]}"

    axis: int = Field(1, description="Axis to cut, in Caffe's order: batch, channels, height, width.")
    slice_point: Integers = Field(
        (), description="Where the second and each later output begins; without it, all outputs are equally large."
    )

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        shape = bottoms[0].caffe_shape
        axis = caffe_axis(self.axis, len(shape))
        bounds = self._bounds(shape[axis], tops)
        return tuple(
            Blob(stored_shape((*shape[:axis], end - start, *shape[axis + 1 :])), bottoms[0].dtype)
            for start, end in pairwise(bounds)
        )

    def _bounds(self, size: int, tops: int) -> tuple[int, ...]:
        if not self.slice_point:
            if size % tops:
                raise ShapeError(f"cannot cut {size} into {tops} equal parts; give slice_point")
            return tuple(range(0, size + 1, size // tops))
        if len(self.slice_point) != tops - 1:
            raise ShapeError(f"{tops} tops need {tops - 1} slice points, got {len(self.slice_point)}")
        bounds = (0, *self.slice_point, size)
        if any(start >= end for start, end in pairwise(bounds)):
            raise ShapeError(f"slice_point must rise between 1 and {size - 1}, got {list(self.slice_point)}")
        return bounds

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        axis = stored_axis(self.axis, bottoms[0].ndim)
        bounds = self._bounds(bottoms[0].shape[axis], ctx.tops)
        return tuple(jax.lax.slice_in_dim(bottoms[0], *part, axis=axis) for part in pairwise(bounds)), {}


class Split(Layer):
    """Gives its input under several names. Never needed in a spec, where any layer may be read twice. Source: Caffe."""

    type: ClassVar[str] = "Split"
    tops: ClassVar[tuple[int, int | None]] = (1, None)
    example: ClassVar[str] = "{}"

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        return (bottoms[0],) * tops

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        return (bottoms[0],) * ctx.tops, {}


class Silence(Layer):
    """Reads its inputs and gives nothing, so that Caffe does not print them. The chain goes on as a metric leaves it.

    Source: Caffe, silence_layer.cpp.
    """

    type: ClassVar[str] = "Silence"
    bottoms: ClassVar[tuple[int, int | None]] = (1, None)
    tops: ClassVar[tuple[int, int | None]] = (0, 0)
    role: ClassVar[Role] = "metric"
    example: ClassVar[str] = "{}"

    def shapes(self, bottoms: Sequence[Blob], tops: int = 0) -> tuple[Blob, ...]:
        return ()

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        return (), {}


def _offsets(value: object) -> object:
    if value == "center" or isinstance(value, list | tuple):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    raise ValueError("must be a whole number, a list of them, or the word center")


Offset = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...] | Literal["center"],
    BeforeValidator(_offsets),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "array", "items": {"type": "integer", "minimum": 0}},
                {"const": "center"},
            ]
        }
    ),
]


class Crop(Layer):
    """Cuts its first input to the size of its second, from `axis` on.

    Source: BVLC Caffe, crop_layer.cpp, where offsets are numbers and default to 0; `center` is ours.
    """

    type: ClassVar[str] = "Crop"
    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    references: ClassVar[Mapping[str, int]] = {"like": 0}
    message: ClassVar[str] = "crop_param"
    example: ClassVar[str] = "{like: data, offset: center}"

    like: Reference | None = Field(None, description="The layer to whose size the current feature is cut.")
    axis: int = Field(2, description="First axis that is cut, in Caffe's order; 2 cuts height and width.")
    offset: Offset = Field(
        (0,), description="Elements left out before the cut: one number, one for each axis that is cut, or center."
    )

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        starts, sizes = self._window(bottoms[0].caffe_shape, bottoms[1].caffe_shape)
        for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            full = bottoms[0].caffe_shape[axis]
            if start + size > full or start < 0:
                words = axis_name(axis, len(sizes))
                at = f" at offset {start}" if start > 0 else ""
                raise ShapeError(f"cannot cut {words} {full} to {size}{at}: it is too small")
        return (Blob(stored_shape(sizes), bottoms[0].dtype),)

    def _window(self, full: tuple[int, ...], like: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Starts and sizes of the cut in Caffe's order."""
        if len(full) != len(like):
            raise ShapeError(f"cuts an input to one of equal rank, got {len(full)} and {len(like)} axes")
        first = caffe_axis(self.axis, len(full))
        sizes = (*full[:first], *like[first:])
        if self.offset == "center":
            return tuple((whole - size) // 2 for whole, size in zip(full, sizes, strict=True)), sizes
        offsets = self.offset * (len(full) - first) if len(self.offset) == 1 else self.offset
        if len(offsets) != len(full) - first:
            raise ShapeError(f"offset has {len(offsets)} numbers for {len(full) - first} axes")
        return (*(0,) * first, *map(int, offsets)), sizes

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x, like = bottoms
        starts, sizes = self._window(Blob(x.shape).caffe_shape, Blob(like.shape).caffe_shape)
        starts, sizes = stored_shape(starts), stored_shape(sizes)
        return (jax.lax.slice(x, starts, [start + size for start, size in zip(starts, sizes, strict=True)]),), {}


class _Reshaping(Layer):
    """Gives the same elements, in Caffe's order, another shape."""

    def target(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The new shape for an input shape, both in Caffe's order."""
        raise NotImplementedError

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        return (Blob(stored_shape(self.target(bottoms[0].caffe_shape)), bottoms[0].dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = to_caffe_order(bottoms[0])
        return (from_caffe_order(x.reshape(self.target(x.shape))),), {}


class Flatten(_Reshaping):
    """Joins the axes from `axis` to `end_axis` into one, in Caffe's order. Source: Caffe, flatten_layer.cpp."""

    type: ClassVar[str] = "Flatten"
    message: ClassVar[str] = "flatten_param"
    example: ClassVar[str] = "{axis: 1}"

    axis: int = Field(1, description="First axis to join, in Caffe's order.")
    end_axis: int = Field(-1, description="Last axis to join, in Caffe's order.")

    def target(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        start, end = (caffe_axis(axis, len(shape)) for axis in (self.axis, self.end_axis))
        if start > end:
            raise ShapeError(f"axis {start} comes after end_axis {end}")
        return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


class Reshape(_Reshaping):
    """Replaces `num_axes` axes from `axis` on by those in `shape`, in Caffe's order.

    Source: Caffe, reshape_layer.cpp.
    """

    type: ClassVar[str] = "Reshape"
    message: ClassVar[str] = "reshape_param"
    example: ClassVar[str] = "{shape: [0, -1]}"

    shape: tuple[Annotated[int, Field(ge=-1)], ...] = Field(
        description="New axes, in Caffe's order; 0 keeps the axis in its place, -1 (once) takes what is left."
    )
    axis: int = Field(0, description="First axis that is replaced; negative numbers count from behind the last.")
    num_axes: int = Field(-1, ge=-1, description="How many axes are replaced; -1: all that follow.")

    def target(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        start = self.axis if self.axis >= 0 else len(shape) + 1 + self.axis
        end = len(shape) if self.num_axes == -1 else start + self.num_axes
        if not 0 <= start <= end <= len(shape):
            raise ShapeError(f"axes {start} to {end} are outside an input of {len(shape)} axes")
        middle = self._middle(shape, start, end)
        return (*shape[:start], *middle, *shape[end:])

    def _middle(self, shape: tuple[int, ...], start: int, end: int) -> tuple[int, ...]:
        if any(size == 0 and start + place >= len(shape) for place, size in enumerate(self.shape)):
            raise ShapeError(f"shape {list(self.shape)} keeps an axis that an input of {len(shape)} axes lacks")
        sizes = [size or shape[start + place] for place, size in enumerate(self.shape)]
        available = math.prod(shape[start:end])
        if sizes.count(-1) == 1:
            known = math.prod(size for size in sizes if size != -1)
            sizes[sizes.index(-1)] = available // known
        if math.prod(sizes) != available or -1 in sizes:
            raise ShapeError(f"{available} elements cannot take the shape {list(self.shape)}")
        return tuple(sizes)


class Tile(Layer):
    """Repeats its input along one axis. Source: BVLC Caffe, tile_layer.cpp."""

    type: ClassVar[str] = "Tile"
    message: ClassVar[str] = "tile_param"
    example: ClassVar[str] = "{axis: 1, tiles: 3}"

    axis: int = Field(1, description="Axis to repeat, in Caffe's order: batch, channels, height, width.")
    tiles: Count = Field(description="How many copies.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        axis = stored_axis(self.axis, len(bottoms[0].shape))
        shape = bottoms[0].shape
        return (Blob((*shape[:axis], shape[axis] * self.tiles, *shape[axis + 1 :]), bottoms[0].dtype),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        repeats = [1] * bottoms[0].ndim
        repeats[stored_axis(self.axis, bottoms[0].ndim)] = self.tiles
        return (jnp.tile(bottoms[0], repeats),), {}
