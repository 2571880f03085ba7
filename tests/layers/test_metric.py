from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.layers.base import Blob, Context, ShapeError
from segspec.layers.metric import Accuracy, EltwiseAccuracy, SegAccuracy


def run(layer: Accuracy, score: object, label: object) -> tuple[float, list[float]]:
    bottoms = [jnp.asarray(score, jnp.float32), jnp.asarray(label, jnp.int32)]
    shapes = layer.shapes([Blob(bottom.shape) for bottom in bottoms], 2)
    (accuracy, recall), _ = layer.forward({}, {}, bottoms, Context(tops=2))
    assert (accuracy.shape, recall.shape) == (shapes[0].shape, shapes[1].shape)
    return float(accuracy), np.asarray(recall).tolist()


SCORE = [[5, 1, 0], [1, 5, 0], [0, 5, 1], [0, 1, 5]]


def test_accuracy_and_recall() -> None:
    accuracy, recall = run(Accuracy(), SCORE, [0, 1, 2, 2])
    assert accuracy == 0.75
    assert recall == [1.0, 1.0, 0.5]


def test_ignored_pixels_leave_the_count() -> None:
    accuracy, recall = run(Accuracy(ignore_label=255), SCORE, [0, 255, 2, 255])
    assert accuracy == 0.5
    assert recall == [1.0, 0.0, 0.0]


def test_a_label_that_is_no_class_counts_as_wrong() -> None:
    assert run(Accuracy(), SCORE, [0, 11, 1, -1])[0] == 0.5


def test_without_a_counted_pixel_accuracy_is_0() -> None:
    assert run(Accuracy(ignore_label=1), SCORE, [1, 1, 1, 1])[0] == 0.0


@pytest.mark.parametrize(("dialect", "absent"), [("bvlc", 0.0), ("segnet", 1.0)])
def test_absent_classes(dialect: Literal["bvlc", "segnet"], absent: float) -> None:
    assert run(Accuracy(dialect=dialect), SCORE, [0, 1, 1, 0])[1][2] == absent


@pytest.mark.parametrize(("dialect", "right"), [("bvlc", [0, 0, 0]), ("segnet", [0, 0, 1])])
def test_ties(dialect: Literal["bvlc", "segnet"], right: list[int]) -> None:
    layer = Accuracy(dialect=dialect)
    assert [run(layer, [[2, 2, 2]], [label])[0] for label in range(3)] == right


def test_top_k() -> None:
    assert run(Accuracy(top_k=2), SCORE, [1, 0, 2, 1])[0] == 1.0
    assert run(Accuracy(top_k=2), SCORE, [2, 2, 0, 0])[0] == 0.0
    with pytest.raises(ShapeError, match="top_k is 4 but the score has 3"):
        Accuracy(top_k=4).shapes([Blob((4, 3)), Blob((4,))])


def test_a_score_that_is_no_number_is_never_right() -> None:
    for dialect in ("bvlc", "segnet"):
        layer = Accuracy.model_validate({"dialect": dialect})
        assert run(layer, [[np.nan, np.nan, np.nan]], [1])[0] == 0.0


def test_images_pass_no_gradient() -> None:
    label = jnp.zeros((1, 2, 2, 1), jnp.int32)

    def accuracy(score: jax.Array) -> jax.Array:
        return Accuracy().forward({}, {}, [score, label], Context())[0][0]

    assert not np.any(jax.grad(accuracy)(jnp.ones((1, 2, 2, 3))))


def single(layer: EltwiseAccuracy | SegAccuracy, score: object, label: object) -> np.ndarray:
    bottoms = [jnp.asarray(score, jnp.float32), jnp.asarray(label, jnp.int32)]
    (found,), _ = jax.jit(lambda *bottoms: layer.forward({}, {}, bottoms, Context()))(*bottoms)
    assert layer.shapes([Blob(bottom.shape) for bottom in bottoms]) == (Blob(found.shape),)
    return np.asarray(found)


def test_eltwise_accuracy_gives_ties_to_the_higher_class() -> None:
    assert [float(single(EltwiseAccuracy(), [[2, 2, 2]], [label])) for label in range(3)] == [0, 0, 1]
    assert [float(single(EltwiseAccuracy(top_k=2), [[2, 2, 2]], [label])) for label in range(3)] == [0, 1, 1]
    assert single(EltwiseAccuracy(ignore_label=255), SCORE, [0, 255, 2, 255]) == 0.5
    assert single(EltwiseAccuracy(ignore_label=1), SCORE, [1, 1, 1, 1]) == 0
    with pytest.raises(ShapeError, match="top_k is 4 but the score has 3"):
        EltwiseAccuracy(top_k=4).shapes([Blob((4, 3)), Blob((4,))])


def figures(score: np.ndarray, label: np.ndarray, ignored: tuple[int, ...]) -> list[float]:
    """Pixel by pixel, as DeepLab's confusion matrix counts them."""
    classes = score.shape[-1]
    matrix = np.zeros((classes, classes))
    for scores, true in zip(score.reshape(-1, classes), label.ravel(), strict=True):
        if true not in ignored:
            matrix[true, max(range(classes), key=lambda k: (scores[k], k))] += 1
    recalls = [matrix[k, k] / matrix[k].sum() for k in range(classes) if matrix[k].sum()]
    overlaps = []
    for k in range(classes):
        union = matrix[k].sum() + matrix[:, k].sum() - matrix[k, k]
        overlaps.append(1.0 if union == matrix[k, k] else matrix[k, k] / union)
    return [np.trace(matrix) / matrix.sum(), float(np.mean(recalls)), float(np.mean(overlaps))]


@pytest.mark.parametrize("ignored", [(), (255,), (255, 1), (0, 2, 255)])
def test_the_three_figures_of_segmentation(ignored: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    score = rng.integers(0, 3, (2, 4, 5, 6)).astype(np.float32)
    score[..., 5] = -1
    label = rng.integers(0, 4, (2, 4, 5, 1))
    if 255 in ignored:
        label[:, 0] = 255
    layer = SegAccuracy.model_validate({"ignore_label": list(ignored) or None})
    np.testing.assert_allclose(single(layer, score, label), figures(score, label, ignored), rtol=1e-6)


def test_figures_of_a_batch_without_a_counted_pixel() -> None:
    np.testing.assert_array_equal(single(SegAccuracy(ignore_label=7), SCORE, [7, 7, 7, 7]), [0, 0, 1])
