"""The statistics of a bench: medians, quartiles, ratios pair by pair, slopes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The three quartiles of some numbers."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The quartiles, interpolated between neighbours; a single number is all three of them."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def pair_ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Ours over theirs, round by round.

    What slows a whole round down, such as another program, cancels; in a ratio of two medians it would not.
    """
    return tuple(one / other for one, other in zip(ours, theirs, strict=True))


def log_slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """The exponent p of the power law y = c x^p that fits best by least squares of the logarithms.

    None where fewer than two different x have a positive y.
    """
    points = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True) if a > 0 and b > 0]
    if len({a for a, _ in points}) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope
