"""Factors and terms: along some axes and repeated along the others, or where a label says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.base import (
    Arrays,
    Blob,
    Context,
    Filler,
    Forward,
    Layer,
    ParamSpec,
    ShapeError,
    stored_axis,
)
from segspec.layers.labelled import IgnoredLabels, is_ignored
from segspec.layers.pooling import check_image
from segspec.ops.cast import as_real
from segspec.ops.order import to_caffe_order
from segspec.schema.types import Real


class _Affine(Layer):
    """What Scale and Bias declare alike: which axes the factor or term follows."""

    bottoms: ClassVar[tuple[int, int | None]] = (1, 2)

    axis: int = Field(1, description="First axis that the blob follows, in Caffe's order.")
    num_axes: int = Field(1, ge=-1, description="How many axes it follows; -1: all from `axis` on; 0: a single number.")

    def _axes(self, rank: int, given: Blob | None) -> list[int]:
        """The stored axes that the blob follows, in Caffe's order."""
        if not -rank <= self.axis < rank:
            raise ShapeError(f"axis {self.axis} is outside an input of {rank} axes")
        first = self.axis % rank
        count = len(given.shape) if given is not None else self.num_axes if self.num_axes >= 0 else rank - first
        if first + count > rank:
            raise ShapeError(f"{count} axes from axis {first} reach beyond an input of {rank} axes")
        return [stored_axis(axis, rank) for axis in range(first, first + count)]

    def _learned_shape(self, x: Blob) -> tuple[int, ...]:
        return tuple(x.shape[axis] for axis in self._axes(len(x.shape), None))

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The shape of the first input."""
        x = bottoms[0]
        given = bottoms[1] if len(bottoms) == 2 else None
        wanted = tuple(x.shape[axis] for axis in self._axes(len(x.shape), given))
        if given is not None and given.caffe_shape != wanted:
            fitting = x if len(wanted) == 4 else Blob(wanted)
            raise ShapeError(f"the second input must be {fitting}, as the axes from {self.axis} on, but is {given}")
        return (x,)

    def _spread(self, values: jax.Array, x: jax.Array) -> jax.Array:
        """The blob, in Caffe's order of axes, shaped to broadcast against x."""
        axes = self._axes(x.ndim, Blob(values.shape))
        order = sorted(range(len(axes)), key=axes.__getitem__)
        shape = [x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)]
        return values.transpose(order).reshape(shape)


class Scale(_Affine):
    """Multiplies by a learned factor, or by a second input, and adds a learned bias on request.

    y = scale x (+ bias), the factor repeated along the axes it does not follow; by default one a channel.
    Source: BVLC Caffe, scale_layer.cpp.
    """

    type: ClassVar[str] = "Scale"
    message: ClassVar[str] = "scale_param"
    example: ClassVar[str] = "{bias_term: true}"

    filler: Filler = Field(Filler(value=1.0), description="Initial values of the factor.")
    bias_term: bool = Field(False, description="Whether a learned bias of the same shape is added.")
    bias_filler: Filler = Field(Filler(), description="Initial values of the bias.")

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """`scale`, unless it is the second input, and `bias`."""
        x = bottoms[0]
        given = bottoms[1] if len(bottoms) == 2 else None
        shape = tuple(x.shape[axis] for axis in self._axes(len(x.shape), given))
        scale = {} if given is not None else {"scale": ParamSpec(shape, self.filler)}
        return {**scale, **({"bias": ParamSpec(shape, self.bias_filler)} if self.bias_term else {})}

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = bottoms[0]
        scale = params["scale"] if len(bottoms) == 1 else to_caffe_order(bottoms[1])
        # In float32, as the gradients of factor and bias are sums over many pixels.
        y = x.astype(jnp.float32) * self._spread(scale, x)
        if self.bias_term:
            y = y + self._spread(params["bias"], x)
        return (y.astype(x.dtype),), {}


class Bias(_Affine):
    """Adds a learned term, or a second input, repeated along the axes it does not follow; by default one a channel.

    Source: BVLC Caffe, bias_layer.cpp.
    """

    type: ClassVar[str] = "Bias"
    message: ClassVar[str] = "bias_param"
    example: ClassVar[str] = "{axis: 1}"

    filler: Filler = Field(Filler(), description="Initial values of the term.")

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """`bias`, unless it is the second input."""
        return {} if len(bottoms) == 2 else {"bias": ParamSpec(self._learned_shape(bottoms[0]), self.filler)}

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = bottoms[0]
        term = params["bias"] if len(bottoms) == 1 else to_caffe_order(bottoms[1])
        return ((x.astype(jnp.float32) + self._spread(term, x)).astype(x.dtype),), {}


class BiasChannel(Layer):
    """Raises the scores of the classes that a label names: an E-step of weakly supervised training.

    IMAGE: the label lists the classes of an image, (batch, 1, 1, labels); everywhere in it the score of class 0 gains
    bg_bias and that of any other listed class fg_bias. PIXEL: the label is an image of classes; at each pixel class 0
    gains bg_bias and the pixel's own class, unless 0, fg_bias. A label that is -1, ignored or no class adds nothing.
    In YAML: `bottom: [score, label]`.
    Source: Papandreou et al. 2015; DeepLab's Caffe, bias_channel_layer.cpp.
    """

    type: ClassVar[str] = "BiasChannel"
    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    message: ClassVar[str] = "bias_channel_param"
    example: ClassVar[str] = "{bg_bias: 3, fg_bias: 5, label_type: PIXEL}"

    bg_bias: Real = Field(1.0, ge=0, description="Added to class 0.")
    fg_bias: Real = Field(2.0, ge=0, description="Added to any other class.")
    ignore_label: IgnoredLabels = Field(None, description="Label, or list of labels, that add nothing.")
    label_type: Literal["IMAGE", "PIXEL"] = Field("IMAGE", description="Whether a label belongs to an image or pixel.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The shape of the score."""
        score, label = bottoms
        check_image(score)
        batch, height, width, _ = score.shape
        if self.label_type == "PIXEL" and label.shape != (batch, height, width, 1):
            raise ShapeError(f"label is {label} but the score is {score}: PIXEL needs a label a pixel")
        if self.label_type == "IMAGE" and (len(label.shape) != 4 or label.shape[:3] != (batch, 1, 1)):
            raise ShapeError(f"label is {label}: IMAGE needs a list of classes an image, {batch}x1x1xlabels")
        return (Blob(score.shape),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        score, label = as_real(bottoms[0]), bottoms[1].astype(jnp.int32)
        classes = jnp.arange(score.shape[3], dtype=jnp.int32)
        counted = ~is_ignored(label, self.ignore_label) & (label >= 0) & (label < score.shape[3])
        named = jnp.where(counted, label, -1)[..., None] == classes
        listed = jnp.sum(named, axis=3).astype(score.dtype)
        biases = jnp.where(classes == 0, self.bg_bias, self.fg_bias).astype(score.dtype)
        raised = score + listed * biases
        if self.label_type == "IMAGE":
            return (raised,), {}
        below = (counted & (label > 0)).astype(score.dtype)
        return (raised.at[..., :1].add(below * self.bg_bias),), {}
