from __future__ import annotations

import math

import numpy as np
import pytest

from segspec.evaluate.confusion import count
from segspec.evaluate.metrics import Metrics, find_collapse


def metrics_of(rows: list[list[int]]) -> Metrics:
    return Metrics(np.array(rows, np.int64))


def test_the_measures_of_a_matrix_worked_by_hand() -> None:
    metrics = metrics_of([[6, 2], [1, 3]])
    np.testing.assert_allclose(metrics.iou, [6 / 9, 3 / 6])
    np.testing.assert_allclose(metrics.accuracy, [6 / 8, 3 / 4])
    np.testing.assert_allclose(metrics.precision, [6 / 7, 3 / 5])
    np.testing.assert_allclose(metrics.f1, [12 / 15, 6 / 9])
    assert metrics.global_accuracy == pytest.approx(9 / 12)
    assert metrics.class_average == pytest.approx(3 / 4)
    assert metrics.mean_iou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert metrics.frequency_weighted_iou == pytest.approx((8 * 6 / 9 + 4 * 3 / 6) / 12)


def test_an_absent_class_is_left_out_of_every_mean() -> None:
    metrics = metrics_of([[3, 0, 1], [0, 0, 0], [0, 0, 4]])
    assert metrics.absent.tolist() == [False, True, False]
    assert all(math.isnan(scores[1]) for scores in (metrics.iou, metrics.accuracy, metrics.precision, metrics.f1))
    assert metrics.mean_iou == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert metrics.class_average == pytest.approx((3 / 4 + 1) / 2)


def test_a_class_predicted_but_not_true_lowers_the_mean_iou_and_not_the_class_average() -> None:
    metrics = metrics_of([[3, 1], [0, 0]])
    assert metrics.iou.tolist() == [0.75, 0.0] and metrics.mean_iou == pytest.approx(0.375)
    assert math.isnan(metrics.accuracy[1]) and metrics.class_average == pytest.approx(0.75)
    assert metrics.precision[1] == 0.0
    assert metrics.frequency_weighted_iou == pytest.approx(0.75)


def test_a_class_true_but_never_predicted_has_no_precision() -> None:
    metrics = metrics_of([[3, 0], [1, 0]])
    assert math.isnan(metrics.precision[1]) and metrics.accuracy[1] == 0.0 and metrics.f1[1] == 0.0


def test_no_pixels_at_all_give_nan_and_no_warning() -> None:
    metrics = metrics_of([[0, 0], [0, 0]])
    totals = (metrics.global_accuracy, metrics.class_average, metrics.mean_iou, metrics.frequency_weighted_iou)
    assert all(map(math.isnan, totals)) and math.isnan(metrics.baseline.mean_iou)
    assert find_collapse(metrics, ("a", "b")) is None


def test_the_baseline_is_what_always_answering_the_commonest_class_would_score() -> None:
    label = np.repeat([0, 1, 2], [20, 70, 10])
    prediction = np.random.default_rng(0).integers(0, 3, 100)
    baseline = Metrics(count(prediction, label, 3)).baseline
    np.testing.assert_array_equal(baseline.matrix, count(np.full(100, 1), label, 3))
    assert baseline.global_accuracy == pytest.approx(0.7)
    assert baseline.mean_iou == pytest.approx(0.7 / 3)
    assert baseline.class_average == pytest.approx(1 / 3)


def test_counts_beyond_32_bits_are_exact() -> None:
    metrics = metrics_of([[2**40, 1], [0, 2**40]])
    assert metrics.total == 2**41 + 1
    assert 1 - metrics.global_accuracy == pytest.approx(2**-41, rel=1e-3)


def test_a_matrix_that_is_not_square_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="square"):
        Metrics(np.zeros((2, 3), np.int64))


def test_collapse_is_named_with_its_class_and_causes() -> None:
    warning = find_collapse(metrics_of([[8000, 0, 1], [1500, 2, 0], [497, 0, 0]]), ("Road", "Car", "Pole"))
    assert warning is not None and warning.severity == "warning"
    assert warning.message == "100.0 % of the pixels are predicted as 'Road', but the labels hold 3 classes"
    assert "class_weights" in warning.hint


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[995, 0], [1, 4]], id="one class really covers nearly everything, the other is found"),
        pytest.param([[1000, 0], [0, 0]], id="only one class in the labels"),
        pytest.param([[700, 10], [200, 90]], id="poor, but not collapsed"),
    ],
)
def test_no_collapse_where_there_is_none(rows: list[list[int]]) -> None:
    assert find_collapse(metrics_of(rows), ("a", "b")) is None


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    label, prediction = random.integers(0, 5, 400), random.integers(0, 5, 400)
    metrics = Metrics(count(prediction, label, 5))
    np.testing.assert_allclose(metrics.iou, sklearn.jaccard_score(label, prediction, average=None))
    np.testing.assert_allclose(metrics.accuracy, sklearn.recall_score(label, prediction, average=None))
    np.testing.assert_allclose(metrics.precision, sklearn.precision_score(label, prediction, average=None))
    np.testing.assert_allclose(metrics.f1, sklearn.f1_score(label, prediction, average=None))
    assert metrics.mean_iou == pytest.approx(sklearn.jaccard_score(label, prediction, average="macro"))
    assert metrics.frequency_weighted_iou == pytest.approx(sklearn.jaccard_score(label, prediction, average="weighted"))
    assert metrics.class_average == pytest.approx(sklearn.balanced_accuracy_score(label, prediction))
    assert metrics.global_accuracy == pytest.approx(sklearn.accuracy_score(label, prediction))
