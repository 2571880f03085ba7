from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segspec.data.class_weights import class_weights, effective_number, enet, median_frequency
from segspec.data.scan import LabelCounts, scan
from segspec.data.sources import open_source
from segspec.data.synthetic import STREET_TABLE
from segspec.layers.data import DenseImageData

COUNTS = LabelCounts(np.array([[60, 30, 0, 0], [20, 0, 70, 0]]), np.array([10, 10]), np.array([[10, 10], [10, 10]]))
NAMES = ("a", "b", "c", "d")


def test_median_frequency_counts_only_images_that_hold_the_class() -> None:
    frequency = np.array([80 / 200, 30 / 100, 70 / 100])
    np.testing.assert_allclose(median_frequency(COUNTS), [*(0.4 / frequency), 0.0])


def test_enet() -> None:
    share = np.array([80, 30, 70]) / 180
    np.testing.assert_allclose(enet(COUNTS), [*(1 / np.log(1.02 + share)), 0.0])


def test_effective_number() -> None:
    beta = 179 / 180
    inverse = (1 - beta) / (1 - beta ** np.array([80, 30, 70]))
    np.testing.assert_allclose(effective_number(COUNTS), [*(inverse / inverse.sum() * 3), 0.0])


@pytest.mark.parametrize("scheme", ["median_frequency", "enet", "effective_number"])
def test_a_class_without_pixels_weighs_nothing_and_is_named(scheme: str) -> None:
    found = class_weights(scheme, COUNTS, NAMES)
    assert found.weights[3] == 0.0 and min(found.weights[:3]) > 0
    (warning,) = found.warnings
    assert warning.severity == "warning" and "class 'd' has no pixel" in warning.message


@pytest.mark.parametrize("scheme", ["median_frequency", "enet", "effective_number"])
@pytest.mark.parametrize("pixels", [[[0, 0]], [[1, 0]], [[10**12, 1]]])
def test_extreme_counts_stay_finite(scheme: str, pixels: list[list[int]]) -> None:
    found = class_weights(scheme, LabelCounts(np.array(pixels), np.array([0]), np.array([[1, 1]])), ("a", "b"))
    assert np.isfinite(found.weights).all()
    assert [weight > 0 for weight in found.weights] == [count > 0 for count in pixels[0]]


def test_equal_classes_weigh_the_same() -> None:
    counts = LabelCounts(np.array([[5, 5], [7, 7]]), np.array([3, 0]), np.array([[1, 13], [1, 14]]))
    np.testing.assert_allclose(median_frequency(counts), [1, 1])
    np.testing.assert_allclose(effective_number(counts), [1, 1])


def test_camvid_weighs_what_its_labels_say(shared: Path, tmp_path: Path) -> None:
    source = open_source(DenseImageData(source="train.txt"), STREET_TABLE, shared / "data" / "camvid")
    found = class_weights(
        "median_frequency", scan(source, STREET_TABLE, images=False, cache=tmp_path), STREET_TABLE.names
    )
    expected = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]
    np.testing.assert_allclose(found.weights, expected, atol=5e-5)
    assert found.warnings == ()
