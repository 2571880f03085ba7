"""The confusion matrix as a picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from segspec.evaluate.metrics import Metrics, Scores

_MOST_NUMBERED = 40  # classes: more cells than these squared have no room for a figure
_LONGEST_NAME = 24  # characters


def draw_confusion(metrics: Metrics, names: Sequence[str]) -> bytes:
    """The picture of `plot_confusion` as PNG."""
    return _render(plot_confusion(metrics, names))


def plot_confusion(metrics: Metrics, names: Sequence[str]) -> Figure:
    """What share of each true class (row) was predicted as each class (column), in per cent.

    A row of a class that is not in the labels is grey.

    Args:
        metrics: whose matrix to draw.
        names: class names.
    """
    shares = _share_rows(metrics)
    cell = 0.5 if len(names) <= 16 else 0.36 if len(names) <= _MOST_NUMBERED else 0.15  # inches
    side = max(2.0, cell * len(names))
    figure = Figure(figsize=(side + 2.5, side + 2.5), dpi=120, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    size = 9.0 if len(names) <= _MOST_NUMBERED else 7.0
    grey = "" if metrics.truth.all() else "\ngrey: not in the labels"
    figure.suptitle(f"Confusion, % of the true class{grey}", x=0.03, ha="left", fontsize=12)
    _name_axes(axes, [_shorten(name) for name in names], size)
    if len(names) <= _MOST_NUMBERED:
        _write_cells(axes, shares, size=9.0 if cell == 0.5 else 7.0)
    return figure


def _render(figure: Figure) -> bytes:
    """The figure as PNG; letters that the font lacks become boxes, which is no reason to warn."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _share_rows(metrics: Metrics) -> Scores:
    """(classes, classes): each row divided by its sum, NaN where the class is not in the labels."""
    shares = np.full(metrics.matrix.shape, np.nan)
    present = metrics.truth > 0
    shares[present] = metrics.matrix[present] / metrics.truth[present, None]
    return shares


def _name_axes(axes: Axes, names: Sequence[str], size: float) -> None:
    """Class names along both sides, as they are: `$` starts no formula."""
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)


def _write_cells(axes: Axes, shares: Scores, size: float) -> None:
    """Whole per cents in the cells that have at least half of one."""
    for truth, prediction in np.argwhere(shares >= 0.005):
        share = float(shares[truth, prediction])
        color = "white" if share > 0.55 else "black"
        axes.text(prediction, truth, f"{100 * share:.0f}", ha="center", va="center", fontsize=size, color=color)


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
