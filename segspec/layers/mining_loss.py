"""Losses on some of the pixels only: those that are hard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.base import Blob
from segspec.layers.labelled import (
    ClassWeights,
    check_classes,
    check_label,
    check_weights,
    class_weights_field,
    ignore_label_field,
    score_and_label,
    weight_array,
)
from segspec.layers.loss import LossLayer
from segspec.ops import losses
from segspec.schema.types import Real

SIXTEENTH = 16


class OHEMLoss(LossLayer):
    """Cross entropy of the hard pixels of a batch: online hard example mining.

    -sum w[l] log p_l / Z over the hard pixels, p the softmax over the classes and l a pixel's label; Z is the number of
    hard pixels. A pixel that counts is hard where p_l < `threshold`, and where its p_l is among the `min_kept` smallest
    of the batch or equal to the last of these: of equal pixels all or none are hard, whatever their order. Which pixels
    are hard has no gradient. Source: Shrivastava, Gupta, Girshick, Training
    Region-based Object Detectors with Online Hard Example Mining, 2016; for pixels as in BiSeNet (Yu et al. 2018).
    """

    type: ClassVar[str] = "OHEMLoss"
    in_caffe: ClassVar[bool] = False
    message: ClassVar[str] = "ohem_loss_param"
    example: ClassVar[str] = "{threshold: 0.7, min_kept: 100000, ignore_label: 255}"

    threshold: Real = Field(
        0.7, ge=0, le=1, description="Probability of a pixel's own class below which the pixel is hard."
    )
    min_kept: int | None = Field(
        None,
        ge=0,
        description="Least number of hard pixels in a batch, if so many count; null: a sixteenth of those that count.",
    )
    ignore_label: int | None = ignore_label_field()
    class_weights: ClassWeights = class_weights_field()

    def check(self, bottoms: Sequence[Blob]) -> None:
        check_label(bottoms)
        check_classes(bottoms[0])
        check_weights(self.class_weights, bottoms[0].caffe_shape[1])

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, label, counted = score_and_label(bottoms, self.ignore_label)
        each = losses.softmax_cross_entropy(score, label)
        bound = -math.log(self.threshold) if self.threshold > 0 else math.inf
        hard = losses.hardest_pixels(jax.lax.stop_gradient(each), counted, bound, self._least(counted))
        weights = losses.weights_at_label(weight_array(self.class_weights), label)
        return losses.normalized_sum(weights * each, hard)

    def _least(self, counted: jax.Array) -> jax.Array | int:
        """How many pixels are hard at least; a sixteenth is rounded up."""
        if self.min_kept is not None:
            return self.min_kept
        return -(-jnp.sum(counted, dtype=jnp.int32) // SIXTEENTH)
