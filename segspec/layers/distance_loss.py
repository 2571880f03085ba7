"""Losses that measure how far numbers are from what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.base import Blob, ShapeError
from segspec.layers.labelled import fits, shaped
from segspec.layers.loss import LossLayer, check_equal
from segspec.ops import losses
from segspec.schema.types import Real


class EuclideanLoss(LossLayer):
    """Half the squared Euclidean distance: sum (a - b)^2 / (2 N), N the number of images. Source: Caffe."""

    type: ClassVar[str] = "EuclideanLoss"
    example: ClassVar[str] = "{}"

    def check(self, bottoms: Sequence[Blob]) -> None:
        check_equal(bottoms, "target")

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, target = _real_pair(bottoms)
        return jnp.sum(jnp.square(score - target)) / (2.0 * score.shape[0])


def _real_pair(bottoms: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Score and target as float32, in the score's shape."""
    score, target = bottoms[0].astype(jnp.float32), bottoms[1].astype(jnp.float32)
    return score, shaped(target, score.shape)


class L1Loss(LossLayer):
    """The sum of absolute differences over the number of images: sum |a - b| / N. The gradient at equal numbers is 0.

    Source: NVIDIA's Caffe, l1_loss_layer.cpp.
    """

    type: ClassVar[str] = "L1Loss"
    example: ClassVar[str] = "{}"

    def check(self, bottoms: Sequence[Blob]) -> None:
        check_equal(bottoms, "target")

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, target = _real_pair(bottoms)
        return jnp.sum(losses.absolute(score - target)) / score.shape[0]


class SmoothL1Loss(LossLayer):
    """A loss that is square near 0 and straight beyond: sum w_out f(w_in (a - b)) / N over N images.

    f(d) is (sigma d)^2 / 2 for |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2). w_in and w_out are the third and the
    fourth input, or 1. Source: Girshick, Fast R-CNN, 2015; its Caffe, smooth_L1_loss_layer.cu.
    """

    type: ClassVar[str] = "SmoothL1Loss"
    bottoms: ClassVar[tuple[int, int | None]] = (2, 4)
    message: ClassVar[str] = "smooth_l1_loss_param"
    example: ClassVar[str] = "{sigma: 3}"

    sigma: Real = Field(1.0, gt=0, description="How steep the square is; it ends where the difference is 1 / sigma^2.")

    def check(self, bottoms: Sequence[Blob]) -> None:
        check_equal(bottoms, "target")
        if not all(fits(weight, bottoms[0]) for weight in bottoms[2:]):
            weights = " and ".join(map(str, bottoms[2:]))
            raise ShapeError(f"weights are {weights} but the score is {bottoms[0]}: sizes differ")

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        score, target = _real_pair(bottoms)
        weights = [shaped(weight.astype(jnp.float32), score.shape) for weight in bottoms[2:]]
        inside, outside = (*weights, *(jnp.ones_like(score),) * (2 - len(weights)))
        each = losses.smooth_absolute(inside * (score - target), self.sigma)
        return jnp.sum(outside * each) / score.shape[0]


class ContrastiveLoss(LossLayer):
    """Pulls similar pairs together and pushes others apart.

    sum(y d^2 + (1 - y) max(margin - d, 0)^2) / (2 N) over N pairs, d the Euclidean distance of two feature vectors and
    y 1 for similar pairs. Bottoms: first features, second features, y. Source: Caffe, contrastive_loss_layer.cpp.
    """

    type: ClassVar[str] = "ContrastiveLoss"
    bottoms: ClassVar[tuple[int, int | None]] = (3, 3)
    message: ClassVar[str] = "contrastive_loss_param"
    example: ClassVar[str] = "{margin: 1.5}"

    margin: Real = Field(1.0, ge=0, description="Distance beyond which dissimilar pairs cost nothing.")
    legacy_version: bool = Field(
        False, description="Take max(margin - d^2, 0) for dissimilar pairs, as Caffe once did."
    )

    def check(self, bottoms: Sequence[Blob]) -> None:
        first, second, similar = bottoms
        if first.shape != second.shape:
            raise ShapeError(f"the two inputs are {first} and {second}: sizes differ")
        if similar.size != first.shape[0]:
            raise ShapeError(f"the third input is {similar} for {first.shape[0]} pairs: it must hold one number a pair")

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        first, second = (bottom.reshape(bottom.shape[0], -1) for bottom in bottoms[:2])
        pairs = losses.contrastive(first, second, bottoms[2].ravel(), self.margin, legacy=self.legacy_version)
        return jnp.sum(pairs) / (2.0 * first.shape[0])
