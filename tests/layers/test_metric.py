from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.layers.base import Blob, Context, ShapeError
from segspec.layers.metric import Accuracy


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
