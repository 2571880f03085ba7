"""The curves of a training: is the loss falling, and is the net getting better?"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from segspec.atomic import write_atomically

_TRAIN, _TEST, _IOU, _ACCURACY = "tab:blue", "tab:orange", "tab:green", "tab:gray"
_DECADES = 2  # a loss that spans more of them is drawn on a logarithmic axis
_WINDOWS = 20  # the smoothed curve averages over about one twentieth of the training
_OUTLYING = 10  # times the loss that nine tenths of all stay below
_FEW = 5  # of so few losses none is an outlier

Values = npt.NDArray[np.float64]


class Series(NamedTuple):
    """One curve: iterations, and finite values at them."""

    iterations: Values
    values: Values

    def below(self, ceiling: float) -> Series:
        """The points up to a value."""
        kept = self.values <= ceiling
        return Series(self.iterations[kept], self.values[kept])


def draw_curves(records: Iterable[Mapping[str, object]], path: Path) -> None:
    """Writes the picture of `plot_curves` as PNG.

    Raises:
        RunError: the file cannot be written.
    """
    buffer = io.BytesIO()
    plot_curves(records).savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())


def plot_curves(records: Iterable[Mapping[str, object]]) -> Figure:
    """The losses (left) and the mean IoU and accuracy (right) over iterations.

    A record with `miou` is a test, of which `miou`, `accuracy` and, if there, `loss` are drawn; any other is a display,
    of which `loss` is drawn pale as it is, and `smoothed_loss`, smoothed further, over it. Missing, null, NaN and
    infinite values leave no point. Losses more than ten times as large as nine tenths of all are outliers: the pale
    line leaves the picture there, the others are drawn without them, and a note says how far they go. The loss axis is
    logarithmic when the other losses are positive and span more than two decades.

    Args:
        records: the lines of a log, each with `iteration`.
    """
    lines = list(records)
    tests = [line for line in lines if "miou" in line]
    displays = [line for line in lines if "miou" not in line]
    figure = Figure(figsize=(11, 4.2), dpi=110, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharex=True)
    smoothed = [{**line, "loss": line.get("smoothed_loss", line.get("loss"))} for line in displays]
    _draw_losses(left, _read_series(displays, "loss"), _read_series(smoothed, "loss"), _read_series(tests, "loss"))
    _draw_scores(right, _read_series(tests, "miou"), _read_series(tests, "accuracy"))
    _span_iterations(left, _read_series(lines, "iteration"))
    return figure


def _read_series(records: Sequence[Mapping[str, object]], key: str) -> Series:
    """The finite values under `key`, in the order of their iterations."""
    points = [(_number(record.get("iteration")), _number(record.get(key))) for record in records]
    finite = sorted(point for point in points if all(map(math.isfinite, point)))
    table = np.array(finite, np.float64).reshape(-1, 2)
    return Series(table[:, 0], table[:, 1])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _smooth(values: Values) -> Values:
    """The mean over a window around each value, so that the curve does not lag; it narrows towards both ends."""
    index = np.arange(len(values))
    reach = np.minimum(len(values) // (2 * _WINDOWS), np.minimum(index, index[::-1]))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1))


def _draw_losses(axes: Axes, raw: Series, smoothed: Series, test: Series) -> None:
    everything = np.concatenate([raw.values, smoothed.values, test.values])
    ceiling = _ceiling(everything)
    kept = smoothed.below(ceiling)
    axes.plot(*raw, color=_TRAIN, alpha=0.35, linewidth=0.8)
    _draw_line(axes, Series(kept.iterations, _smooth(kept.values)), _TRAIN, "training, smoothed")
    _draw_line(axes, test.below(ceiling), _TEST, "test", marker="o")
    _scale_losses(axes, everything, ceiling)
    _finish(axes, "loss", "upper right", bool(everything.size))


def _ceiling(values: Values) -> float:
    """The value above which others are outliers."""
    most = float(np.quantile(values, 0.9, method="lower")) if len(values) > _FEW else 0.0
    return _OUTLYING * most if most > 0 else math.inf


def _scale_losses(axes: Axes, everything: Values, ceiling: float) -> None:
    """Fits the axis to the values up to a ceiling, with a little room, and says how far those above it go."""
    values = everything[everything <= ceiling]
    if values.size and values.min() > 0 and values.max() > 10**_DECADES * values.min():
        axes.set_yscale("log")
        room = (values.max() / values.min()) ** 0.05
        top, bottom = values.max() * room, values.min() / room
    else:
        room = 0.05 * float(np.ptp(values)) if values.size else 0.0
        top, bottom = values.max(initial=0) + room, values.min(initial=math.inf) - room
    if len(values) < len(everything) and top > bottom:
        axes.set_ylim(bottom, top)
        axes.set_title(f"not shown: up to {everything.max():.3g}", loc="right", fontsize="small", color="0.5")


def _draw_scores(axes: Axes, iou: Series, accuracy: Series) -> None:
    percent = [Series(series.iterations, 100 * series.values) for series in (iou, accuracy)]
    _draw_line(axes, percent[1], _ACCURACY, "pixel accuracy", marker="o")
    _draw_line(axes, percent[0], _IOU, "mean IoU", marker="o")
    axes.set_ylim(0, 100)
    _mark_best(axes, percent[0])
    _finish(axes, "test, %", "best", bool(iou.values.size or accuracy.values.size))


def _draw_line(axes: Axes, series: Series, color: str, label: str, marker: str = "") -> None:
    """A thick line; points where there are few of them, since one alone has no line."""
    few = len(series.values) <= 40
    marker = (marker or "o") if len(series.values) == 1 else marker if few else ""
    if series.values.size:
        axes.plot(*series, color=color, linewidth=2, marker=marker, markersize=4, label=label)


def _mark_best(axes: Axes, series: Series) -> None:
    """Names the best value beside its point."""
    if not series.values.size:
        return
    best = int(np.argmax(series.values))
    x, y = float(series.iterations[best]), float(series.values[best])
    axes.annotate(f"{y:.1f}", (x, y), (0, 7), textcoords="offset points", ha="center", color=_IOU, fontweight="bold")


def _span_iterations(axes: Axes, iterations: Series) -> None:
    """From 0 to a little past the last iteration, ticks at whole numbers."""
    last = max(1.0, iterations.values[-1] if iterations.values.size else 1.0)
    axes.set_xlim(-0.02 * last, 1.04 * last)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 5, 10]))


def _finish(axes: Axes, title: str, corner: Literal["upper right", "best"], anything: bool) -> None:
    """Title, grid and a legend: losses leave the upper right free when a training goes well, scores may be anywhere."""
    axes.set_title(title, loc="left")
    axes.set_xlabel("iteration")
    axes.grid(True, color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if anything:
        axes.legend(frameon=False, loc=corner)
        return
    axes.grid(False)
    axes.tick_params(left=False, labelleft=False)
    axes.text(0.5, 0.5, "nothing recorded yet", transform=axes.transAxes, ha="center", va="center", color="0.5")
