"""Losses of regions: they count overlap, so that a small class weighs as much as a large one."""

from __future__ import annotations

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
from segspec.ops import region_losses
from segspec.schema.types import Real


class RegionLoss(LossLayer):
    """A mean over classes of a loss between the softmax of a score and the label's regions."""

    ignore_label: int | None = ignore_label_field()
    class_weights: ClassWeights = class_weights_field()
    per_image: bool = Field(
        False, description="Whether each image has regions of its own (true), or the batch counts as one image (false)."
    )
    present_only: bool = Field(
        False, description="Whether classes that the label does not contain are left out of the mean."
    )

    def check(self, bottoms: Sequence[Blob]) -> None:
        check_label(bottoms)
        check_classes(bottoms[0])
        check_weights(self.class_weights, bottoms[0].caffe_shape[1])

    def regions(self, probability: jax.Array, truth: jax.Array, counted: jax.Array) -> jax.Array:
        """The loss of each region, (images, classes)."""
        raise NotImplementedError

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, label, counted = score_and_label(bottoms, self.ignore_label)
        classes = score.shape[-1]
        images = score.shape[0] if self.per_image else 1
        probability = jax.nn.softmax(score.astype(jnp.float32), axis=-1).reshape(images, -1, classes)
        counted = counted.reshape(images, -1)
        truth = region_losses.one_hot(label.reshape(images, -1), counted, classes)
        weights = weight_array(self.class_weights)
        weights = jnp.broadcast_to(jnp.ones(classes) if weights is None else weights, (images, classes))
        if self.present_only:
            weights = jnp.where(jnp.any(truth > 0, axis=1), weights, 0.0)
        return region_losses.mean_region(self.regions(probability, truth, counted), weights)


class _SmoothedLoss(RegionLoss):
    smooth: Real = Field(
        1.0,
        gt=0,
        description="Added above and below the fraction, in pixels: the loss of an absent class stays defined.",
    )


class DiceLoss(_SmoothedLoss):
    """Soft Dice loss: the mean over classes of 1 - (2 I + smooth) / (P + G + smooth).

    I = sum p g, P = sum p, G = sum g over the pixels that count; p is the softmax of the score, g 1 at a pixel's own
    class. Source: Milletari, Navab, Ahmadi, V-Net, 2016, without the squares; Sudre et al. 2017.
    """

    type: ClassVar[str] = "DiceLoss"
    in_caffe: ClassVar[bool] = False
    message: ClassVar[str] = "dice_loss_param"
    example: ClassVar[str] = "{ignore_label: 11, per_image: true}"

    def regions(self, probability: jax.Array, truth: jax.Array, counted: jax.Array) -> jax.Array:
        return region_losses.dice_losses(region_losses.overlap(probability, truth, counted), self.smooth)


class JaccardLoss(_SmoothedLoss):
    """Soft Jaccard loss: the mean over classes of 1 - (I + smooth) / (P + G - I + smooth).

    I = sum p g, P = sum p, G = sum g over the pixels that count; p is the softmax of the score, g 1 at a pixel's own
    class. Source: Rahman, Wang, Optimizing Intersection-Over-Union in Deep Neural Networks, 2016.
    """

    type: ClassVar[str] = "JaccardLoss"
    in_caffe: ClassVar[bool] = False
    message: ClassVar[str] = "jaccard_loss_param"
    example: ClassVar[str] = "{ignore_label: 11}"

    def regions(self, probability: jax.Array, truth: jax.Array, counted: jax.Array) -> jax.Array:
        return region_losses.jaccard_losses(region_losses.overlap(probability, truth, counted), self.smooth)


class LovaszSoftmaxLoss(RegionLoss):
    """Lovász-softmax loss: the convex extension of the Jaccard loss, a mean over the classes in the label.

    Sorts all pixels once a class, which costs more than the other losses. Source: Berman, Triki, Blaschko, The
    Lovász-Softmax loss, 2018.
    """

    type: ClassVar[str] = "LovaszSoftmaxLoss"
    in_caffe: ClassVar[bool] = False
    message: ClassVar[str] = "lovasz_softmax_loss_param"
    example: ClassVar[str] = "{ignore_label: 11, per_image: true}"

    present_only: bool = Field(
        True, description="Whether classes that the label does not contain are left out of the mean."
    )

    def regions(self, probability: jax.Array, truth: jax.Array, counted: jax.Array) -> jax.Array:
        return region_losses.lovasz_losses(probability, truth, counted)
