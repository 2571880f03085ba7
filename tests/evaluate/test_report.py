from __future__ import annotations

import math

import numpy as np
import pytest

from segspec.evaluate.boundary import summarise
from segspec.evaluate.metrics import Metrics
from segspec.evaluate.report import (
    Report,
    list_class_rows,
    list_columns,
    list_confusion_cells,
    list_confusions,
    list_mean_row,
    list_totals,
)

NAMES = ("Road", "Car", "Pole")


def make_report(rows: list[list[int]], boundary: bool = False) -> Report:
    scores = summarise([np.array([0.5, 0.25, math.nan])], 3) if boundary else None
    return Report(NAMES, Metrics(np.array(rows, np.int64)), "running averages", 4, "iteration 8 (best)", 8, scores)


ONE_ABSENT = [[1500, 500, 0], [1, 999, 0], [0, 0, 0]]


def test_a_class_row_gives_percentages_with_one_decimal_and_pixels() -> None:
    report = make_report(ONE_ABSENT)
    assert list_columns(report) == ["class", "IoU", "accuracy", "precision", "F1", "pixels"]
    assert list_class_rows(report)[0] == ["Road", "75.0", "75.0", "99.9", "85.7", "2,000"]


def test_an_absent_class_says_so() -> None:
    assert list_class_rows(make_report(ONE_ABSENT))[2] == ["Pole", "-", "-", "-", "-", "absent (0 px)"]


def test_a_class_that_is_only_predicted_is_not_called_absent() -> None:
    assert list_class_rows(make_report([[9, 0, 1], [0, 0, 0], [0, 0, 0]]))[2] == ["Pole", "0.0", "-", "0.0", "0.0", "0"]


def test_boundary_f1_is_one_more_column() -> None:
    report = make_report(ONE_ABSENT, boundary=True)
    widths = {len(list_columns(report)), len(list_mean_row(report)), *map(len, list_class_rows(report))}
    assert widths == {7}
    assert list_columns(report)[5] == "BF" and list_class_rows(report)[1][5] == "25.0"
    assert list_totals(report)[-1].value == pytest.approx(0.375) and list_totals(report)[-1].baseline == 0.0


def test_the_totals_stand_beside_the_baseline() -> None:
    report = make_report(ONE_ABSENT)
    totals = {total.key: (total.value, total.baseline) for total in list_totals(report)}
    assert report.baseline_name == "always Road"
    assert totals["global_accuracy"] == pytest.approx((2499 / 3000, 2 / 3))
    assert totals["mean_iou"] == pytest.approx(((1500 / 2001 + 999 / 1500) / 2, 1 / 3))


def test_confusions_are_shares_of_the_true_class_largest_first() -> None:
    found = list_confusions(make_report([[80, 20, 0], [0, 5, 5], [1, 0, 99]]), 2)
    assert [tuple(confusion) for confusion in found] == [("Car", "Pole", 0.5), ("Road", "Car", 0.2)]


def test_a_cell_of_the_matrix_tells_none_from_few_and_from_no_such_class() -> None:
    report = make_report([[99_999, 1, 0], [0, 1, 0], [0, 0, 0]])
    assert list_confusion_cells(report, 0) == ["100.0", "0.0", "."]
    assert list_confusion_cells(report, 2) == ["-", "-", "-"]


def test_the_source_line_names_images_pixels_and_statistics() -> None:
    assert make_report(ONE_ABSENT).source.startswith("4 images, 3,000 pixels; weights: iteration 8 (best); batch")


def test_a_collapsed_network_is_in_the_warnings() -> None:
    assert make_report(ONE_ABSENT).warnings == ()
    assert "'Road'" in make_report([[900, 0, 0], [90, 0, 0], [10, 0, 0]]).warnings[0].message
