from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from segspec.train.curves import draw_curves, plot_curves

NAN, INF = math.nan, math.inf


def displays(losses: Sequence[float | None]) -> list[dict[str, object]]:
    return [{"iteration": 20 * index, "loss": loss, "rate": 0.1} for index, loss in enumerate(losses)]


def panels(records: list[dict[str, object]]) -> tuple[Axes, Axes]:
    left, right = plot_curves(records).axes
    return left, right


def curve(axes: Axes, label: str) -> list[tuple[float, float]]:
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


TESTS: list[dict[str, object]] = [
    {"iteration": 0, "loss": 2.5, "miou": 0.05, "accuracy": 0.3},
    {"iteration": 100, "loss": 1.5, "miou": 0.4, "accuracy": 0.8},
]


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([], id="nothing"),
        pytest.param(displays([2.3]), id="one display"),
        pytest.param(TESTS[:1], id="one test"),
        pytest.param(displays([NAN, INF, -INF]), id="nothing finite"),
        pytest.param(displays([2.0, NAN, None, 1.0]), id="gaps"),
        pytest.param([{"iteration": 5, "miou": NAN, "accuracy": None}], id="test without scores"),
        pytest.param(displays([0.0, 0.0]), id="zero loss"),
        pytest.param(displays([1e30, 1e-30]), id="huge range"),
        pytest.param(displays([5.0] * 500) + TESTS, id="long"),
    ],
)
def test_whatever_was_recorded_can_be_drawn(records: list[dict[str, object]], tmp_path: Path) -> None:
    draw_curves(records, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        picture.load()
        assert picture.size == (1210, 462)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_record_with_miou_is_a_test_and_the_others_are_training() -> None:
    left, right = panels(displays([2.0, 1.0]) + TESTS)
    assert curve(left, "test") == [(0, 2.5), (100, 1.5)]
    assert curve(left, "training, smoothed") == [(0, 2.0), (20, 1.0)]
    assert curve(right, "mean IoU") == [(0, 5.0), (100, 40.0)]
    assert curve(right, "pixel accuracy") == [(0, 30.0), (100, 80.0)]


def test_values_that_are_not_numbers_leave_no_point() -> None:
    left, _ = panels(displays([2.0, NAN, None, INF, 1.0]))
    assert curve(left, "training, smoothed") == [(0, 2.0), (80, 1.0)]


def test_smoothing_keeps_a_straight_line_and_calms_noise() -> None:
    straight = np.linspace(3, 1, 400)
    left, _ = panels(displays(straight.tolist()))
    np.testing.assert_allclose([y for _, y in curve(left, "training, smoothed")], straight)
    noisy = 2 + np.random.default_rng(0).normal(0, 0.5, 400)
    left, _ = panels(displays(noisy.tolist()))
    assert np.std([y for _, y in curve(left, "training, smoothed")][20:-20]) < 0.2


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([3.0, 0.2], "linear"), ([300.0, 2.0], "log"), ([300.0, 0.0], "linear"), ([300.0, -1.0], "linear")],
)
def test_the_loss_axis_is_logarithmic_beyond_two_decades(losses: list[float], scale: str) -> None:
    assert panels(displays(losses))[0].get_yscale() == scale


def falling(count: int = 60) -> list[float]:
    return [2.5 * 0.96**index for index in range(count)]


def test_an_outlier_neither_stretches_the_axis_nor_bends_the_curve() -> None:
    first: dict[str, object] = {"iteration": 0, "loss": 90.0, "miou": 0.1, "accuracy": 0.2}
    later: dict[str, object] = {"iteration": 1000, "loss": 0.6, "miou": 0.5, "accuracy": 0.9}
    left, right = panels([*displays([120.0, *falling()]), first, later])
    assert left.get_yscale() == "linear"
    assert 2.5 < left.get_ylim()[1] < 2.7
    assert max(y for _, y in curve(left, "training, smoothed")) <= 2.5
    assert curve(left, "test") == [(1000, 0.6)]
    assert left.get_title("right") == "not shown: up to 120"
    assert curve(right, "mean IoU") == [(0, 10.0), (1000, 50.0)]
    (pale,) = [line for line in left.get_lines() if line.get_alpha()]
    assert max(pale.get_ydata()) == 120


@pytest.mark.parametrize("losses", [falling(), [3.0, 0.2], [-1.0] * 20, [0.0] * 20, [*falling(20), -5.0]])
def test_without_an_outlier_everything_is_shown(losses: list[float]) -> None:
    left, _ = panels(displays(losses))
    bottom, top = left.get_ylim()
    assert bottom <= min(losses) and max(losses) <= top
    assert left.get_title("right") == ""


def test_an_outlier_on_a_logarithmic_axis_is_cut_off_too() -> None:
    left, _ = panels(displays([1e7, *(3 * 0.9**index for index in range(100))]))
    assert left.get_yscale() == "log"
    assert 3 < left.get_ylim()[1] < 10


def test_the_strong_line_is_the_smoothed_loss_of_the_log() -> None:
    records = [{**record, "smoothed_loss": 1.5} for record in displays([2.0, 1.0])]
    left, _ = panels(records)
    assert curve(left, "training, smoothed") == [(0, 1.5), (20, 1.5)]
    assert [list(line.get_ydata()) for line in left.get_lines() if line.get_alpha()] == [[2.0, 1.0]]


def test_the_best_mean_iou_is_written_beside_its_point() -> None:
    later: dict[str, object] = {"iteration": 200, "miou": 0.35, "accuracy": 0.9}
    _, right = panels([*TESTS, later])
    assert [(text.get_text(), text.xy) for text in right.texts] == [("40.0", (100.0, 40.0))]


def test_both_panels_show_the_same_iterations() -> None:
    left, right = panels(displays([1.0] * 100) + TESTS)
    assert left.get_xlim() == right.get_xlim() and left.get_xlim()[1] >= 99 * 20


def test_records_out_of_order_are_sorted() -> None:
    left, _ = panels(displays([3.0, 2.0, 1.0])[::-1])
    assert [x for x, _ in curve(left, "training, smoothed")] == [0, 20, 40]


@pytest.mark.parametrize(("miou", "accuracy"), [(0.05, 0.19), (0.37, 0.86), (0.95, 0.99)])
def test_the_legend_of_scores_hides_no_point(miou: float, accuracy: float) -> None:
    tests: list[dict[str, object]] = [
        {"iteration": 40 * index, "loss": 1.0, "miou": miou, "accuracy": accuracy} for index in range(20)
    ]
    _, right = panels(tests)
    right.figure.canvas.draw()
    legend = right.get_legend()
    assert legend is not None
    box = legend.get_window_extent()
    for line in right.get_lines():
        assert not any(box.contains(*point) for point in right.transData.transform(line.get_xydata()))
