from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, ShapeError
from segspec.layers.region_loss import DiceLoss, JaccardLoss, LovaszSoftmaxLoss, RegionLoss

RNG = np.random.default_rng(0)
SCORE = RNG.normal(size=(2, 3, 4, 3)).astype(np.float32)
LABEL = RNG.integers(0, 3, (2, 3, 4, 1)).astype(np.int32)
ALL = [DiceLoss, JaccardLoss, LovaszSoftmaxLoss]


@functools.cache
def _compiled(layer: RegionLoss) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return jax.jit(lambda score, label: layer.forward({}, {}, [score, label], Context())[0][0])


def run(layer: RegionLoss, score: np.ndarray, label: np.ndarray) -> float:
    return float(_compiled(layer)(jnp.asarray(score), jnp.asarray(label)))


def gradient(layer: RegionLoss, score: np.ndarray, label: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(jax.grad(_compiled(layer)))(jnp.asarray(score), jnp.asarray(label)))


def perfect(label: np.ndarray, classes: int = 3) -> np.ndarray:
    return (100.0 * np.eye(classes)[label[..., 0]]).astype(np.float32)


def softmax(score: np.ndarray) -> np.ndarray:
    power = np.exp(score.astype(np.float64))
    return power / power.sum(-1, keepdims=True)


@pytest.mark.parametrize("kind", ALL)
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_almost_all(kind: type[RegionLoss]) -> None:
    label = np.tile(LABEL, (1, 20, 20, 1))
    assert run(kind(), perfect(label), label) == pytest.approx(0, abs=1e-6)
    assert run(kind(), perfect((label + 1) % 3), label) == pytest.approx(1, abs=2e-3)


def test_dice_and_jaccard_formulas() -> None:
    p, g = softmax(SCORE).reshape(-1, 3), np.eye(3)[LABEL.ravel()]
    both, sums = (p * g).sum(0), p.sum(0) + g.sum(0)
    assert run(DiceLoss(smooth=0.5), SCORE, LABEL) == pytest.approx(np.mean(1 - (2 * both + 0.5) / (sums + 0.5)))
    union = sums - both
    assert run(JaccardLoss(smooth=0.5), SCORE, LABEL) == pytest.approx(np.mean(1 - (both + 0.5) / (union + 0.5)))


def test_lovasz_equals_the_jaccard_loss_where_errors_are_0_or_1() -> None:
    prediction = RNG.integers(0, 3, LABEL.shape)
    wanted = []
    for c in range(3):
        said, true = (prediction == c), (c == LABEL)
        wanted.append(1 - (said & true).sum() / (said | true).sum())
    assert run(LovaszSoftmaxLoss(), perfect(prediction), LABEL) == pytest.approx(np.mean(wanted), abs=1e-6)


def test_lovasz_is_the_extension_by_its_definition() -> None:
    """Against the greatest sum of errors over all orders of the pixels: the Lovász extension of a submodular loss."""
    score, label = SCORE[:1, :1, :4, :2], np.array([0, 1, 1, 0]).reshape(1, 1, 4, 1)
    p = softmax(score).reshape(4, 2)
    wanted = []
    for c in range(2):
        true = label.ravel() == c
        errors = np.abs(true - p[:, c])

        def jaccard(wrong: list[int], true: np.ndarray = true) -> float:
            missed = {i for i in wrong if true[i]}
            return 1 - (true.sum() - len(missed)) / (true.sum() + len(wrong) - len(missed))

        orders = itertools.permutations(range(4))
        sums = [
            sum(errors[order[i]] * (jaccard(list(order[: i + 1])) - jaccard(list(order[:i]))) for i in range(4))
            for order in orders
        ]
        wanted.append(max(sums))
    assert run(LovaszSoftmaxLoss(), score, label) == pytest.approx(np.mean(wanted), rel=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_ignored_pixels_count_nowhere(kind: type[RegionLoss]) -> None:
    label = LABEL.copy()
    label[:, :, 2:] = 11
    layer = kind(ignore_label=11)
    assert run(layer, SCORE, label) == pytest.approx(run(kind(), SCORE[:, :, :2], LABEL[:, :, :2]), rel=1e-6)
    assert not gradient(layer, SCORE, label)[:, :, 2:].any()
    nothing = np.full_like(LABEL, 11)
    assert run(layer, SCORE, nothing) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(gradient(layer, SCORE, nothing)).all()


@pytest.mark.parametrize("kind", ALL)
def test_each_image_may_have_regions_of_its_own(kind: type[RegionLoss]) -> None:
    alone = [run(kind(), SCORE[i : i + 1], LABEL[i : i + 1]) for i in range(2)]
    assert run(kind(per_image=True), SCORE, LABEL) == pytest.approx(np.mean(alone), rel=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_absent_classes_and_weights_choose_what_is_averaged(kind: type[RegionLoss]) -> None:
    label = np.where(LABEL == 2, 1, LABEL)
    only = kind(present_only=True)
    first, second = (run(kind(class_weights=w, present_only=False), SCORE, label) for w in ((1, 0, 0), (0, 1, 0)))
    assert run(only, SCORE, label) == pytest.approx((first + second) / 2, rel=1e-6)
    assert run(kind(class_weights=(3, 1, 0)), SCORE, label) == pytest.approx((3 * first + second) / 4, rel=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_what_does_not_fit_is_refused(kind: type[RegionLoss]) -> None:
    with pytest.raises(ShapeError, match="sizes differ"):
        kind().shapes([Blob((2, 3, 4, 3)), Blob((2, 3, 5, 1), "int32")])
    with pytest.raises(ShapeError, match="at least 2"):
        kind().shapes([Blob((2, 3, 4, 1)), Blob((2, 3, 4, 1), "int32")])
    with pytest.raises(ShapeError, match="class_weights has 2 numbers"):
        kind(class_weights=(1, 2)).shapes([Blob((2, 3, 4, 3)), Blob((2, 3, 4, 1), "int32")])


def test_a_fraction_of_nothing_is_prevented() -> None:
    with pytest.raises(ValidationError):
        DiceLoss(smooth=0.0)
