"""The networks that segmentation_models.pytorch defines: its counts, and its outputs for its weights.

Where a spec follows another publication on purpose, DIFFERENT says how, and what both have in common is compared.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from segspec.graph.build import build, image_inputs
from segspec.spec.library import shipped
from segspec.spec.net import load_net
from segspec.spec.netspec import NetSpec
from segspec.weights.names import load_weights_map

pytestmark = [pytest.mark.oracle, pytest.mark.slow]
SPECS = shipped("specs")
SIZE = (48, 64)
"""Height and width of the image; the library takes multiples of 16."""


def separable(layer: str, norm: str, depth: str, point: str, their_norm: str) -> dict[str, str]:
    """A separable convolution and its normalisation: two convolutions that follow each other."""
    block, _, number = layer.rpartition("/conv")
    return {
        layer: depth,
        f"{block}/conv{int(number) + 1}": point,
        f"{block}/{norm}": their_norm,
    }


def encoder_names(depth: int) -> dict[str, str]:
    layers = load_weights_map(f"resnet{depth}_torchvision").layers
    return {ours: f"encoder.{theirs}" for ours, theirs in layers.items()}


def deeplab_names() -> dict[str, str]:
    """The decoder of DeepLab v3+."""
    aspp = "decoder.aspp.0"
    found = {"aspp/conv1": f"{aspp}.convs.0.0", "aspp/bn1": f"{aspp}.convs.0.1"}
    for branch in (1, 2, 3):
        parts = (f"{aspp}.convs.{branch}.0.0", f"{aspp}.convs.{branch}.0.1", f"{aspp}.convs.{branch}.1")
        found |= separable(f"aspp/conv{2 * branch}", f"bn{branch + 1}", *parts)
    found |= {"aspp/conv8": f"{aspp}.convs.4.1", "aspp/bn5": f"{aspp}.convs.4.2"}
    found |= {"aspp/conv9": f"{aspp}.project.0", "aspp/bn6": f"{aspp}.project.1"}
    found |= separable("coarse/conv1", "bn1", "decoder.aspp.1.0", "decoder.aspp.1.1", "decoder.aspp.2")
    found |= {"conv1": "decoder.block1.0", "bn1": "decoder.block1.1"}
    found |= separable("decoder/conv1", "bn1", "decoder.block2.0.0", "decoder.block2.0.1", "decoder.block2.1")
    return found | {"classifier": "segmentation_head.0"}


def count(net: NetSpec) -> int:
    return build(net, "DEPLOY", image_inputs(1, *SIZE, 3, labels=False)).parameters


def parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("depth", "n"), [(50, 6), (101, 23)])
def test_deeplab_v3plus_counts_the_same(depth: int, n: int, smp: Any) -> None:
    module = smp.DeepLabV3Plus(f"resnet{depth}", encoder_weights=None, classes=21)
    assert count(load_net(SPECS / "deeplab_v3plus.yaml", [f"depth={n}"])) == parameters(module)


def test_deeplab_v3plus(smp: Any, seasoned: Any, same_outputs: Any) -> None:
    module = seasoned(smp.DeepLabV3Plus("resnet50", encoder_weights=None, classes=21), SIZE)
    net = load_net(SPECS / "deeplab_v3plus.yaml", ["depth=6"])
    same_outputs(net, module, encoder_names(50) | deeplab_names(), SIZE, {"score": module})


DIFFERENT = {
    "fpn": "Lin et al. smooth each level by a 3x3 convolution, the library does not; it normalises groups of channels",
    "linknet": "the authors enlarge by deconvolutions of 3x3 and end with one of 2x2; the library's are all of 4x4",
    "pspnet": "the authors dilate a ResNet with a deep stem; the library ends the encoder at 1/8 of the resolution",
    "unet": "the authors' encoder is plain; the library has none but those of classifiers",
}
"""Specs that differ from the library's networks of the same name, and how."""


def test_the_pathway_of_fpn(smp: Any, seasoned: Any, same_outputs: Any) -> None:
    """The levels before they are smoothed: lateral convolutions, and additions from coarse to fine."""
    module = seasoned(smp.FPN("resnet50", encoder_weights=None, classes=19), (64, 96))
    net = load_net(SPECS / "fpn.yaml")
    stages = {"res1": "c1", "res2": "c2", "res3": "c3", "res4": "c4", "res5": "c5"}
    split = {tuple(ours.split("/")): theirs for ours, theirs in encoder_names(50).items()}
    names = {f"{stages[stage]}/{layer}": theirs for (stage, layer), theirs in split.items()}
    names |= {"p5": "decoder.p5", **{f"lateral{i}": f"decoder.p{i}.skip_conv" for i in (4, 3, 2)}}

    def level(last: int) -> Any:
        def run(image: Any) -> Any:
            features = module.encoder(image)
            x = module.decoder.p5(features[5])
            for i in range(4, last - 1, -1):
                x = getattr(module.decoder, f"p{i}")(x, features[i])
            return x

        return run

    pairs = {"p5": level(5), "sum4": level(4), "sum3": level(3), "sum2": level(2)}
    same_outputs(net, module, names, (64, 96), pairs, whole=False)


def test_the_encoder_of_linknet_counts_the_same(smp: Any) -> None:
    module = smp.Linknet("resnet18", encoder_weights=None, classes=19)
    net = load_net(SPECS / "linknet.yaml")
    graph = build(net, "DEPLOY", image_inputs(1, *SIZE, 3, labels=False))
    encoder = [layer for layer in graph.layers if layer.name.partition("/")[0] in ("stem", "e1", "e2", "e3", "e4")]
    shapes = [spec.shape for layer in encoder for spec in layer.params.values()]
    assert sum(math.prod(shape) for shape in shapes) == parameters(module.encoder)


@pytest.mark.parametrize("spec", DIFFERENT)
def test_what_differs_on_purpose_counts_otherwise(spec: str, smp: Any) -> None:
    make = {"fpn": smp.FPN, "linknet": smp.Linknet, "pspnet": smp.PSPNet, "unet": smp.Unet}[spec]
    encoder = {"linknet": "resnet18"}.get(spec, "resnet50")
    net = load_net(SPECS / f"{spec}.yaml")
    assert net.classes is not None
    assert count(net) != parameters(make(encoder, encoder_weights=None, classes=net.classes.count))
