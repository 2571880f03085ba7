from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.errors import DataError
from segspec.evaluate.confusion import count, count_on_device

CLASSES, IGNORE = 4, 9


def draw_maps(seed: int, shape: tuple[int, ...] = (13, 17)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, CLASSES, shape), random.choice([*range(CLASSES), IGNORE], shape)


def test_rows_are_truth_and_columns_are_prediction() -> None:
    matrix = count(np.array([1, 1, 0]), np.array([0, 0, 2]), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    assert matrix.dtype == np.int64


def test_ignored_pixels_are_left_out_whatever_was_predicted_there() -> None:
    matrix = count(np.array([0, 77, 1]), np.array([0, 255, 255]), 2, ignore_label=255)
    assert matrix.tolist() == [[1, 0], [0, 0]]


def test_an_ignored_label_may_be_one_of_the_classes() -> None:
    labels = np.array([0, 1])
    assert count(labels, labels, 2, ignore_label=0).tolist() == [[0, 0], [0, 1]]
    assert np.asarray(count_on_device(labels, labels, 2, ignore_label=0)).tolist() == [[0, 0], [0, 1]]


def test_uint8_maps_of_many_classes_do_not_overflow() -> None:
    classes = 200
    matrix = count(np.full(5, 199, np.uint8), np.full(5, 198, np.uint8), classes)
    assert matrix[198, 199] == 5 and matrix.sum() == 5


def test_nothing_to_count_gives_zeros() -> None:
    empty = np.zeros((0, 4), np.uint8)
    assert count(empty, empty, 3).tolist() == [[0] * 3] * 3
    assert np.asarray(count_on_device(empty, empty, 3)).tolist() == [[0] * 3] * 3


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([0, 0, 0], [0, 3, 7], r"label values outside the 3 classes \(0..2\): 3, 7"),
        ([0, 0, 0], [0, -1, 1], r"label values outside the 3 classes \(0..2\): -1"),
        ([0, 5, 0], [0, 1, 1], r"prediction values outside the 3 classes \(0..2\): 5"),
        ([0, 1], [0, 1, 1], r"the prediction has shape \(2,\), its label \(3,\)"),
    ],
)
def test_values_that_would_be_miscounted_are_refused(prediction: list[int], label: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        count(np.array(prediction), np.array(label), 3)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_device_counts_as_the_host(seed: int) -> None:
    prediction, label = draw_maps(seed)
    on_device = jax.jit(count_on_device, static_argnums=(2, 3))(prediction, label, CLASSES, IGNORE)
    np.testing.assert_array_equal(np.asarray(on_device), count(prediction, label, CLASSES, IGNORE))


def test_the_device_counts_strangers_nowhere() -> None:
    prediction, label = np.array([0, 3, -1, 0, 0, 1]), np.array([0, 0, 0, 3, -1, 1])
    assert np.asarray(count_on_device(prediction, label, 3)).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_matrices_of_batches_add_up() -> None:
    prediction, label = draw_maps(3, (6, 8, 8, 1))
    parts = sum(count(prediction[i], label[i], CLASSES, IGNORE) for i in range(6))
    np.testing.assert_array_equal(parts, count(prediction, label, CLASSES, IGNORE))


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    prediction, label = draw_maps(seed)
    counted = label != IGNORE
    expected = sklearn.confusion_matrix(label[counted], prediction[counted], labels=range(CLASSES))
    np.testing.assert_array_equal(count(prediction, label, CLASSES, IGNORE), expected)
