"""A training by caffe-segnet of others, taken on: its net and weights, through every form, to the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import pytest

from segspec.cli import main
from segspec.evaluate.load import load_weighted, with_statistics
from segspec.evaluate.model import Model, deploy_graph
from segspec.net import apply

SIZE = (64, 64)


class Tutorial:
    """A net for training, one for inference, weights, and a few small pictures in a list."""

    def __init__(self, shared: Path, folder: Path):
        repository = shared / "corpus" / "manoj2312__deepLearning" / "Models"
        self.train, self.inference = (repository / f"manoj_basic_{name}.prototxt" for name in ("train", "inference"))
        self.weights = shared / "corpus" / "weights" / "manoj_basic_iter_100.caffemodel"
        self.folder = folder
        self.images = [_small(path) for path in sorted((shared / "data" / "squares" / "val").glob("*.png"))[:5]]
        for number, image in enumerate(self.images):
            cv2.imwrite(str(folder / f"{number}.png"), image)
        self.list = folder / "list.txt"
        self.list.write_text("".join(f"{number}.png\n" for number in range(len(self.images))))

    def run(self, *arguments: object) -> None:
        assert main([str(argument) for argument in arguments]) == 0


def _small(path: Path) -> np.ndarray:
    return np.asarray(cv2.resize(cv2.imread(str(path)), SIZE[::-1], interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture
def tutorial(shared: Path, tmp_path: Path) -> Tutorial:
    return Tutorial(shared, tmp_path)


def scores(model: Model, images: list[np.ndarray]) -> np.ndarray:
    """The scores of images one by one: (images, height, width, classes)."""
    graph = deploy_graph(model.spec, 1, SIZE, 3)
    blob = "conv_classifier"

    @jax.jit
    def run(image: Any) -> jax.Array:
        data = {"data": image[None].astype(np.float32)}
        return apply(graph, model.params, model.state, data, statistics=model.statistics, want=(blob,)).blobs[blob]

    return np.concatenate([np.asarray(run(image)) for image in images])


def asked(net: Path, weights: Path) -> Model:
    return with_statistics(load_weighted(net, weights), "auto").model


def test_yaml_and_safetensors_and_back_say_the_same(tutorial: Tutorial) -> None:
    net, weights = tutorial.folder / "net.yaml", tutorial.folder / "net.safetensors"
    again, back = tutorial.folder / "again.prototxt", tutorial.folder / "back.caffemodel"
    tutorial.run("convert", tutorial.train, net)
    tutorial.run("convert", tutorial.weights, weights, "--net", net)
    tutorial.run("convert", net, again, "--size", "64x64")
    tutorial.run("convert", weights, back, "--net", net)
    expected = scores(asked(tutorial.train, tutorial.weights), tutorial.images)
    np.testing.assert_array_equal(scores(asked(net, weights), tutorial.images), expected)
    np.testing.assert_array_equal(scores(asked(again, back), tutorial.images), expected)


def test_statistics_give_one_answer_kept_folded_and_merged(tutorial: Tutorial) -> None:
    measure = ("compute-bn-stats", tutorial.train, "--weights", tutorial.weights, "--mode", "tutorial")
    kept, folded = (tutorial.folder / f"test_weights{ending}" for ending in (".safetensors", ".caffemodel"))
    tutorial.run(*measure, "--images", tutorial.list, "--batch-size", 2, "--out", kept)
    tutorial.run(*measure, "--images", tutorial.list, "--batch-size", 2, "--out", folded)
    merge = ("compute-bn-stats", tutorial.inference, "--weights", folded, "--fold", "--out")
    tutorial.run(*merge, tutorial.folder / "merged")
    merged = tutorial.folder / "merged" / "test_weights_folded.yaml"
    expected = scores(asked(tutorial.train, kept), tutorial.images)
    for net, weights in ((tutorial.inference, folded), (merged, merged.with_suffix(".safetensors"))):
        found = scores(asked(net, weights), tutorial.images)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_weights_without_statistics_are_told_of_and_those_with_them_are_not(tutorial: Tutorial, capsys: Any) -> None:
    folded, out = tutorial.folder / "test_weights.caffemodel", tutorial.folder / "out"
    measure = ("compute-bn-stats", tutorial.train, "--weights", tutorial.weights)
    tutorial.run(*measure, "--images", tutorial.list, "--out", folded)
    for weights, told in ((folded, 0), (tutorial.weights, 1)):
        capsys.readouterr()
        tutorial.run("test", tutorial.inference, "--weights", weights, tutorial.folder / "0.png", "--out", out)
        assert capsys.readouterr().err.count("the weights seem to be a training's: ") == told
