from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.evaluate.boundary import boundary_f1, summarise

IGNORE = 9


def contour(labels: np.ndarray, index: int, ignored: np.ndarray) -> list[tuple[int, int]]:
    """Pixel by pixel, straight from the definition."""
    height, width = labels.shape
    pixels = []
    for y in range(height):
        for x in range(width):
            if labels[y, x] != index or ignored[y, x]:
                continue
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= v < height and 0 <= u < width
                if inside and not ignored[v, u] and labels[v, u] != index:
                    pixels.append((y, x))
                    break
    return pixels


def share_near(pixels: list[tuple[int, int]], others: list[tuple[int, int]], radius: float) -> float:
    near = [any(math.dist(pixel, other) <= radius for other in others) for pixel in pixels]
    return sum(near) / len(near)


def brute_force(prediction: np.ndarray, label: np.ndarray, classes: int, tolerance: float) -> list[float]:
    ignored = label == IGNORE
    radius = tolerance * math.hypot(*label.shape)
    scores = []
    for index in range(classes):
        true, predicted = contour(label, index, ignored), contour(prediction, index, ignored)
        if not true:
            scores.append(math.nan)
        elif not predicted:
            scores.append(0.0)
        else:
            p, r = share_near(predicted, true, radius), share_near(true, predicted, radius)
            scores.append(2 * p * r / (p + r) if p + r else 0.0)
    return scores


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.06, 0.11]))
@settings(max_examples=25, deadline=None)
def test_agrees_with_the_definition_pixel_by_pixel(seed: int, tolerance: float) -> None:
    random = np.random.default_rng(seed)
    blocks = random.choice([0, 1, 2, IGNORE], (4, 5), p=[0.4, 0.3, 0.2, 0.1])
    label = np.kron(blocks, np.ones((3, 4), int))
    prediction = np.where(label == IGNORE, 1, label)
    prediction = np.where(random.random(label.shape) < 0.1, random.integers(0, 3, label.shape), prediction)
    scores = boundary_f1(prediction, label, 4, IGNORE, tolerance)
    np.testing.assert_allclose(scores, brute_force(prediction, label, 4, tolerance), atol=1e-7)


def square(size: int, shift: int = 0) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[size // 4 : size // 2, size // 4 + shift : size // 2 + shift] = 1
    return labels


def test_a_perfect_prediction_scores_one() -> None:
    assert boundary_f1(square(64), square(64), 2).tolist() == [1.0, 1.0]


def test_a_contour_within_the_tolerance_is_not_an_error_and_one_beyond_it_is() -> None:
    label = square(200)  # the diagonal is 283 pixels, the tolerance 2.1
    assert boundary_f1(square(200, 2), label, 2)[1] == 1.0
    assert boundary_f1(square(200, 4), label, 2)[1] < 0.9


def test_a_distance_of_exactly_the_tolerance_counts() -> None:
    label, prediction = np.zeros((300, 400), np.uint8), np.zeros((300, 400), np.uint8)
    label[:, :200], prediction[:, :205] = 1, 1
    assert boundary_f1(prediction, label, 2, tolerance=0.01).tolist() == [1.0, 1.0]
    assert boundary_f1(prediction, label, 2, tolerance=0.0099).tolist() == [0.0, 0.0]


def test_a_class_absent_from_the_label_has_no_score_and_a_missed_one_scores_zero() -> None:
    nothing = np.zeros((32, 32), np.uint8)
    assert np.isnan(boundary_f1(square(32), nothing, 2)).all()
    assert boundary_f1(nothing, square(32), 3)[:2].tolist() == [0.0, 0.0]
    assert math.isnan(boundary_f1(nothing, square(32), 3)[2])


def test_what_is_predicted_in_ignored_pixels_does_not_matter() -> None:
    label = square(64)
    label[40:] = IGNORE
    noise = label.copy()
    noise[40:] = np.random.default_rng(0).integers(0, 2, (24, 64))
    assert boundary_f1(noise, label, 2, IGNORE).tolist() == [1.0, 1.0]


def test_the_edge_of_an_ignored_region_is_no_contour() -> None:
    label = np.zeros((16, 16), np.uint8)
    label[:, 8:] = IGNORE
    assert np.isnan(boundary_f1(label, label, 1, IGNORE)).all()


def test_a_class_is_averaged_over_the_images_that_have_it() -> None:
    nan = math.nan
    scores = summarise([np.array([0.5, nan, nan]), np.array([1.0, 0.2, nan])], 3)
    np.testing.assert_allclose(scores.per_class, [0.75, 0.2, nan])
    assert scores.mean == pytest.approx((0.5 + 0.6) / 2)


def test_no_images_have_no_score() -> None:
    scores = summarise([], 2)
    assert np.isnan(scores.per_class).all() and scores.per_class.shape == (2,) and math.isnan(scores.mean)
