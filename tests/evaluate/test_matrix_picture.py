from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from segspec.evaluate.matrix_picture import draw_confusion, plot_confusion
from segspec.evaluate.metrics import Metrics


def random_metrics(classes: int) -> Metrics:
    return Metrics(np.random.default_rng(0).integers(0, 100, (classes, classes)))


@pytest.mark.parametrize("classes", [1, 2, 11, 50])
def test_the_picture_grows_with_the_classes_and_can_be_opened(classes: int) -> None:
    drawn = draw_confusion(random_metrics(classes), [f"class {index}" for index in range(classes)])
    with Image.open(io.BytesIO(drawn)) as picture:
        picture.load()
        assert 500 <= picture.width <= 2000 and abs(picture.width - picture.height) <= 1


def test_cells_are_whole_per_cents_of_the_row() -> None:
    metrics = Metrics(np.array([[997, 3, 0], [500, 250, 250], [0, 0, 0]]))
    (axes,) = plot_confusion(metrics, ("a", "b", "c")).axes
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "100", (1, 0): "50", (1, 1): "25", (1, 2): "25"}


def test_names_that_matplotlib_would_interpret_or_cannot_draw_do_no_harm() -> None:
    names = ("$\\frac{$", "道路", "a_b^c", "\\frac", "an extremely long name of a class that goes on")
    draw_confusion(random_metrics(5), names)
    (axes,) = plot_confusion(random_metrics(5), names).axes
    assert [label.get_text() for label in axes.get_yticklabels()][:4] == list(names[:4])


def test_an_empty_matrix_is_drawn_grey() -> None:
    assert draw_confusion(Metrics(np.zeros((3, 3), np.int64)), ("a", "b", "c"))
