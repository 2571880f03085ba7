"""Metrics inside the net: figures that are shown and pass no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.base import Arrays, Blob, Context, Count, Layer, Role, ShapeError, stored_axis
from segspec.layers.labelled import Labelled, check_label, ignore_label_field, score_and_label


class Accuracy(Layer):
    """The share of pixels whose own class is among the `top_k` highest scores.

    Pixels with the ignored label leave the count; without a counted pixel the accuracy is 0. A second output is the
    recall of each class. Dialect bvlc: a pixel with a tie at its own class is wrong, an absent class has recall 0
    (BVLC Caffe, accuracy_layer.cpp). Dialect segnet: ties go to the higher class, an absent class has recall 1
    (caffe-segnet).
    """

    type: ClassVar[str] = "Accuracy"
    bottoms: ClassVar[tuple[int, int | None]] = (2, 2)
    tops: ClassVar[tuple[int, int | None]] = (1, 2)
    role: ClassVar[Role] = "metric"
    top_names: ClassVar[tuple[str, ...]] = ("per_class",)
    message: ClassVar[str] = "accuracy_param"
    example: ClassVar[str] = "{ignore_label: 11}"

    ignore_label: int | None = ignore_label_field("accuracy_param")
    top_k: Count = Field(1, description="A pixel is right when its class is among this many highest scores.")
    axis: int = Field(1, description="Axis of the classes, in Caffe's order.")
    dialect: Literal["bvlc", "segnet"] = Field("bvlc", description="Whose rules decide ties and absent classes.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        check_label(bottoms, self.axis)
        score = bottoms[0]
        classes = score.shape[stored_axis(self.axis, len(score.shape))]
        if self.top_k > classes:
            raise ShapeError(f"top_k is {self.top_k} but the score has {classes} channels")
        return (Blob(()), Blob((classes,)))[:tops]

    def forward(
        self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context
    ) -> tuple[tuple[jax.Array, ...], dict[str, jax.Array]]:
        pixels = score_and_label([jax.lax.stop_gradient(bottoms[0]), bottoms[1]], self.ignore_label, self.axis)
        right = self._rank(pixels) < self.top_k
        accuracy = _share(jnp.sum(right & pixels.counted), jnp.sum(pixels.counted), 0.0)
        return ((accuracy, self._recall(pixels, right)) if ctx.tops > 1 else (accuracy,)), {}

    def _rank(self, pixels: Labelled) -> jax.Array:
        """How many other classes stand before each pixel's own; all of them where the label is no class."""
        classes = pixels.score.shape[-1]
        index = jnp.arange(classes, dtype=jnp.int32)
        own = pixels.label[..., None] == index
        score = pixels.score.astype(jnp.float32)
        mine = jnp.sum(jnp.where(own, score, 0.0), axis=-1, keepdims=True)
        tied = (score == mine) & (~own if self.dialect == "bvlc" else index > pixels.label[..., None])
        ahead = jnp.sum(~(score <= mine) | tied, axis=-1)
        return jnp.where(jnp.any(own, axis=-1), ahead, classes)

    def _recall(self, pixels: Labelled, right: jax.Array) -> jax.Array:
        classes = pixels.score.shape[-1]
        own = pixels.counted[..., None] & (pixels.label[..., None] == jnp.arange(classes, dtype=jnp.int32))
        axes = tuple(range(own.ndim - 1))
        absent = 0.0 if self.dialect == "bvlc" else 1.0
        return _share(jnp.sum(own & right[..., None], axis=axes), jnp.sum(own, axis=axes), absent)


def _share(part: jax.Array, whole: jax.Array, empty: float) -> jax.Array:
    """part / whole as float32; `empty` where whole is 0."""
    return jnp.where(whole > 0, part / jnp.maximum(whole, 1), empty).astype(jnp.float32)
