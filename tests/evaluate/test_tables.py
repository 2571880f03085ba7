from __future__ import annotations

import json

import numpy as np
import pytest

from segspec.evaluate.boundary import summarise
from segspec.evaluate.metrics import Metrics
from segspec.evaluate.report import Report
from segspec.evaluate.tables import as_json, as_markdown


def make_report(names: tuple[str, ...] = ("Road", "Car", "Pole")) -> Report:
    matrix = np.array([[15, 5, 0], [0, 10, 0], [0, 0, 0]], np.int64)
    return Report(
        names, Metrics(matrix), "exact", 1, "iteration 8 (best)", 8, summarise([np.array([0.5, 0.25, np.nan])], 3)
    )


def test_json_gives_shares_and_null_where_nothing_is_defined() -> None:
    document = json.loads(as_json(make_report()), parse_constant=pytest.fail)
    assert document["classes"][0] == {
        "name": "Road",
        "iou": 0.75,
        "accuracy": 0.75,
        "precision": 1.0,
        "f1": pytest.approx(6 / 7),
        "boundary_f1": 0.5,
        "pixels": 20,
        "predicted_pixels": 15,
    }
    assert document["classes"][2]["iou"] is None
    assert document["totals"]["mean_iou"] == pytest.approx((0.75 + 2 / 3) / 2)
    assert document["baseline"]["class"] == "Road" and document["baseline"]["mean_iou"] == pytest.approx(1 / 3)
    assert document["confusion_matrix"] == [[15, 5, 0], [0, 10, 0], [0, 0, 0]]
    assert (document["images"], document["pixels"], document["statistics"]) == (1, 30, "exact")
    assert (document["iteration"], document["weights"]) == (8, "iteration 8 (best)")


def test_json_without_any_pixel_is_still_json() -> None:
    empty = Report(("a", "b"), Metrics(np.zeros((2, 2), np.int64)), "none", 0, "w.safetensors")
    assert json.loads(as_json(empty), parse_constant=pytest.fail)["totals"]["mean_iou"] is None


def test_every_markdown_table_has_as_many_cells_in_each_row_as_in_its_head() -> None:
    tables = [part.splitlines() for part in as_markdown(make_report()).split("\n\n") if part.startswith("|")]
    assert [len(table) for table in tables] == [7, 6, 5]
    for table in tables:
        assert len({line.count(" | ") for line in table}) == 1
    assert "| Road | 75.0 | 75.0 | 100.0 | 85.7 | 50.0 | 20 |" in tables[1]
    assert "| Pole | - | - | - | - | - | absent (0 px) |" in tables[1]


def test_a_class_name_cannot_break_the_markdown() -> None:
    text = as_markdown(make_report(("a|b", "<script>", "*c*")))
    assert "| a\\|b | 75.0" in text and "<script>" not in text.replace("\\<script\\>", "")


def test_markdown_says_which_weights_and_statistics_were_used() -> None:
    assert "weights: iteration 8 (best); batch normalisation: exact" in as_markdown(make_report())
