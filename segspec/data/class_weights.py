"""Weights that make rare classes count: functions of how many pixels each class has."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from segspec.data.scan import LabelCounts
from segspec.errors import Diagnostic

Scheme = Literal["median_frequency", "enet", "effective_number"]


class ClassWeights(NamedTuple):
    """A weight for each class, and a warning for each class that no label holds."""

    weights: tuple[float, ...]
    warnings: tuple[Diagnostic, ...]


def class_weights(scheme: Scheme, counts: LabelCounts, names: tuple[str, ...]) -> ClassWeights:
    """The weights of a scheme. A class without a pixel weighs 0, and a warning says so."""
    rule = {"median_frequency": median_frequency, "enet": enet, "effective_number": effective_number}[scheme]
    weights = tuple(float(weight) for weight in rule(counts))
    absent = [name for name, total in zip(names, counts.totals, strict=True) if total == 0]
    warnings = tuple(
        Diagnostic(
            f"class '{name}' has no pixel in the training labels; its weight is 0",
            hint="check that the labels and the class table mean the same classes",
            severity="warning",
        )
        for name in absent
    )
    return ClassWeights(weights, warnings)


def median_frequency(counts: LabelCounts) -> np.ndarray:
    """median(f) / f, where f is a class's share of the labelled and ignored pixels in the images that hold it.

    Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels, 2015, section 6.3.2.
    """
    size = counts.pixels.sum(axis=1) + counts.ignored
    available = ((counts.pixels > 0) * size[:, None]).sum(axis=0)
    present = available > 0
    frequency = counts.totals[present] / available[present]
    weights = np.zeros(len(present))
    if present.any():
        weights[present] = np.median(frequency) / frequency
    return weights


def enet(counts: LabelCounts) -> np.ndarray:
    """1 / ln(1.02 + p), where p is a class's share of all labelled pixels.

    Paszke et al., ENet, 2016, section 5.
    """
    totals = counts.totals
    share = totals / max(1, totals.sum())
    weights: np.ndarray = np.where(totals > 0, 1 / np.log(1.02 + share), 0.0)
    return weights


def effective_number(counts: LabelCounts) -> np.ndarray:
    """(1 - b) / (1 - b^n), scaled to sum to the number of classes present; n are the pixels of a class.

    b = (N - 1) / N with N the labelled pixels of all classes. Cui et al., Class-Balanced Loss, 2019, section 3.
    """
    totals = counts.totals
    present = totals > 0
    weights = np.zeros(len(totals))
    if not present.any():
        return weights
    volume = float(totals.sum())
    if volume == 1:
        return present.astype(float)
    decay = np.log1p(-1 / volume)
    inverse = 1 / -np.expm1(totals[present] * decay)
    weights[present] = inverse / inverse.sum() * present.sum()
    return weights
