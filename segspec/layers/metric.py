"""Metrics inside the net: figures that are shown and pass no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer, Role, ShapeError, stored_axis
from segspec.layers.labelled import (
    IgnoredLabels,
    Labelled,
    check_label,
    ignore_label_field,
    is_ignored,
    score_and_label,
)
from segspec.schema.types import Count


def _share(part: jax.Array, whole: jax.Array, empty: float) -> jax.Array:
    """part / whole as float32; `empty` where whole is 0."""
    return jnp.where(whole > 0, part / jnp.maximum(whole, 1), empty).astype(jnp.float32)


class _PixelAccuracy(Layer):
    """What the two accuracies do alike: a pixel is right when few classes stand before its own."""

    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    role: ClassVar[Role] = "metric"

    top_k: Count = Field(1, description="A pixel is right when its class is among this many highest scores.")
    axis: int = Field(1, description="Axis of the classes, in Caffe's order.")

    def _classes(self, score: Blob) -> int:
        return score.shape[stored_axis(self.axis, len(score.shape))]

    def _check(self, bottoms: Sequence[Blob]) -> None:
        check_label(bottoms, self.axis)
        classes = self._classes(bottoms[0])
        if self.top_k > classes:
            raise ShapeError(f"top_k is {self.top_k} but the score has {classes} channels")

    def _right(self, pixels: Labelled, *, strict: bool) -> jax.Array:
        """Which pixels are right; in a tie the higher class stands before the lower, or with `strict` every other."""
        classes = pixels.score.shape[-1]
        index = jnp.arange(classes, dtype=jnp.int32)
        own = pixels.label[..., None] == index
        score = pixels.score.astype(jnp.float32)
        mine = jnp.sum(jnp.where(own, score, 0.0), axis=-1, keepdims=True)
        tied = (score == mine) & (~own if strict else index > pixels.label[..., None])
        ahead = jnp.sum(~(score <= mine) | tied, axis=-1)
        return jnp.any(own, axis=-1) & (ahead < self.top_k)


class Accuracy(_PixelAccuracy):
    """The share of pixels whose own class is among the `top_k` highest scores.

    Pixels with the ignored label leave the count; without a counted pixel the accuracy is 0. A second output is the
    recall of each class. Dialect bvlc: a pixel with a tie at its own class is wrong, an absent class has recall 0
    (BVLC Caffe, accuracy_layer.cpp). Dialect segnet: ties go to the higher class, an absent class has recall 1
    (caffe-segnet).
    """

    type: ClassVar[str] = "Accuracy"
    tops: ClassVar[tuple[int, int | None]] = (1, 2)
    top_names: ClassVar[tuple[str, ...]] = ("per_class",)
    message: ClassVar[str] = "accuracy_param"
    example: ClassVar[str] = "{ignore_label: 11}"

    ignore_label: int | None = ignore_label_field("accuracy_param")
    dialect: Literal["bvlc", "segnet"] = Field("bvlc", description="Whose rules decide ties and absent classes.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        self._check(bottoms)
        return (Blob(()), Blob((self._classes(bottoms[0]),)))[:tops]

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        pixels = score_and_label([jax.lax.stop_gradient(bottoms[0]), bottoms[1]], self.ignore_label, self.axis)
        right = self._right(pixels, strict=self.dialect == "bvlc")
        accuracy = _share(jnp.sum(right & pixels.counted), jnp.sum(pixels.counted), 0.0)
        return ((accuracy, self._recall(pixels, right)) if ctx.tops > 1 else (accuracy,)), {}

    def _recall(self, pixels: Labelled, right: jax.Array) -> jax.Array:
        classes = pixels.score.shape[-1]
        own = pixels.counted[..., None] & (pixels.label[..., None] == jnp.arange(classes, dtype=jnp.int32))
        axes = tuple(range(own.ndim - 1))
        absent = 0.0 if self.dialect == "bvlc" else 1.0
        return _share(jnp.sum(own & right[..., None], axis=axes), jnp.sum(own, axis=axes), absent)


class EltwiseAccuracy(_PixelAccuracy):
    """The share of pixels whose own class is among the `top_k` highest scores; ties go to the higher class.

    Pixels with the ignored label leave the count; without a counted pixel the accuracy is 0.
    Source: DeconvNet's Caffe, eltwise_accuracy_layer.cpp.
    """

    type: ClassVar[str] = "EltwiseAccuracy"
    message: ClassVar[str] = "eltwise_accuracy_param"
    example: ClassVar[str] = "{ignore_label: 255}"

    ignore_label: int | None = ignore_label_field("eltwise_accuracy_param")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        self._check(bottoms)
        return (Blob(()),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        pixels = score_and_label([jax.lax.stop_gradient(bottoms[0]), bottoms[1]], self.ignore_label, self.axis)
        right = self._right(pixels, strict=False)
        return (_share(jnp.sum(right & pixels.counted), jnp.sum(pixels.counted), 0.0),), {}


class SegAccuracy(Layer):
    """Three figures of a batch: pixel accuracy, mean recall, mean intersection over union.

    From the confusion matrix of the counted pixels; ties go to the higher class. The mean recall is over the classes
    that are present, the mean IoU over all, a class in neither label nor prediction counting 1. Without a counted pixel
    accuracy and recall are 0. Source: DeepLab's Caffe, seg_accuracy_layer.cpp, confusion_matrix.cpp.
    """

    type: ClassVar[str] = "SegAccuracy"
    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    role: ClassVar[Role] = "metric"
    message: ClassVar[str] = "seg_accuracy_param"
    example: ClassVar[str] = "{ignore_label: 255}"

    ignore_label: IgnoredLabels = Field(None, description="Label, or list of labels, of pixels that count nowhere.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """(3,): accuracy, mean recall, mean IoU."""
        check_label(bottoms)
        return (Blob((3,)),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        score, label, _ = score_and_label([jax.lax.stop_gradient(bottoms[0]), bottoms[1]], None)
        classes = score.shape[-1]
        counted = ~is_ignored(label, self.ignore_label) & (label >= 0) & (label < classes)
        guess = classes - 1 - jnp.argmax(jnp.flip(score, -1), axis=-1)
        pairs = jnp.where(counted, label * classes + guess, classes**2).ravel()
        return (_figures(jnp.bincount(pairs, length=classes**2).reshape(classes, classes)),), {}


def _figures(confusion: jax.Array) -> jax.Array:
    """Accuracy, mean recall and mean IoU of a (label, prediction) matrix of counts."""
    right, present = jnp.diagonal(confusion), jnp.sum(confusion, axis=1)
    union = present + jnp.sum(confusion, axis=0) - right
    accuracy = _share(jnp.sum(right), jnp.sum(present), 0.0)
    recall = _share(jnp.sum(_share(right, present, 0.0)), jnp.sum(present > 0), 0.0)
    return jnp.stack([accuracy, recall, jnp.mean(_share(right, union, 1.0))])
