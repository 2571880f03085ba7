from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, Layer, ShapeError
from segspec.layers.loss import (
    FocalLoss,
    HingeLoss,
    InfogainLoss,
    MultinomialLogisticLoss,
    SigmoidCrossEntropyLoss,
    SoftmaxWithLoss,
)

RNG = np.random.default_rng(0)
SCORE = RNG.normal(scale=2, size=(2, 4, 5, 3)).astype(np.float32)
LABEL = RNG.integers(0, 3, (2, 4, 5, 1)).astype(np.int32)
HOLES = np.where(RNG.random(LABEL.shape) < 0.3, 11, LABEL).astype(np.int32)
WEIGHTS = (0.5, 2.0, 7.0)


def run(layer: Layer, *bottoms: object, tops: int = 1) -> list[np.ndarray]:
    arrays = [jnp.asarray(bottom) for bottom in bottoms]
    layer.shapes([Blob(array.shape, str(array.dtype)) for array in arrays], tops)
    found = _compiled(layer, tops)(arrays)
    return [np.asarray(top) for top in found]


@functools.cache
def _compiled(layer: Layer, tops: int) -> Callable[[list[jax.Array]], tuple[jax.Array, ...]]:
    return jax.jit(lambda arrays: layer.forward({}, {}, arrays, Context(tops=tops))[0])


@functools.cache
def _compiled_gradient(layer: Layer) -> Callable[[list[jax.Array]], list[jax.Array]]:
    return jax.jit(jax.grad(lambda arrays: layer.forward({}, {}, arrays, Context())[0][0], allow_int=True))


def loss(layer: Layer, *bottoms: object) -> float:
    return float(run(layer, *bottoms)[0])


def gradient(layer: Layer, score: object, *others: object) -> np.ndarray:
    return np.asarray(_compiled_gradient(layer)([jnp.asarray(score), *map(jnp.asarray, others)])[0])


def probabilities(score: np.ndarray) -> np.ndarray:
    power = np.exp(score.astype(np.float64) - score.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def refused(layer: Layer, *blobs: Blob) -> str:
    with pytest.raises(ShapeError) as caught:
        layer.shapes(blobs)
    return str(caught.value)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
def test_softmax_loss_formula(normalization: str, weights: tuple[float, ...] | None) -> None:
    fields = {"ignore_label": 11, "normalization": normalization, "class_weights": weights}
    layer = SoftmaxWithLoss.model_validate(fields)
    counted = HOLES[..., 0] != 11
    label = np.where(counted, HOLES[..., 0], 0)
    own = np.take_along_axis(probabilities(SCORE), label[..., None], -1)[..., 0]
    w = np.where(counted, np.array(weights or (1, 1, 1))[label], 0.0)
    z = {"VALID": counted.sum(), "FULL": counted.size, "BATCH_SIZE": 2, "NONE": 1}[normalization]
    assert loss(layer, SCORE, HOLES) == pytest.approx(-(w * np.log(own)).sum() / z, rel=1e-6)
    expected = w[..., None] * (probabilities(SCORE) - np.eye(3)[label]) / z
    np.testing.assert_allclose(gradient(layer, SCORE, HOLES), expected, rtol=1e-5, atol=1e-7)


def test_a_batch_without_a_counted_pixel_costs_nothing() -> None:
    nothing = np.full_like(LABEL, 11)
    for layer in (SoftmaxWithLoss(ignore_label=11), FocalLoss(ignore_label=11), HingeLoss(ignore_label=11)):
        assert loss(layer, SCORE, nothing) == 0
        assert not gradient(layer, SCORE, nothing).any()


def test_huge_scores_stay_finite_and_are_not_clipped() -> None:
    score = np.zeros((1, 1, 1, 2), np.float32)
    score[..., 0] = 1e4
    wrong = np.ones((1, 1, 1, 1), np.int32)
    for layer in (SoftmaxWithLoss(), FocalLoss(gamma=2.0), FocalLoss(gamma=0.5)):
        assert loss(layer, score, wrong) == pytest.approx(1e4)
        assert loss(layer, score, 1 - wrong) == 0
        assert np.isfinite(gradient(layer, score, wrong)).all()
        assert np.isfinite(gradient(layer, score, 1 - wrong)).all()


@pytest.mark.parametrize("label", [3, -1, 255])
def test_a_label_that_is_no_class_is_never_hidden(label: int) -> None:
    wrong = LABEL.copy()
    wrong[0, 0, 0] = label
    for layer in (SoftmaxWithLoss(), SoftmaxWithLoss(class_weights=WEIGHTS), FocalLoss()):
        assert math.isnan(loss(layer, SCORE, wrong))


def test_an_ignored_class_may_be_any_label() -> None:
    layer = SoftmaxWithLoss(ignore_label=0)
    assert not gradient(layer, SCORE, LABEL)[LABEL[..., 0] == 0].any()
    assert math.isfinite(loss(SoftmaxWithLoss(ignore_label=-1), SCORE, np.where(LABEL == 0, -1, LABEL)))


def test_the_second_output_is_the_probability() -> None:
    _, probability = run(SoftmaxWithLoss(), SCORE, LABEL, tops=2)
    np.testing.assert_allclose(probability, probabilities(SCORE), rtol=1e-5, atol=1e-7)


def test_half_precision_scores_are_summed_in_full() -> None:
    score = jnp.asarray(SCORE, jnp.bfloat16)
    top, probability = SoftmaxWithLoss().forward({}, {}, [score, jnp.asarray(LABEL)], Context(tops=2))[0]
    assert (top.dtype, probability.dtype) == (jnp.float32, jnp.bfloat16)
    assert float(top) == pytest.approx(loss(SoftmaxWithLoss(), score.astype(jnp.float32), LABEL), rel=1e-6)


def test_classes_on_another_axis() -> None:
    turned = SCORE.transpose(0, 3, 2, 1)
    label = LABEL.transpose(0, 3, 2, 1)
    assert loss(SoftmaxWithLoss(axis=2), turned, label) == pytest.approx(loss(SoftmaxWithLoss(), SCORE, LABEL))


def test_rows_of_scores_take_a_plain_list_of_labels() -> None:
    rows, labels = SCORE[0, 0], LABEL[0, 0, :, 0]
    assert loss(SoftmaxWithLoss(), rows, labels) == loss(SoftmaxWithLoss(), rows, labels[:, None])


def test_axes_of_length_1_do_not_matter() -> None:
    rows, label = SCORE[0, 0], LABEL[0, 0].ravel()
    expected = loss(SoftmaxWithLoss(), rows, label)
    assert loss(SoftmaxWithLoss(), rows.reshape(5, 1, 1, 3), label) == expected
    assert loss(SoftmaxWithLoss(), rows, label[:, None]) == expected
    assert loss(SoftmaxWithLoss(), SCORE, LABEL[..., 0]) == loss(SoftmaxWithLoss(), SCORE, LABEL)
    one, flat = SCORE[..., :1], SCORE[..., 0]
    assert loss(SigmoidCrossEntropyLoss(), one, flat) == loss(SigmoidCrossEntropyLoss(), one, one)


def test_what_does_not_fit_is_said_in_plain_words() -> None:
    score, small = Blob((2, 90, 120, 11)), Blob((2, 45, 60, 1), "int32")
    words = "label is 2x45x60x1 but the score is 2x90x120x11: sizes differ"
    for layer in (SoftmaxWithLoss(), FocalLoss(), HingeLoss()):
        assert refused(layer, score, small) == words
    fits = Blob((2, 90, 120, 1), "int32")
    short = SoftmaxWithLoss(class_weights=WEIGHTS)
    assert refused(short, score, fits) == "class_weights has 3 numbers but the score has 11 channels"
    assert "at least 2" in refused(SoftmaxWithLoss(), Blob((2, 90, 120, 1)), fits)
    assert "the label must be 2x90x120x1" in refused(SoftmaxWithLoss(), score, Blob((2, 11), "int32"))


def test_a_rule_for_weights_must_become_numbers_first() -> None:
    layer = SoftmaxWithLoss(class_weights="median_frequency")
    layer.shapes([Blob(SCORE.shape), Blob(LABEL.shape, "int32")])
    with pytest.raises(ValueError, match="median_frequency must be computed"):
        loss(layer, SCORE, LABEL)


@pytest.mark.parametrize("weights", ["median_frequencies", ("a", 1), (1, -1), 3, (True, 1)])
def test_weights_are_numbers_or_a_known_rule(weights: object) -> None:
    with pytest.raises(ValidationError, match="list of numbers, one a class, or one of median_frequency"):
        SoftmaxWithLoss.model_validate({"class_weights": weights})


def test_focal_loss_formula() -> None:
    own = np.take_along_axis(probabilities(SCORE), LABEL, -1)
    expected = -((1 - own) ** 2 * np.log(own)).mean()
    assert loss(FocalLoss(), SCORE, LABEL) == pytest.approx(expected, rel=1e-5)
    assert loss(FocalLoss(gamma=0.0), SCORE, LABEL) == pytest.approx(loss(SoftmaxWithLoss(), SCORE, LABEL), rel=1e-6)


def test_focal_loss_weighs_classes_and_leaves_out_what_is_ignored() -> None:
    counted = HOLES[..., 0] != 11
    label = HOLES[..., 0][counted]
    own = np.take_along_axis(probabilities(SCORE)[counted], label[:, None], -1)[:, 0]
    expected = -(np.array(WEIGHTS)[label] * (1 - own) ** 3 * np.log(own)).mean()
    layer = FocalLoss(gamma=3.0, ignore_label=11, class_weights=WEIGHTS)
    assert loss(layer, SCORE, HOLES) == pytest.approx(expected, rel=1e-5)


def test_sigmoid_loss_formula_and_what_it_ignores() -> None:
    target = RNG.uniform(size=SCORE.shape).astype(np.float32)
    target[0, 0] = 255
    s = 1 / (1 + np.exp(-SCORE.astype(np.float64)))
    each = np.where(target == 255, 0, -(target * np.log(s) + (1 - target) * np.log(1 - s)))
    valid = SigmoidCrossEntropyLoss(ignore_label=255, normalization="VALID")
    assert loss(valid, SCORE, target) == pytest.approx(each.sum() / (target != 255).sum(), rel=1e-5)
    assert loss(SigmoidCrossEntropyLoss(ignore_label=255), SCORE, target) == pytest.approx(each.sum() / 2, rel=1e-5)
    assert loss(valid, np.float32([[1e4]]), np.float32([[1.0]])) == 0
    assert "target is 2x4x5x1 but the score is 2x4x5x3" in refused(valid, Blob((2, 4, 5, 3)), Blob((2, 4, 5, 1)))


def test_hinge_loss_formula() -> None:
    score, label = np.array([[2.0, -3.0], [0.5, 0.0]], np.float32), np.array([0, 1], np.int32)
    assert loss(HingeLoss(), score, label) == pytest.approx((0 + 0 + 1.5 + 1) / 2)
    assert loss(HingeLoss(norm="L2"), score, label) == pytest.approx((1.5**2 + 1) / 2)


def test_multinomial_loss_of_a_vanished_probability_is_finite() -> None:
    rows = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)
    expected = -(math.log(1e-20) + math.log(0.5)) / 2
    assert loss(MultinomialLogisticLoss(), rows, np.array([1, 0])) == pytest.approx(expected, rel=1e-6)


def test_infogain_with_the_identity_is_the_softmax_loss() -> None:
    identity = InfogainLoss(matrix=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), ignore_label=11)
    plain = SoftmaxWithLoss(ignore_label=11)
    assert loss(identity, SCORE, HOLES) == pytest.approx(loss(plain, SCORE, HOLES), rel=1e-6)
    difference = gradient(identity, SCORE, HOLES) - gradient(plain, SCORE, HOLES)
    np.testing.assert_allclose(difference, 0, atol=1e-7)


def test_infogain_takes_its_matrix_from_a_third_bottom_and_rows_from_labels() -> None:
    matrix = np.array([[1, 2, 3], [0, 1, 0], [0, 0, 4]], np.float32)
    log = np.log(probabilities(SCORE))
    expected = -(matrix[LABEL[..., 0]] * log).sum(-1).mean()
    assert loss(InfogainLoss(), SCORE, LABEL, matrix) == pytest.approx(expected, rel=1e-5)
    given = InfogainLoss(matrix=tuple(map(tuple, matrix.tolist())), dialect="segnet")
    assert loss(given, probabilities(SCORE).astype(np.float32), LABEL) == pytest.approx(expected, rel=1e-5)


def test_infogain_says_what_is_wrong_with_its_matrix() -> None:
    bottoms = (Blob((2, 4, 5, 3)), Blob((2, 4, 5, 1), "int32"))
    assert "no matrix is given" in refused(InfogainLoss(), *bottoms)
    assert "matrix has 2 rows but the score has 3" in refused(InfogainLoss(matrix=((1.0, 0.0), (0.0, 1.0))), *bottoms)
    assert "3 x 3 numbers" in refused(InfogainLoss(), *bottoms, Blob((2, 2)))
    with pytest.raises(ValidationError, match="as many columns as rows"):
        InfogainLoss(matrix=((1.0, 0.0), (0.0,)))
    with pytest.raises(ValueError, match=r"the matrix in H\.binaryproto must be read"):
        loss(InfogainLoss(source="H.binaryproto"), SCORE, LABEL)


@pytest.mark.oracle
def test_cross_entropy_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    score = torch.tensor(SCORE.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    label = torch.tensor(HOLES[..., 0].astype(np.int64))
    theirs = torch.nn.functional.cross_entropy(score, label, ignore_index=11)
    theirs.backward()
    layer = SoftmaxWithLoss(ignore_label=11)
    assert loss(layer, SCORE, HOLES) == pytest.approx(theirs.item(), rel=1e-6)
    expected = score.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(gradient(layer, SCORE, HOLES), expected, rtol=1e-4, atol=1e-7)
