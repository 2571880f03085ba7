"""What is counted over the labelled images of a test."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from segspec.evaluate.boundary import BoundaryScores, boundary_f1, summarise
from segspec.evaluate.confusion import Labels, Matrix, count
from segspec.evaluate.metrics import Metrics, Scores
from segspec.spec.classes import ClassTable


@dataclass
class Tally:
    """Counts of one prediction, or of one of those that it is the mean of.

    Attributes:
        table: the classes.
        matrix: true and predicted classes of all pixels so far.
        boundary_scores: of each image.
    """

    table: ClassTable
    matrix: Matrix = field(init=False)
    boundary_scores: list[Scores] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matrix = np.zeros((self.table.count, self.table.count), np.int64)

    def add(self, prediction: Labels, label: Labels) -> None:
        """Counts an image; both arrays are (height, width)."""
        classes, ignored = self.table.count, self.table.ignore_label
        self.matrix += count(prediction, label, classes, ignored)
        self.boundary_scores.append(boundary_f1(prediction, label, classes, ignored))

    @property
    def images(self) -> int:
        """How many were counted."""
        return len(self.boundary_scores)

    @property
    def metrics(self) -> Metrics:
        """The measures of all images together."""
        return Metrics(self.matrix)

    @property
    def boundary(self) -> BoundaryScores:
        """Boundary F1 over all images."""
        return summarise(self.boundary_scores, self.table.count)
