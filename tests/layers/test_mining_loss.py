from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, ShapeError
from segspec.layers.loss import SoftmaxWithLoss
from segspec.layers.mining_loss import OHEMLoss

RNG = np.random.default_rng(0)
SCORE = RNG.normal(scale=2, size=(2, 8, 6, 3)).astype(np.float32)
LABEL = RNG.integers(0, 3, (2, 8, 6, 1)).astype(np.int32)
HOLES = np.where(RNG.random(LABEL.shape) < 0.3, 11, LABEL).astype(np.int32)
WEIGHTS = (0.5, 2.0, 7.0)


@functools.cache
def _compiled(layer: OHEMLoss) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    return jax.jit(jax.value_and_grad(lambda score, label: layer.forward({}, {}, [score, label], Context())[0][0]))


def run(layer: OHEMLoss, score: np.ndarray, label: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss and gradient."""
    loss, gradient = _compiled(layer)(jnp.asarray(score), jnp.asarray(label))
    return float(loss), np.asarray(gradient)


def oracle(
    score: np.ndarray, label: np.ndarray, threshold: float, least: int, weights: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> tuple[float, np.ndarray]:
    """Pixel by pixel: sorted by the probability of their own class, taken while it is small or too few are taken."""
    power = np.exp(score.astype(np.float64))
    probability = (power / power.sum(-1, keepdims=True)).reshape(-1, 3)
    flat = label.ravel()
    own = {pixel: probability[pixel, flat[pixel]] for pixel in range(flat.size) if flat[pixel] != 11}
    hard: list[int] = []
    for pixel in sorted(own, key=own.__getitem__):
        if own[pixel] < threshold or len(hard) < least:
            hard.append(pixel)
    total, gradient = 0.0, np.zeros_like(probability)
    for pixel in hard:
        weight = weights[flat[pixel]] / len(hard)
        total -= weight * math.log(own[pixel])
        gradient[pixel] = weight * (probability[pixel] - np.eye(3)[flat[pixel]])
    return total, gradient.reshape(score.shape)


@pytest.mark.parametrize(("threshold", "least"), [(0.7, 1), (0.1, 40), (0.0, 5), (0.3, 0), (0.5, 10_000)])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_formula(threshold: float, least: int, weights: tuple[float, ...] | None) -> None:
    layer = OHEMLoss(threshold=threshold, min_kept=least, ignore_label=11, class_weights=weights)
    loss, gradient = run(layer, SCORE, HOLES)
    expected, expected_gradient = oracle(SCORE, HOLES, threshold, least, weights or (1.0, 1.0, 1.0))
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


def test_a_sixteenth_of_the_pixels_that_count_is_hard_where_no_number_is_given() -> None:
    _, gradient = run(OHEMLoss(threshold=0.0, ignore_label=11), SCORE, HOLES)
    assert np.count_nonzero(gradient.any(-1)) == math.ceil((HOLES != 11).sum() / 16)


def test_pixels_that_are_equal_to_the_last_hard_one_are_hard_too_in_any_order() -> None:
    score = np.zeros((1, 1, 6, 2), np.float32)
    score[..., 1] = [3, 1, 1, 1, -1, -2]
    label = np.zeros((1, 1, 6, 1), np.int32)
    _, gradient = run(OHEMLoss(threshold=0.0, min_kept=2), score, label)
    np.testing.assert_array_equal(gradient.any(-1).ravel(), [True, True, True, True, False, False])
    loss = run(OHEMLoss(threshold=0.0, min_kept=2), score, label)[0]
    assert loss == pytest.approx(run(OHEMLoss(threshold=0.0, min_kept=2), score[:, :, ::-1], label)[0])
    assert loss == run(OHEMLoss(threshold=0.0, min_kept=4), score, label)[0]


def test_a_probability_that_is_the_threshold_is_not_below_it() -> None:
    even, label = np.zeros((1, 1, 4, 2), np.float32), np.zeros((1, 1, 4, 1), np.int32)
    assert run(OHEMLoss(threshold=0.5, min_kept=0), even, label)[0] == 0
    assert run(OHEMLoss(threshold=0.51, min_kept=0), even, label)[0] == pytest.approx(math.log(2))


def test_with_every_pixel_hard_it_is_the_softmax_loss() -> None:
    layer = SoftmaxWithLoss(ignore_label=11, class_weights=WEIGHTS)
    plain = layer.forward({}, {}, [jnp.asarray(SCORE), jnp.asarray(HOLES)], Context())[0][0]
    every = OHEMLoss(min_kept=10_000, ignore_label=11, class_weights=WEIGHTS)
    assert run(every, SCORE, HOLES)[0] == pytest.approx(float(plain), rel=1e-6)


def test_a_batch_without_a_counted_pixel_costs_nothing() -> None:
    for layer in (OHEMLoss(ignore_label=11), OHEMLoss(ignore_label=11, min_kept=5)):
        loss, gradient = run(layer, SCORE, np.full_like(LABEL, 11))
        assert loss == 0
        assert not gradient.any()


@pytest.mark.parametrize("label", [3, -1, 255])
def test_a_label_that_is_no_class_is_never_hidden(label: int) -> None:
    wrong = LABEL.copy()
    wrong[0, 0, 0] = label
    assert math.isnan(run(OHEMLoss(threshold=0.1), SCORE, wrong)[0])


def test_huge_scores_stay_finite() -> None:
    score = np.zeros((1, 1, 2, 2), np.float32)
    score[..., 0] = 1e4
    loss, gradient = run(OHEMLoss(), score, np.array([1, 0], np.int32).reshape(1, 1, 2, 1))
    assert loss == pytest.approx(1e4)
    assert np.isfinite(gradient).all()


def test_what_does_not_fit_is_refused() -> None:
    score, label = Blob((2, 4, 5, 3)), Blob((2, 4, 5, 1), "int32")
    with pytest.raises(ShapeError, match="sizes differ"):
        OHEMLoss().shapes([score, Blob((2, 4, 6, 1), "int32")])
    with pytest.raises(ShapeError, match="class_weights has 2 numbers"):
        OHEMLoss(class_weights=(1, 2)).shapes([score, label])
    with pytest.raises(ValidationError):
        OHEMLoss(threshold=70)
    with pytest.raises(ValidationError):
        OHEMLoss(min_kept=-1)
