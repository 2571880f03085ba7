from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.layers.base import Blob, Context, Layer, ShapeError
from segspec.layers.distance_loss import ContrastiveLoss, EuclideanLoss, L1Loss, SmoothL1Loss

RNG = np.random.default_rng(0)
A, B, INSIDE, OUTSIDE = RNG.normal(size=(4, 2, 4, 5, 3)).astype(np.float32)


def value(layer: Layer, *bottoms: object) -> float:
    arrays = [jnp.asarray(bottom) for bottom in bottoms]
    assert layer.shapes([Blob(array.shape) for array in arrays]) == (Blob(()),)
    return float(layer.forward({}, {}, arrays, Context())[0][0])


def gradient(layer: Layer, score: object, *others: object) -> np.ndarray:
    rest = [jnp.asarray(other) for other in others]

    def loss(score: jax.Array) -> jax.Array:
        return layer.forward({}, {}, [score, *rest], Context())[0][0]

    return np.asarray(jax.grad(loss)(jnp.asarray(score)))


def refused(layer: Layer, *blobs: Blob) -> str:
    with pytest.raises(ShapeError) as caught:
        layer.shapes(blobs)
    return str(caught.value)


def test_euclidean_loss_halves_and_divides_by_images() -> None:
    assert value(EuclideanLoss(), np.float32([[1, 2], [3, 4]]), np.float32([[0, 0], [0, 0]])) == 30 / 4
    assert "sizes differ" in refused(EuclideanLoss(), Blob((2, 3)), Blob((2, 4)))


@pytest.mark.parametrize("layer", [EuclideanLoss(), L1Loss(), SmoothL1Loss()])
def test_axes_of_length_1_do_not_matter(layer: Layer) -> None:
    score, target = np.float32([[1], [5], [-3]]), np.float32([2, 5, 4])
    assert value(layer, score, target) == value(layer, score, target[:, None])
    assert value(layer, score.reshape(3, 1, 1, 1), target) == value(layer, score, target[:, None])
    image = RNG.normal(size=(2, 4, 5, 1)).astype(np.float32)
    assert value(layer, image, image[..., 0]) == 0


def test_absolute_loss_divides_by_images() -> None:
    assert value(L1Loss(), A, B) == pytest.approx(np.abs(A - B).sum() / 2, rel=1e-6)
    equal = np.where(RNG.random(A.shape) < 0.5, A, B)
    np.testing.assert_allclose(gradient(L1Loss(), A, equal), np.sign(A - equal) / 2)
    assert "sizes differ" in refused(L1Loss(), Blob((2, 3)), Blob((2, 4)))


def smooth(difference: np.ndarray, sigma: float) -> np.ndarray:
    near = np.abs(difference) < 1 / sigma**2
    return np.where(near, 0.5 * (sigma * difference) ** 2, np.abs(difference) - 0.5 / sigma**2)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 0.5])
def test_smooth_loss_is_square_near_0_and_straight_beyond(sigma: float) -> None:
    layer = SmoothL1Loss(sigma=sigma)
    assert value(layer, A, B) == pytest.approx(smooth(A - B, sigma).sum() / 2, rel=1e-5)
    inside = smooth(INSIDE * (A - B), sigma)
    assert value(layer, A, B, INSIDE) == pytest.approx(inside.sum() / 2, rel=1e-5)
    assert value(layer, A, B, INSIDE, OUTSIDE) == pytest.approx((OUTSIDE * inside).sum() / 2, rel=1e-4, abs=1e-4)
    scaled = INSIDE * (A - B)
    slope = np.where(np.abs(scaled) < 1 / sigma**2, sigma**2 * scaled, np.sign(scaled))
    expected = OUTSIDE * slope * INSIDE / 2
    np.testing.assert_allclose(gradient(layer, A, B, INSIDE, OUTSIDE), expected, rtol=1e-4, atol=1e-6)


def test_smooth_loss_refuses_weights_of_another_size() -> None:
    score = Blob((2, 3))
    assert refused(SmoothL1Loss(), score, score, Blob((2, 1))) == "weights are 2x1 but the score is 2x3: sizes differ"


def test_contrastive_loss_formula_and_equal_pairs() -> None:
    a, b = np.float32([[0, 0], [0, 0], [1, 1], [2, 2]]), np.float32([[3, 4], [0.3, 0.4], [1, 1], [2, 2]])
    similar = np.array([1, 0, 0, 1], np.float32)
    assert value(ContrastiveLoss(), a, b, similar) == pytest.approx((25 + 0.25 + 1 + 0) / 8)
    legacy = ContrastiveLoss(legacy_version=True)
    assert value(legacy, a, b, similar) == pytest.approx((25 + 0.75 + 1 + 0) / 8)
    assert np.isfinite(gradient(ContrastiveLoss(), a, b, similar)).all()
    assert "4x2 and 4x3" in refused(ContrastiveLoss(), Blob((4, 2)), Blob((4, 3)), Blob((4,)))
    assert "one number a pair" in refused(ContrastiveLoss(), Blob((4, 2)), Blob((4, 2)), Blob((5,)))
