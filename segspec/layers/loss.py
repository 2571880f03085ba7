"""Losses: what training makes small. Each gives one scalar; a net's loss is their sum, each times its loss_weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from pydantic import Field, WithJsonSchema, model_validator

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, Role, ShapeError, stored_axis
from segspec.layers.labelled import (
    LOSS_PARAM,
    ClassWeights,
    check_classes,
    check_label,
    check_weights,
    class_weights_field,
    fits,
    ignore_label_field,
    score_and_label,
    shaped,
    weight_array,
)
from segspec.ops import losses
from segspec.ops.losses import Normalization
from segspec.schema.types import Real


def _normalization_field(default: Normalization) -> Normalization:
    declared: Normalization = Field(
        default,
        description="What the sum is divided by: counted pixels (VALID), all pixels (FULL), images (BATCH_SIZE), "
        "or nothing (NONE).",
        json_schema_extra=LOSS_PARAM,
    )
    return declared


class LossLayer(Layer):
    """A layer whose one output is a scalar to be made small."""

    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    role: ClassVar[Role] = "loss"

    def check(self, bottoms: Sequence[Blob]) -> None:
        """Raises ShapeError where the bottoms do not fit."""
        check_label(bottoms)

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        """The loss, a float32 scalar."""
        raise NotImplementedError

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        self.check(bottoms)
        return (Blob(()),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        return (self.loss(bottoms),), {}


class SoftmaxWithLoss(LossLayer):
    """Cross entropy of the softmax of a score with a label.

    -sum w[l] log p_l / Z over the pixels that count, p the softmax over the classes and l a pixel's label. Z counts
    pixels (see `normalization`), not weights. Computed from the score by log-sum-exp, so that it is finite for every
    finite score. A second output is p. Source: Caffe, softmax_loss_layer.cpp; weights as in caffe-segnet.
    """

    type: ClassVar[str] = "SoftmaxWithLoss"
    tops: ClassVar[tuple[int, int | None]] = (1, 2)
    short: ClassVar[str] = "loss"
    top_names: ClassVar[tuple[str, ...]] = ("probability",)
    message: ClassVar[str] = "loss_param"
    example: ClassVar[str] = "{ignore_label: 11, class_weights: median_frequency}"

    ignore_label: int | None = ignore_label_field()
    class_weights: ClassWeights = class_weights_field()
    normalization: Normalization = _normalization_field("VALID")
    axis: int = Field(
        1, description="Axis of the classes, in Caffe's order.", json_schema_extra={"message": "softmax_param"}
    )

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        score = bottoms[0]
        check_label(bottoms, self.axis)
        check_classes(score, self.axis)
        check_weights(self.class_weights, score.shape[stored_axis(self.axis, len(score.shape))])
        return (Blob(()), Blob(score.shape))[:tops]

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        score, label, counted = score_and_label(bottoms, self.ignore_label, self.axis)
        each = losses.softmax_cross_entropy(score, label, weight_array(self.class_weights))
        loss = losses.normalized_sum(each, counted, self.normalization, _outer(bottoms[0], self.axis))
        if ctx.tops == 1:
            return (loss,), {}
        probability = jax.nn.softmax(bottoms[0].astype(jnp.float32), axis=stored_axis(self.axis, bottoms[0].ndim))
        return (loss, probability.astype(bottoms[0].dtype)), {}


def _outer(score: jax.Array, axis: int) -> int:
    """Positions before the class axis in Caffe's order: images, for the usual axis 1."""
    shape = Blob(score.shape).caffe_shape
    outer = 1
    for size in shape[: axis % len(shape)]:
        outer *= size
    return outer


class SigmoidCrossEntropyLoss(LossLayer):
    """Cross entropy of sigmoids with targets between 0 and 1, one decision for each element.

    sum -(t log s(x) + (1 - t) log(1 - s(x))) / Z over the elements whose target is not `ignore_label`.
    Source: BVLC Caffe, sigmoid_cross_entropy_loss_layer.cpp.
    """

    type: ClassVar[str] = "SigmoidCrossEntropyLoss"
    message: ClassVar[str] = "loss_param"
    example: ClassVar[str] = "{ignore_label: 255, normalization: VALID}"

    ignore_label: int | None = ignore_label_field()
    normalization: Normalization = _normalization_field("BATCH_SIZE")

    def check(self, bottoms: Sequence[Blob]) -> None:
        check_equal(bottoms, "target")

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, target = bottoms[0], shaped(bottoms[1], bottoms[0].shape)
        counted = losses.counted_pixels(target, self.ignore_label)
        each = losses.sigmoid_cross_entropy(score, target)
        return losses.normalized_sum(each, counted, self.normalization, score.shape[0])


def check_equal(bottoms: Sequence[Blob], second: str) -> None:
    """Raises ShapeError unless the second input, called `second`, fits the shape of the first."""
    if not fits(bottoms[1], bottoms[0]):
        raise ShapeError(f"{second} is {bottoms[1]} but the score is {bottoms[0]}: sizes differ")


class FocalLoss(LossLayer):
    """Cross entropy that gives less weight to pixels already classified well.

    -sum w[l] (1 - p_l)^gamma log p_l / Z; gamma 0 is SoftmaxWithLoss. Source: Lin et al., Focal Loss for Dense Object
    Detection, 2017 (alpha there is `class_weights` here).
    """

    type: ClassVar[str] = "FocalLoss"
    in_caffe: ClassVar[bool] = False
    message: ClassVar[str] = "focal_loss_param"
    example: ClassVar[str] = "{gamma: 2, ignore_label: 11}"

    gamma: Real = Field(2.0, ge=0, description="How strongly well classified pixels lose weight; 0: not at all.")
    ignore_label: int | None = ignore_label_field()
    class_weights: ClassWeights = class_weights_field()
    normalization: Normalization = _normalization_field("VALID")

    def check(self, bottoms: Sequence[Blob]) -> None:
        check_label(bottoms)
        check_classes(bottoms[0])
        check_weights(self.class_weights, bottoms[0].caffe_shape[1])

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, label, counted = score_and_label(bottoms, self.ignore_label)
        each = losses.focal_loss(score, label, self.gamma, weight_array(self.class_weights))
        return losses.normalized_sum(each, counted, self.normalization, score.shape[0])


class HingeLoss(LossLayer):
    """One-against-all hinge loss of a score with a label.

    sum h (L1) or sum h^2 (L2) over pixels and classes, divided by the pixels that count; h = max(0, 1 + s x), s is -1
    for a pixel's own class and 1 for all others. Source: Caffe, hinge_loss_layer.cpp.
    """

    type: ClassVar[str] = "HingeLoss"
    message: ClassVar[str] = "hinge_loss_param"
    example: ClassVar[str] = "{norm: L2}"

    norm: Literal["L1", "L2"] = Field("L1", description="L1: sum of the margins' excess; L2: sum of its squares.")
    ignore_label: int | None = ignore_label_field()

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, label, counted = score_and_label(bottoms, self.ignore_label)
        return losses.normalized_sum(losses.hinge(score, label, squared=self.norm == "L2"), counted)


class MultinomialLogisticLoss(LossLayer):
    """-sum log p_l over the pixels that count, divided by their number; the input holds probabilities.

    Prefer SoftmaxWithLoss, which is exact for probabilities near 0. Source: Caffe, multinomial_logistic_loss_layer.cpp.
    """

    type: ClassVar[str] = "MultinomialLogisticLoss"
    example: ClassVar[str] = "{}"

    ignore_label: int | None = ignore_label_field()

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        probability, label, counted = score_and_label(bottoms, self.ignore_label)
        return losses.normalized_sum(losses.multinomial_logistic(probability, label), counted)


Matrix = Annotated[
    tuple[tuple[Real, ...], ...],
    WithJsonSchema({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}),
]


class InfogainLoss(LossLayer):
    """Cross entropy in which a mistake between two classes costs what a matrix says.

    -sum_pixels sum_k H[l, k] log p_k / Z with p the softmax of the score; H the identity gives SoftmaxWithLoss. H is
    `matrix`, or a third bottom. Source: BVLC Caffe, infogain_loss_layer.cpp. In the dialect of caffe-segnet the input
    already holds probabilities.
    """

    type: ClassVar[str] = "InfogainLoss"
    bottoms: ClassVar[tuple[int, int | None]] = (2, 3)
    message: ClassVar[str] = "infogain_loss_param"
    example: ClassVar[str] = "{matrix: [[1, 0.1], [0.5, 1]]}"

    matrix: Matrix = Field((), description="H: one row a label, one column a class.")
    source: str = Field(
        "", description="File that holds H, read before the net runs, where neither of the others does."
    )
    dialect: Literal["bvlc", "segnet"] = Field(
        "bvlc", description="bvlc: the input holds scores; segnet: it holds probabilities."
    )
    ignore_label: int | None = ignore_label_field()
    normalization: Normalization = _normalization_field("VALID")
    axis: int = Field(1, description="Axis of the classes, in Caffe's order.")

    @model_validator(mode="after")
    def _square(self) -> Self:
        if any(len(row) != len(self.matrix) for row in self.matrix):
            raise ValueError("matrix needs as many columns as rows: one a class")
        return self

    def check(self, bottoms: Sequence[Blob]) -> None:
        check_label(bottoms, self.axis)
        score = bottoms[0]
        classes = score.shape[stored_axis(self.axis, len(score.shape))]
        if len(bottoms) == 3 and bottoms[2].size != classes**2:
            raise ShapeError(f"the third input is {bottoms[2]}: the matrix needs {classes} x {classes} numbers")
        if len(bottoms) == 2 and not self.matrix and not self.source:
            raise ShapeError("no matrix is given: write 'matrix: [[...], ...]', or name it as a third bottom")
        if self.matrix and len(self.matrix) != classes:
            raise ShapeError(f"matrix has {len(self.matrix)} rows but the score has {classes} channels")

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, label, counted = score_and_label(bottoms, self.ignore_label, self.axis)
        take_log = losses.log_softmax if self.dialect == "bvlc" else losses.log_probability
        each = losses.infogain(take_log(score), label, self._matrix(bottoms, score.shape[-1]))
        return losses.normalized_sum(each, counted, self.normalization, _outer(bottoms[0], self.axis))

    def _matrix(self, bottoms: Sequence[jax.Array], classes: int) -> jax.Array:
        if len(bottoms) == 3:
            return jax.lax.stop_gradient(bottoms[2].astype(jnp.float32).reshape(classes, classes))
        if not self.matrix:
            raise ValueError(f"the matrix in {self.source} must be read before the net runs")
        return jnp.asarray(self.matrix, jnp.float32)
