"""What a confusion matrix says: the measures of semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from segspec.errors import Diagnostic
from segspec.evaluate.confusion import Matrix

Scores = npt.NDArray[np.float64]
"""(classes,): one score a class in 0..1, NaN where it is not defined."""

_COLLAPSED_SHARE = 0.99
_COLLAPSE_CAUSES = (
    "likely causes: the learning rate is too high or training has just begun; rare classes weigh too little "
    "(class_weights: median_frequency); mean_value or scale differ from training; the batch normalisation statistics "
    "do not belong to these weights (segspec compute-bn-stats), or the net needs each batch's own (--statistics "
    "batch); weights were not loaded"
)


@dataclass(frozen=True, eq=False)
class Metrics:
    """The measures of one confusion matrix n, where n[i, j] pixels of class i were predicted as class j.

    With t_i = sum_j n[i, j] true and p_i = sum_j n[j, i] predicted pixels of class i, a quotient 0/0 is NaN and is left
    out of the means. Source: Long, Shelhamer, Darrell 2015 (the four totals).

    Attributes:
        matrix: (classes, classes), rows truth, columns prediction.
    """

    matrix: Matrix

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.shape[0] != self.matrix.shape[1]:
            raise ValueError(f"a confusion matrix is square, got shape {self.matrix.shape}")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.matrix)

    @cached_property
    def truth(self) -> Matrix:
        """Pixels of each class in the labels, t_i."""
        return np.asarray(self.matrix.sum(axis=1, dtype=np.int64))

    @cached_property
    def predicted(self) -> Matrix:
        """Pixels of each class in the predictions, p_i."""
        return np.asarray(self.matrix.sum(axis=0, dtype=np.int64))

    @cached_property
    def correct(self) -> Matrix:
        """Pixels of each class predicted as such, n[i, i]."""
        return np.diagonal(self.matrix).astype(np.int64)

    @cached_property
    def total(self) -> int:
        """Pixels counted."""
        return int(self.matrix.sum(dtype=np.int64))

    @cached_property
    def absent(self) -> npt.NDArray[np.bool_]:
        """Classes that occur neither in the labels nor in the predictions."""
        return np.asarray((self.truth == 0) & (self.predicted == 0))

    @cached_property
    def iou(self) -> Scores:
        """Intersection over union, n[i, i] / (t_i + p_i - n[i, i])."""
        return _divide(self.correct, self.truth + self.predicted - self.correct)

    @cached_property
    def accuracy(self) -> Scores:
        """The share of each class's true pixels that were found (recall), n[i, i] / t_i."""
        return _divide(self.correct, self.truth)

    @cached_property
    def precision(self) -> Scores:
        """The share of each class's predicted pixels that are right, n[i, i] / p_i."""
        return _divide(self.correct, self.predicted)

    @cached_property
    def f1(self) -> Scores:
        """F1, which is the Dice coefficient: 2 n[i, i] / (t_i + p_i)."""
        return _divide(2 * self.correct, self.truth + self.predicted)

    @cached_property
    def global_accuracy(self) -> float:
        """The share of all pixels that are right (G in the SegNet paper)."""
        return float(_divide(self.correct.sum(), np.int64(self.total)))

    @cached_property
    def class_average(self) -> float:
        """Mean accuracy over the classes that occur in the labels (C in the SegNet paper)."""
        return mean_defined(self.accuracy)

    @cached_property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur in the labels or in the predictions."""
        return mean_defined(self.iou)

    @cached_property
    def frequency_weighted_iou(self) -> float:
        """IoU weighted by each class's share of the true pixels."""
        occurs = self.truth > 0
        return float(_divide(np.asarray((self.truth[occurs] * self.iou[occurs]).sum()), np.int64(self.total)))

    @cached_property
    def majority_class(self) -> int:
        """The class with the most true pixels."""
        return int(np.argmax(self.truth))

    @cached_property
    def baseline(self) -> Metrics:
        """The metrics of always predicting the majority class, without looking at the image."""
        matrix = np.zeros_like(self.matrix, dtype=np.int64)
        matrix[:, self.majority_class] = self.truth
        return Metrics(matrix)


def _divide(numerator: npt.NDArray[np.number], denominator: npt.NDArray[np.number] | np.int64) -> Scores:
    """The quotient, NaN where the denominator is 0."""
    denominator = np.asarray(denominator, np.float64)
    undefined = np.full(denominator.shape, np.nan)
    return np.asarray(np.divide(numerator, denominator, out=undefined, where=denominator > 0))


def mean_defined(scores: Scores) -> float:
    """The mean of the scores that are defined, NaN when none is."""
    defined = scores[~np.isnan(scores)]
    return float(defined.mean()) if defined.size else float("nan")


def find_collapse(metrics: Metrics, names: Sequence[str]) -> Diagnostic | None:
    """A warning when the network has learned to answer one class whatever it sees.

    That is: one class takes more than 99 % of the predictions, the labels hold other classes too, and fewer than half
    of the pixels of those others were found. The last condition spares a good network on data where one class really
    covers nearly everything.

    Args:
        metrics: of the whole test set.
        names: class names.

    Returns:
        A warning with likely causes, or None.
    """
    favourite = int(np.argmax(metrics.predicted))
    others = metrics.total - int(metrics.truth[favourite])
    found = int(metrics.correct.sum() - metrics.correct[favourite])
    share = metrics.predicted[favourite] / max(metrics.total, 1)
    if share <= _COLLAPSED_SHARE or others == 0 or 2 * found >= others:
        return None
    message = (
        f"{100 * share:.1f} % of the pixels are predicted as '{names[favourite]}', "
        f"but the labels hold {np.count_nonzero(metrics.truth)} classes"
    )
    return Diagnostic(message, hint=_COLLAPSE_CAUSES, severity="warning")
