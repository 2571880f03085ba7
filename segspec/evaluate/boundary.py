"""Boundary F1: how well the contours lie, which IoU hardly sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from segspec.evaluate.confusion import Labels
from segspec.evaluate.metrics import Scores, mean_defined

TOLERANCE = 0.0075
"""How far a contour may lie off, as a share of the image diagonal."""

_ROUNDING = 1e-3  # pixels: well below the gap between two distances on the grid

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BoundaryScores:
    """Boundary F1 over a test set.

    Attributes:
        per_class: (classes,) mean over the images where the class has a contour in the label, NaN if none.
        mean: mean over images of each image's mean over classes (BF in the SegNet paper), NaN without images.
    """

    per_class: Scores
    mean: float


def boundary_f1(
    prediction: Labels, label: Labels, classes: int, ignore_label: int | None = None, tolerance: float = TOLERANCE
) -> Scores:
    """Boundary F1 of each class in one image.

    The contour of class c in a map is every pixel of c with a pixel of another class above, below, left or right of it;
    the image's edge makes no contour. With B the predicted and T the true contour of c, and d the Euclidean distance,

        P = |{b in B: d(b, T) <= r}| / |B|,   R = |{t in T: d(t, B) <= r}| / |T|,   F1 = 2 P R / (P + R),

    where r is `tolerance` times the image diagonal in pixels. A class without a contour in the label scores NaN; one
    without a predicted contour, or with P + R = 0, scores 0. Ignored pixels belong to no class in either map and make
    no contour with their neighbours. Source: Csurka, Larlus, Perronnin 2013.

    Args:
        prediction: (height, width) class indices.
        label: (height, width) class indices.
        classes: number of classes.
        ignore_label: label value of pixels that are left out.
        tolerance: share of the diagonal.

    Returns:
        (classes,).
    """
    counted = np.ones(label.shape, bool) if ignore_label is None else label != ignore_label
    radius = tolerance * math.hypot(*label.shape) + _ROUNDING
    true_edges, predicted_edges = _find_edges(label, counted), _find_edges(prediction, counted)
    scores = np.full(classes, np.nan)
    for index in np.unique(label[true_edges]):
        scores[index] = _f1(predicted_edges & (prediction == index), true_edges & (label == index), radius)
    return scores


def _find_edges(labels: Labels, counted: _Mask) -> _Mask:
    """The pixels with a counted 4-neighbour of another class, themselves counted."""
    edges = np.zeros(labels.shape, bool)
    down = (labels[1:] != labels[:-1]) & counted[1:] & counted[:-1]
    right = (labels[:, 1:] != labels[:, :-1]) & counted[:, 1:] & counted[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges


def _f1(predicted: _Mask, true: _Mask, radius: float) -> float:
    if not predicted.any():
        return 0.0
    precision = float(_near(true, radius)[predicted].mean())
    recall = float(_near(predicted, radius)[true].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(contour: _Mask, radius: float) -> _Mask:
    """The pixels within `radius` of a contour that is not empty."""
    distances = cv2.distanceTransform((~contour).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances <= radius)


def summarise(images: Sequence[Scores], classes: int) -> BoundaryScores:
    """The scores of a test set from those of its images.

    Args:
        images: `boundary_f1` of each image.
        classes: number of classes.
    """
    table = np.stack(images) if images else np.empty((0, classes))
    per_class = np.array([mean_defined(column) for column in table.T])
    return BoundaryScores(per_class, mean_defined(np.array([mean_defined(row) for row in table])))
