from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from segspec.evaluate.metrics import Metrics
from segspec.evaluate.report import Report
from segspec.evaluate.terminal import print_report


def show(names: tuple[str, ...], matrix: np.ndarray, width: int = 100) -> str:
    file = io.StringIO()
    print_report(Report(names, Metrics(matrix), "exact", 2, "iteration 8 (last)"), Console(file=file, width=width))
    return file.getvalue()


def random_matrix(classes: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 10**9, (classes, classes))


@pytest.mark.parametrize("classes", [2, 11, 32])
def test_no_line_is_wider_than_the_console_and_no_figure_is_broken(classes: int) -> None:
    names = tuple(f"class{index}" for index in range(classes))
    matrix = random_matrix(classes)
    text = show(names, matrix)
    assert max(map(len, text.splitlines())) <= 100
    for index, name in enumerate(names):
        row = next(line.split() for line in text.splitlines() if line.split()[:1] == [name])
        assert row[-1] == f"{matrix[index].sum():,}"


def test_a_matrix_too_wide_becomes_the_list_of_the_largest_confusions() -> None:
    matrix = np.eye(20, dtype=np.int64) * 100
    matrix[3, 7] = 50
    names = tuple(f"class{index}" for index in range(20))
    text = show(names, matrix)
    assert "rows true" not in text
    assert ["class3", "33.3", "class7"] in [line.split() for line in text.splitlines()]
    assert "rows true" in show(names, matrix, width=200)


def test_class_names_are_printed_as_they_are() -> None:
    text = show(("[bold]a[/bold]", ":smile:"), random_matrix(2))
    assert "[bold]a[/bold]" in text and ":smile:" in text


def test_a_heading_longer_than_its_table_stays_on_one_line() -> None:
    assert "Confusion: rows true, columns predicted, % of the true class" in show(("a", "b"), random_matrix(2))


def test_a_long_name_is_folded_not_cut() -> None:
    text = show(("a" * 40, "b"), random_matrix(2))
    assert "a" * 30 in text and max(map(len, text.splitlines())) <= 100


def test_no_colour_codes_when_not_a_terminal() -> None:
    assert "\x1b" not in show(("a", "b"), random_matrix(2))


def test_a_console_that_knows_only_ascii_gets_only_ascii() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    report = Report(("a", "b"), Metrics(random_matrix(2)), "exact", 2, "iteration 8 (last)")
    print_report(report, Console(file=file, width=100))
    file.flush()


def test_the_totals_and_their_source_come_last() -> None:
    lines = show(("a", "b"), np.array([[3, 1], [0, 0]])).splitlines()
    assert lines[-1] == "2 images, 4 pixels; weights: iteration 8 (last); batch normalisation: exact"
    assert ["mean", "IoU", "37.5", "100.0"] in [line.split() for line in lines[-8:]]


def test_nothing_counted_prints_without_failing() -> None:
    assert "absent (0 px)" in show(("a", "b"), np.zeros((2, 2), np.int64))
