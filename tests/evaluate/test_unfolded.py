"""A training's weights in a net that expects folded statistics are told from those that hold them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from segspec.evaluate.model import Model, deploy_graph
from segspec.evaluate.unfolded import find_unfolded
from segspec.net import apply
from segspec.ops.channels import batch_moments

LAYER = """  - Convolution: {{name: conv{0}, num_output: 8, kernel_size: 3, pad: 1, bias_term: false}}
  - BN: {{name: bn{0}, bn_mode: {1}}}
  - ReLU
"""


def net(mode: str, more: str = "") -> str:
    return more + "layers:\n" + "".join(LAYER.format(number, mode) for number in range(4))


def picture(size: tuple[int, int] = (24, 24), seed: int = 0) -> np.ndarray:
    """Blocks of colours, as smooth as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)[: size[0], : size[1]]


def fold(training: Model, inference: Model, image: np.ndarray) -> Model:
    """The net for inference, with the statistics that the training's net has on one image."""
    graph = deploy_graph(training.spec, 1, image.shape[:2], 3)
    images = jnp.asarray(image[None], jnp.float32)
    given = {"data": images if training.data is None else training.data.normalize(images)}
    norms = [layer for layer in graph.layers if layer.state]
    wanted = tuple(layer.bottoms[0] for layer in norms)
    blobs = apply(graph, training.params, training.state, given, statistics="batch", want=wanted).blobs
    params = dict(training.params)
    for layer in norms:
        mean, variance = batch_moments(blobs[layer.bottoms[0]])
        scale = params[layer.name]["scale"] / jnp.sqrt(variance + 1e-9)
        params[layer.name] = {"scale": scale, "shift": params[layer.name]["shift"] - scale * mean}
    return Model(inference.spec, params, {})


SCALED = "data: {test: {type: DenseImageData, source: x.txt, scale: 0.01}}\n"


@pytest.mark.parametrize(("data", "wide"), [("", 0.02), ("", 1.0), ("", 10.0), (SCALED, 0.02), (SCALED, 10.0)])
def test_only_weights_without_statistics_are_doubted(data: str, wide: float, make_model: Any) -> None:
    """Whether the filters make values smaller or larger, and however the images are scaled."""
    training, inference = make_model(net("LEARN", data)), make_model(net("INFERENCE", data))
    params = {
        name: {blob: value * (wide if blob == "weight" else 1) for blob, value in own.items()}
        for name, own in training.params.items()
    }
    raw = Model(inference.spec, params, {})
    folded = fold(Model(training.spec, params, training.state), inference, picture())
    for image in (picture(), picture((21, 19), seed=3), picture(seed=4) // 3 + 80):
        assert find_unfolded(folded, image) is None
    warning = find_unfolded(raw, picture())
    assert warning is not None
    assert warning.severity == "warning"
    assert "of 4 BN in mode INFERENCE do not hold its statistics" in warning.message
    assert "segspec compute-bn-stats" in warning.hint


def test_values_that_overflow_are_far_from_any(make_model: Any) -> None:
    raw = make_model(net("INFERENCE"))
    params = {name: {blob: value * 1e20 for blob, value in own.items()} for name, own in raw.params.items()}
    for number in range(4):
        params[f"bn{number}"] = raw.params[f"bn{number}"]
    assert find_unfolded(Model(raw.spec, params, {}), picture()) is not None


def test_a_flat_image_and_a_net_that_keeps_statistics_are_no_reason(make_model: Any) -> None:
    assert find_unfolded(make_model(net("INFERENCE")), picture()) is not None
    assert find_unfolded(make_model(net("INFERENCE")), np.full((24, 24, 3), 200, np.uint8)) is None
    assert find_unfolded(make_model(net("LEARN")), picture()) is None
