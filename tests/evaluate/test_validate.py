from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segspec.data.sources import open_source
from segspec.errors import Source
from segspec.evaluate.validate import Validation, make_validator
from segspec.spec.classes import ClassTable
from segspec.spec.net import load_net, read_net

LAYERS = """\
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
  - SoftmaxWithLoss: {name: loss}
"""
PARAMS = {"score": {"weight": jnp.zeros((1, 1, 3, 2)).at[..., 1].set(1 / 3), "bias": jnp.asarray([127.0, 0.0])}}


def never() -> bool:
    return False


def validator(project: Any, more: str = "", *, batches: int = 0) -> Any:
    spec = load_net(project.write_spec(LAYERS, data=more))
    source = open_source(spec.data["test"], spec.classes, Path())
    return make_validator(spec, source, "float32", batches, workers=1)


def test_every_image_counts_once_though_the_last_batch_is_filled_up(project: Any) -> None:
    """Three images in batches of two. The bright square is where the threshold says."""
    found = validator(project)(PARAMS, {}, never)
    assert isinstance(found, Validation)
    assert found.metrics.total == 3 * 24 * 24
    assert (found.miou, found.accuracy) == (1.0, 1.0)
    assert found.loss == pytest.approx(0.0, abs=1e-5)


def test_the_loss_is_the_mean_over_images(project: Any) -> None:
    flat = {"score": {"weight": jnp.zeros((1, 1, 3, 2)), "bias": jnp.zeros(2)}}
    found = validator(project)(flat, {}, never)
    assert found.loss == pytest.approx(np.log(2), rel=1e-5)
    assert found.accuracy == pytest.approx(1 - 100 / 576), "all ground, which is what class 0 is"


def test_a_pass_may_be_shorter(project: Any) -> None:
    assert validator(project, batches=1)(PARAMS, {}, never).metrics.total == 2 * 24 * 24


def test_a_pass_is_given_up_between_batches(project: Any) -> None:
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        return True

    assert validator(project)(PARAMS, {}, stop) is None
    assert asked == [True]


def test_images_of_different_sizes_are_tested_one_by_one(project: Any) -> None:
    for name in ("val1.png", "val1_label.png"):
        path = project.folder / name
        Image.open(path).crop((0, 0, 20, 22)).save(path)
    text = project.write_spec(LAYERS)
    text.write_text(text.read_text().replace("batch_size: 2", "batch_size: 1"))
    spec = load_net(text)
    source = open_source(spec.data["test"], spec.classes, Path())
    found = make_validator(spec, source, "float32", 0, 0)(PARAMS, {}, never)
    assert found is not None
    assert found.metrics.total == 2 * 24 * 24 + 20 * 22
    assert found.accuracy == 1.0


def test_a_number_an_image_is_scored_by_the_image(project: Any) -> None:
    lines = (project.folder / "val.txt").read_text().split("\n")
    numbered = project.folder / "numbers.txt"
    numbered.write_text("".join(f"{line.split()[0]} {index % 2}\n" for index, line in enumerate(lines) if line))
    text = (
        "segspec: 1\nclasses: 2\n"
        f"data:\n  test: {{type: ImageData, source: {numbered}, batch_size: 2}}\n"
        "layers:\n  - InnerProduct: {name: fc, num_output: 2}\n  - SoftmaxWithLoss: {name: loss}\n"
    )
    spec = read_net(Source("net.yaml", text), Path())
    source = open_source(spec.data["test"], spec.classes, Path())
    params = {"fc": {"weight": jnp.zeros((24 * 24 * 3, 2)), "bias": jnp.asarray([0.0, 1.0])}}
    found = make_validator(spec, source, "float32", 0, workers=1)(params, {}, never)
    assert found is not None
    assert (found.metrics.total, found.accuracy) == (3, pytest.approx(1 / 3))


def test_one_channel_of_scores_tells_two_classes_apart(project: Any) -> None:
    text = (
        "segspec: 1\n"
        f"data:\n  test: {{type: DenseImageData, source: {project.folder / 'val.txt'}, batch_size: 2}}\n"
        "layers:\n  - Convolution: {name: score, num_output: 1, kernel_size: 1}\n  - SigmoidCrossEntropyLoss\n"
    )
    spec = read_net(Source("net.yaml", text), Path())
    source = open_source(spec.data["test"], ClassTable.numbered(2), Path())
    params = {"score": {"weight": jnp.full((1, 1, 3, 1), 1 / 3), "bias": jnp.asarray([-127.0])}}
    found = make_validator(spec, source, "float32", 0, workers=1)(params, {}, never)
    assert found is not None and (found.miou, found.accuracy) == (1.0, 1.0)
