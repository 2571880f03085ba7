"""The result of a test: one value that the terminal, Markdown and JSON show alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from segspec.errors import Diagnostic
from segspec.evaluate.boundary import BoundaryScores
from segspec.evaluate.metrics import Metrics, find_collapse, mean_defined

UNDEFINED = "-"
"""What stands for a score that is 0/0."""


@dataclass(frozen=True, eq=False)
class Part:
    """The scores of one prediction by itself that was averaged with others.

    Attributes:
        name: a net's, or `1 view`.
        metrics, boundary: as a report's.
    """

    name: str
    metrics: Metrics
    boundary: BoundaryScores | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """What a test found.

    Attributes:
        names: class names, in the order of their labels.
        metrics: of all images together.
        statistics: which batch normalisation statistics were used, in words.
        images: number of images with a label.
        weights: which weights were used, in words.
        iteration: of the run's snapshot, or None for weights from elsewhere.
        boundary: boundary F1, if it was computed.
        views: how each image was shown to a net, in words; empty for once and as it is.
        title: what the prediction is called in a table.
        parts: the predictions that it is the mean of, as far as they are scored by themselves.
    """

    names: tuple[str, ...]
    metrics: Metrics
    statistics: str
    images: int
    weights: str
    iteration: int | None = None
    boundary: BoundaryScores | None = None
    views: str = ""
    title: str = "network"
    parts: tuple[Part, ...] = ()

    @property
    def baseline_name(self) -> str:
        """What the baseline does, such as `always Road`."""
        return f"always {self.names[self.metrics.majority_class]}"

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What the figures give reason to distrust."""
        collapse = find_collapse(self.metrics, self.names)
        return (collapse,) if collapse else ()

    @property
    def source(self) -> str:
        """What the figures rest on: images, weights, statistics."""
        images = "1 image" if self.images == 1 else f"{self.images:,} images"
        used = f"weights: {self.weights}; batch normalisation: {self.statistics}"
        used += f"; {self.views}" if self.views else ""
        return f"{images}, {self.metrics.total:,} pixels; {used}"


class Total(NamedTuple):
    """One measure over all classes.

    Attributes:
        key: its name in JSON.
        title: its name for people.
        value: of the prediction, in 0..1 or NaN.
        parts: of each part by itself.
        baseline: of always answering the commonest class, in 0..1 or NaN.
    """

    key: str
    title: str
    value: float
    parts: tuple[float, ...]
    baseline: float

    @property
    def values(self) -> tuple[float, ...]:
        """All of them, in the order of `list_total_columns`."""
        return (self.value, *self.parts, self.baseline)


class Confusion(NamedTuple):
    """A true class that is taken for another one; `share` is of the true class's pixels, in 0..1."""

    truth: str
    prediction: str
    share: float


_TOTALS: tuple[tuple[str, str, Callable[[Metrics], float]], ...] = (
    ("mean_iou", "mean IoU", lambda metrics: metrics.mean_iou),
    ("class_average", "class average accuracy", lambda metrics: metrics.class_average),
    ("global_accuracy", "global accuracy", lambda metrics: metrics.global_accuracy),
    ("frequency_weighted_iou", "frequency-weighted IoU", lambda metrics: metrics.frequency_weighted_iou),
)


def list_totals(report: Report) -> list[Total]:
    """The measures over all classes, each beside its parts' and the baseline's."""
    totals = [
        Total(
            key,
            title,
            measure(report.metrics),
            tuple(measure(part.metrics) for part in report.parts),
            measure(report.metrics.baseline),
        )
        for key, title, measure in _TOTALS
    ]
    if report.boundary is not None:
        no_contour = 0.0 * report.boundary.mean  # an answer without contours scores 0 wherever there is a score
        parts = tuple(part.boundary.mean for part in report.parts if part.boundary is not None)
        totals.append(Total("boundary_f1", "boundary F1, mean of images", report.boundary.mean, parts, no_contour))
    return totals


def list_total_columns(report: Report) -> list[str]:
    """The heads of the columns of figures in the table of totals."""
    return [report.title, *(part.name for part in report.parts), report.baseline_name]


def list_columns(report: Report) -> list[str]:
    """The heads of the table of classes."""
    boundary = ["BF"] if report.boundary is not None else []
    return ["class", "IoU", "accuracy", "precision", "F1", *boundary, "pixels"]


def list_class_rows(report: Report) -> list[list[str]]:
    """The table of classes as text, percentages with one decimal; a class without any pixel says so."""
    metrics = report.metrics
    scores = [metrics.iou, metrics.accuracy, metrics.precision, metrics.f1]
    if report.boundary is not None:
        scores.append(report.boundary.per_class)
    return [
        [
            name,
            *(format_share(float(score[index])) for score in scores),
            "absent (0 px)" if metrics.absent[index] else f"{metrics.truth[index]:,}",
        ]
        for index, name in enumerate(report.names)
    ]


def list_mean_row(report: Report) -> list[str]:
    """The means under the table of classes, over the classes where a score is defined."""
    metrics = report.metrics
    means = [mean_defined(scores) for scores in (metrics.iou, metrics.accuracy, metrics.precision, metrics.f1)]
    if report.boundary is not None:
        means.append(mean_defined(report.boundary.per_class))
    return ["mean", *map(format_share, means), f"{metrics.total:,}"]


def list_confusions(report: Report, most: int) -> list[Confusion]:
    """The largest shares of a true class that were predicted as another one, largest first."""
    metrics = report.metrics
    found = [
        Confusion(report.names[truth], report.names[prediction], float(pixels / metrics.truth[truth]))
        for truth, row in enumerate(metrics.matrix)
        for prediction, pixels in enumerate(row)
        if truth != prediction and pixels
    ]
    return sorted(found, key=lambda confusion: -confusion.share)[:most]


def format_share(value: float) -> str:
    """A share as a percentage with one decimal, without the sign."""
    return UNDEFINED if math.isnan(value) else f"{100 * value:.1f}"


def list_confusion_cells(report: Report, truth: int) -> list[str]:
    """One row of the confusion matrix as percentages of the true class; a dot for none at all."""
    metrics = report.metrics
    if not metrics.truth[truth]:
        return [UNDEFINED] * metrics.classes
    return [format_share(float(n / metrics.truth[truth])) if n else "." for n in metrics.matrix[truth]]
