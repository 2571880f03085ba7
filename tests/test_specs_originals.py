"""The shipped networks beside the prototxts that their authors published: the same convolutions at the same sizes."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from segspec.graph.build import build
from segspec.graph.graph import Graph
from segspec.graph.inputs import net_inputs
from segspec.spec.library import shipped
from segspec.spec.net import load_net

Size = tuple[int, int]
ORIGINALS: dict[str, tuple[str, tuple[str, ...], Size, Size]] = {
    "fcn32s": ("shelhamer__fcn.berkeleyvision.org/voc-fcn32s/train", (), (473, 500), (473, 500)),
    "fcn16s": ("shelhamer__fcn.berkeleyvision.org/voc-fcn16s/train", (), (473, 500), (473, 500)),
    "fcn8s": ("shelhamer__fcn.berkeleyvision.org/voc-fcn8s/train", (), (473, 500), (473, 500)),
    "fcn_alexnet": ("shelhamer__fcn.berkeleyvision.org/voc-fcn-alexnet/train", (), (473, 500), (473, 500)),
    "deconvnet": ("HyeonwooNoh__DeconvNet/model/DeconvNet/DeconvNet_inference_deploy", (), (224, 224), (224, 224)),
    "deeplab_v2_vgg16": (
        "SoonminHwang__caffe-segmentation/prototxt/DeepLabv2-VGG16_deploy",
        (),
        (473, 473),
        (473, 473),
    ),
    "deeplab_v2_resnet101": ("DrSleep__tensorflow-deeplab-resnet/misc/deploy", (), (473, 473), (473, 473)),
    "pspnet": (
        "hszhao__PSPNet/evaluation/prototxt/pspnet101_VOC2012_473",
        ("aux=false",),
        (473, 473),
        (473, 473),
    ),
    # The original is fed an image that is enlarged by 186 pixels on every side already.
    "dilation8": ("fyu__dilation/models/dilation8_camvid_deploy", (), (528, 728), (900, 1100)),
}


def convolutions(graph: Graph) -> Counter[tuple[str, tuple[int, ...], int]]:
    """How often each type, output shape and number of weights occurs."""
    return Counter(
        (layer.layer.type, layer.outputs[0].shape[1:], sum(math.prod(spec.shape) for spec in layer.params.values()))
        for layer in graph.layers
        if layer.layer.type in ("Convolution", "Deconvolution")
    )


@pytest.mark.parametrize("name", ORIGINALS)
def test_has_the_convolutions_of_the_original(name: str, shared: Path) -> None:
    original, overrides, size, their_size = ORIGINALS[name]
    ours = load_net(shipped("specs") / f"{name}.yaml", overrides)
    theirs = load_net(shared / "corpus" / f"{original}.prototxt")
    found = convolutions(build(ours, "TEST", net_inputs(ours, size)))
    assert found == convolutions(build(theirs, "TEST", net_inputs(theirs, their_size)))


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "fcn_alexnet", "dilation8"])
def test_weights_of_the_original_load_by_name(name: str, shared: Path) -> None:
    original, overrides, size, their_size = ORIGINALS[name]
    ours = load_net(shipped("specs") / f"{name}.yaml", overrides)
    theirs = load_net(shared / "corpus" / f"{original}.prototxt")

    def learned(graph: Graph) -> dict[str, list[tuple[int, ...]]]:
        return {layer.name: [spec.shape for spec in layer.params.values()] for layer in graph.layers if layer.params}

    found = learned(build(ours, "TEST", net_inputs(ours, size)))
    assert found == learned(build(theirs, "TEST", net_inputs(theirs, their_size)))
