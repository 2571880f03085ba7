from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, ShapeError
from segspec.layers.boundary_loss import BoundaryLoss

RNG = np.random.default_rng(0)
SCORE = RNG.normal(size=(2, 7, 8, 3)).astype(np.float32)
LABEL = np.zeros((2, 7, 8, 1), np.int32)
LABEL[0, 2:, 3:] = 1
LABEL[1, 4:, :5] = 2
LABEL[1, :2] = 1
HOLES = np.where(RNG.random(LABEL.shape) < 0.2, 11, LABEL).astype(np.int32)


@functools.cache
def _compiled(layer: BoundaryLoss) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return jax.jit(lambda score, label: layer.forward({}, {}, [score, label], Context())[0][0])


@functools.cache
def _compiled_gradient(layer: BoundaryLoss) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return jax.jit(jax.grad(_compiled(layer)))


def run(layer: BoundaryLoss, score: np.ndarray, label: np.ndarray) -> float:
    return float(_compiled(layer)(jnp.asarray(score), jnp.asarray(label)))


def gradient(layer: BoundaryLoss, score: np.ndarray, label: np.ndarray) -> np.ndarray:
    return np.asarray(_compiled_gradient(layer)(jnp.asarray(score), jnp.asarray(label)))


def perfect(label: np.ndarray, classes: int = 3) -> np.ndarray:
    return (100.0 * np.eye(classes)[label[..., 0]]).astype(np.float32)


def around(values: np.ndarray, row: int, column: int, window: int) -> np.ndarray:
    reach = window // 2
    part = values[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
    return np.asarray(part)


def contour(belonging: np.ndarray, counted: np.ndarray, window: int) -> np.ndarray:
    found = np.zeros_like(belonging)
    for row, column in zip(*np.nonzero(counted), strict=True):
        near = around(belonging, row, column, window)[around(counted, row, column, window)]
        found[row, column] = belonging[row, column] - near.min()
    return found


def greatest(values: np.ndarray, window: int) -> np.ndarray:
    found = [[around(values, row, column, window).max() for column in range(8)] for row in range(7)]
    return np.array(found)


def oracle(layer: BoundaryLoss, score: np.ndarray, label: np.ndarray) -> float:
    """Pixel by pixel, in double precision."""
    power = np.exp(score.astype(np.float64))
    probability, weights = power / power.sum(-1, keepdims=True), layer.class_weights or (1.0, 1.0, 1.0)
    images = []
    for image in range(len(score)):
        counted = label[image, ..., 0] != layer.ignore_label
        losses, total = 0.0, 0.0
        for c in range(3):
            true = contour((label[image, ..., 0] == c).astype(float), counted, layer.theta0)
            if not true.any():
                continue
            said = contour(probability[image, ..., c], counted, layer.theta0)
            precision = (said * greatest(true, layer.theta)).sum() / said.sum()
            recall = (true * greatest(said, layer.theta)).sum() / true.sum()
            losses += float(weights[c]) * (1 - 2 * precision * recall / (precision + recall))
            total += float(weights[c])
        if total:
            images.append(losses / total)
    return float(np.mean(images))


@pytest.mark.parametrize("label", [LABEL, HOLES], ids=["whole", "holes"])
@pytest.mark.parametrize(("theta0", "theta"), [(3, 5), (5, 3), (3, 9)])
def test_formula(label: np.ndarray, theta0: int, theta: int) -> None:
    layer = BoundaryLoss(theta0=theta0, theta=theta, ignore_label=11)
    assert run(layer, SCORE, label) == pytest.approx(oracle(layer, SCORE, label), rel=1e-5)


def test_weights_say_how_much_each_class_counts() -> None:
    layer = BoundaryLoss(class_weights=(1, 5, 0))
    assert run(layer, SCORE, LABEL) == pytest.approx(oracle(layer, SCORE, LABEL), rel=1e-5)


def test_the_same_contours_cost_nothing_and_far_ones_all() -> None:
    label = np.zeros((1, 4, 20, 1), np.int32)
    label[:, :, 5:] = 1
    near, far = np.roll(label, 2, axis=2), np.roll(label, 12, axis=2)
    near[:, :, :2], far[:, :, :5] = 0, 1
    assert run(BoundaryLoss(), perfect(label), label) == pytest.approx(0, abs=1e-6)
    assert run(BoundaryLoss(theta=5), perfect(near), label) == pytest.approx(0, abs=1e-6)
    assert run(BoundaryLoss(theta=3), perfect(near), label) > 0.4
    assert run(BoundaryLoss(), perfect(far), label) > 0.9


def test_a_prediction_of_one_class_costs_all_and_stays_finite() -> None:
    one = perfect(np.zeros_like(LABEL))
    assert run(BoundaryLoss(), one, LABEL) == pytest.approx(1)
    assert np.isfinite(gradient(BoundaryLoss(), one, LABEL)).all()


def test_ignored_pixels_count_nowhere_and_make_no_contour() -> None:
    label = LABEL.copy()
    label[:, :, 5:] = 11
    layer = BoundaryLoss(ignore_label=11)
    assert run(layer, SCORE, label) == pytest.approx(run(layer, SCORE[:, :, :5], LABEL[:, :, :5]), rel=1e-6)
    assert not gradient(layer, SCORE, label)[:, :, 5:].any()


def test_images_without_a_contour_are_left_out() -> None:
    label = LABEL.copy()
    label[1] = 2
    assert run(BoundaryLoss(), SCORE, label) == pytest.approx(run(BoundaryLoss(), SCORE[:1], LABEL[:1]), rel=1e-6)
    for nothing in (np.ones_like(LABEL), np.full_like(LABEL, 11)):
        assert run(BoundaryLoss(ignore_label=11), SCORE, nothing) == 0
        assert not gradient(BoundaryLoss(ignore_label=11), SCORE, nothing).any()


def test_descending_the_gradient_finds_the_contour() -> None:
    label = np.zeros((1, 12, 12, 1), np.int32)
    label[:, 4:, 6:] = 1
    score = 0.5 * perfect(np.roll(label, 1, axis=2), 2) / 100 + RNG.normal(scale=0.3, size=(1, 12, 12, 2))
    before = run(BoundaryLoss(), score.astype(np.float32), label)
    for _ in range(60):
        score = score - 5 * gradient(BoundaryLoss(), score.astype(np.float32), label)
    assert run(BoundaryLoss(), score.astype(np.float32), label) < 0.5 * before


def test_what_does_not_fit_is_refused() -> None:
    score, label = Blob((2, 4, 5, 3)), Blob((2, 4, 5, 1), "int32")
    with pytest.raises(ShapeError, match="only maps of scores"):
        BoundaryLoss().shapes([Blob((2, 3)), Blob((2,), "int32")])
    with pytest.raises(ShapeError, match="sizes differ"):
        BoundaryLoss().shapes([score, Blob((2, 4, 6, 1), "int32")])
    with pytest.raises(ShapeError, match="class_weights has 2 numbers"):
        BoundaryLoss(class_weights=(1, 2)).shapes([score, label])
    with pytest.raises(ValidationError, match="must be odd"):
        BoundaryLoss(theta=4)
    with pytest.raises(ValidationError):
        BoundaryLoss(theta0=1)
