"""Losses of contours: they see where regions end, which the others hardly do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from pydantic import AfterValidator, Field

from segspec.layers.base import Blob, ShapeError
from segspec.layers.labelled import (
    ClassWeights,
    Labelled,
    check_classes,
    check_label,
    check_weights,
    class_weights_field,
    ignore_label_field,
    score_and_label,
    weight_array,
)
from segspec.layers.loss import LossLayer
from segspec.ops import boundary_losses, region_losses


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError("must be odd, so that a window has a middle")
    return side


Window = Annotated[int, Field(ge=3), AfterValidator(_odd)]
"""The side of a window around a pixel."""


class BoundaryLoss(LossLayer):
    """Boundary loss: 1 - F1 between soft contours, a mean over the images and the classes that have a contour in them.

    The contour of class c is b(x) = max(1 - x) - (1 - x), the greatest value taken over `theta0` x `theta0` pixels,
    with x the softmax of the score for the prediction and 1 at c's own pixels for the label. Then, with near(b) the
    greatest b of `theta` x `theta` pixels, F1 = 2 P R / (P + R), P = sum b_p near(b_g) / sum b_p, R = sum b_g near(b_p)
    / sum b_g. Ignored pixels and the image's edge make no contour. Alone it says little about the inside of regions:
    add it to another loss. Source: Bokhovkin, Burnaev, Boundary Loss for Remote Sensing Imagery Semantic Segmentation,
    2019.
    """

    type: ClassVar[str] = "BoundaryLoss"
    in_caffe: ClassVar[bool] = False
    message: ClassVar[str] = "boundary_loss_param"
    example: ClassVar[str] = "{theta: 7, ignore_label: 255}"

    theta0: Window = Field(3, description="Side of the window in which another class makes a pixel contour; odd.")
    theta: Window = Field(5, description="Side of the window in which contours match; 5 lets them lie 2 pixels off.")
    ignore_label: int | None = ignore_label_field()
    class_weights: ClassWeights = class_weights_field()

    def check(self, bottoms: Sequence[Blob]) -> None:
        if len(bottoms[0].shape) != 4:
            raise ShapeError(f"the score is {bottoms[0]}: only maps of scores have contours")
        check_label(bottoms)
        check_classes(bottoms[0])
        check_weights(self.class_weights, bottoms[0].caffe_shape[1])

    def loss(self, bottoms: Sequence[jax.Array]) -> jax.Array:
        labelled = score_and_label(bottoms, self.ignore_label)
        # image by image, and computed again for the gradient: else windows would hold 30 times the memory of the score
        each, present = jax.lax.map(jax.checkpoint(self._of_image), labelled)
        weights = weight_array(self.class_weights)
        return region_losses.mean_region(each, jnp.where(present, 1.0 if weights is None else weights, 0.0))

    def _of_image(self, labelled: Labelled) -> tuple[jax.Array, jax.Array]:
        """The loss of each class in one image, and whether the label has a contour of it."""
        score, label, counted = (array[None] for array in labelled)
        probability = jax.nn.softmax(score.astype(jnp.float32), axis=-1)
        truth = region_losses.one_hot(label, counted, score.shape[-1])
        predicted = boundary_losses.soft_contours(probability, counted, self.theta0)
        true = boundary_losses.soft_contours(truth, counted, self.theta0)
        each = boundary_losses.boundary_f1_losses(predicted, true, self.theta)
        return each[0], jnp.any(true[0] > 0, axis=(0, 1))
