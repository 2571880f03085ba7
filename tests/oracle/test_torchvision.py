"""The networks that torchvision defines: its counts, and its outputs for its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.spec.library import shipped
from segspec.spec.net import load_net, read_net
from segspec.spec.netspec import NetSpec
from segspec.weights.names import load_weights_map

pytestmark = [pytest.mark.oracle, pytest.mark.slow]
SPECS = shipped("specs")
SIZE = (49, 65)
"""Height and width of the image: no multiple of a stride."""
KINDS = {"fcn_resnet": "fcn", "deeplab_v3": "deeplabv3"}
"""How torchvision calls what our specs call."""
HEAD = {
    "fcn": {"head/conv1": "classifier.0", "head/bn1": "classifier.1", "classifier": "classifier.4"},
    "deeplabv3": {
        "aspp/conv1": "classifier.0.convs.0.0",
        "aspp/bn1": "classifier.0.convs.0.1",
        **{f"aspp/conv{i}": f"classifier.0.convs.{i - 1}.0" for i in (2, 3, 4)},
        **{f"aspp/bn{i}": f"classifier.0.convs.{i - 1}.1" for i in (2, 3, 4)},
        "aspp/conv5": "classifier.0.convs.4.1",
        "aspp/bn5": "classifier.0.convs.4.2",
        "aspp/conv6": "classifier.0.project.0",
        "aspp/bn6": "classifier.0.project.1",
        "head/conv1": "classifier.1",
        "head/bn1": "classifier.2",
        "classifier": "classifier.4",
    },
}


@dataclass(frozen=True)
class Encoder:
    """A spec whose encoder is a ResNet of torchvision's.

    Attributes:
        spec: its name.
        stages: its blobs that equal the outputs of torchvision's four stages.
        model: torchvision's name.
        overrides: what makes the spec's encoder that one.
        caffe: whether a stage halves the image in its first 1x1, as Caffe's models do, not in its first 3x3.
    """

    spec: str
    stages: tuple[str, ...] = ("res2", "res3", "res4", "res5")
    model: str = "resnet50"
    overrides: tuple[str, ...] = ("depth=6",)
    caffe: bool = False


ENCODERS = (
    Encoder("fpn", ("c2", "c3", "c4", "c5")),
    Encoder("resnet_encoder_decoder", caffe=True),
    Encoder("sharpmask", ("res2", "res3", "res4"), overrides=(), caffe=True),
    Encoder("linknet", ("e1", "e2", "e3", "e4"), "resnet18", ()),
)


def encoder_names(model: str, stages: tuple[str, ...], stem: str, prefix: str = "") -> dict[str, str]:
    """torchvision's modules by the layers of a net whose stages have other names than in the shipped map."""
    if model == "resnet18":
        return basic_names(stages, stem)
    ours = {"res1": stem, **dict(zip(("res2", "res3", "res4", "res5"), stages, strict=False))}
    pairs = load_weights_map(f"{model}_torchvision").layers.items()
    split = [(*layer.split("/"), theirs) for layer, theirs in pairs]
    return {f"{ours[stage]}/{layer}": f"{prefix}{theirs}" for stage, layer, theirs in split if stage in ours}


def basic_names(stages: tuple[str, ...], stem: str) -> dict[str, str]:
    """The same of ResNet-18: two blocks a stage; from the second stage on the first block projects its input."""
    found = {f"{stem}/conv1": "conv1", f"{stem}/bn1": "bn1"}
    for index, stage in enumerate(stages, 1):
        first = [f"layer{index}.0.conv1", f"layer{index}.0.conv2"]
        project = [f"layer{index}.0.downsample.0"] if index > 1 else []
        convs = [*first, *project, f"layer{index}.1.conv1", f"layer{index}.1.conv2"]
        for number, conv in enumerate(convs, 1):
            found[f"{stage}/conv{number}"] = conv
            found[f"{stage}/bn{number}"] = conv.replace("conv", "bn").replace("downsample.0", "downsample.1")
    return found


def move_strides(model: Any) -> None:
    """Lets a ResNet halve the image in the first 1x1 of a stage, as He's own models do."""
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = stage[0].conv2.stride, stage[0].conv1.stride


def after(model: Any, stage: int) -> Callable[[Any], Any]:
    """What comes of an image behind a stage of a ResNet."""

    def run(image: Any) -> Any:
        x = model.maxpool(model.relu(model.bn1(model.conv1(image))))
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4)[:stage]:
            x = layer(x)
        return x

    return run


def segmentation(torchvision: Any, spec: str, depth: int) -> tuple[NetSpec, Any]:
    """A spec and torchvision's module, both without what only training needs."""
    make = getattr(torchvision.models.segmentation, f"{KINDS[spec]}_resnet{depth}")
    module = make(weights=None, weights_backbone=None, num_classes=21, aux_loss=False)
    overrides = [f"depth={6 if depth == 50 else 23}", *(["aux=false"] if spec == "fcn_resnet" else [])]
    return load_net(SPECS / f"{spec}.yaml", overrides), module


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize("spec", KINDS)
def test_segmentation_networks_count_the_same(spec: str, depth: int, torchvision: Any) -> None:
    net, module = segmentation(torchvision, spec, depth)
    graph = build(net, "DEPLOY", image_inputs(1, *SIZE, 3, labels=False))
    assert graph.parameters == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("spec", "depth"), [("fcn_resnet", 50), ("deeplab_v3", 50), ("deeplab_v3", 101)])
def test_segmentation_networks(spec: str, depth: int, torchvision: Any, seasoned: Any, same_outputs: Any) -> None:
    net, module = segmentation(torchvision, spec, depth)
    names = encoder_names(f"resnet{depth}", ("res2", "res3", "res4", "res5"), "res1", "backbone.") | HEAD[KINDS[spec]]
    module = seasoned(module, SIZE)
    same_outputs(net, module, names, SIZE, {"score": lambda image: module(image)["out"]})


def test_auxiliary_losses_count_what_torchvisions_count(torchvision: Any) -> None:
    make = torchvision.models.segmentation.fcn_resnet50
    module = make(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    graph = build(load_net(SPECS / "fcn_resnet.yaml", ["depth=6"]), "TRAIN", image_inputs(1, *SIZE, 3))
    assert graph.parameters == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.spec)
def test_encoders(encoder: Encoder, torchvision: Any, seasoned: Any, same_outputs: Any) -> None:
    model = getattr(torchvision.models, encoder.model)(weights=None)
    if encoder.caffe:
        move_strides(model)
    net = load_net(SPECS / f"{encoder.spec}.yaml", encoder.overrides)
    stem = next(layer.name for layer in net.layers if layer.layer.type == "Convolution").partition("/")[0]
    names = encoder_names(encoder.model, encoder.stages, stem)
    pairs = {stage: after(model, index) for index, stage in enumerate(encoder.stages, 1)}
    same_outputs(net, seasoned(model, SIZE), names, SIZE, tops(net, pairs), whole=False)


@pytest.mark.parametrize("spec", ["gcn", "refinenet"])
def test_encoders_of_other_specs_are_the_same(spec: str) -> None:
    def encoder(name: str) -> list[object]:
        layers = load_net(SPECS / f"{name}.yaml", ["depth=6"]).layers
        return [(each.name, each.layer, each.bottoms) for each in layers if each.name.startswith("res")]

    assert encoder(spec) == encoder("resnet_encoder_decoder") != []


def tops(net: NetSpec, pairs: dict[str, Any]) -> dict[str, Any]:
    """The same under the names of the last layers of the blocks."""
    last = {layer.name.partition("/")[0]: layer.tops[0] for layer in net.layers}
    return {last[block]: part for block, part in pairs.items()}


def test_vgg16_as_segnets_encoder(torch: Any, torchvision: Any, drawn: Any, seasoned: Any, same_outputs: Any) -> None:
    size = (64, 96)
    with torch.device("meta"):
        module = torchvision.models.vgg16_bn(weights=None)
    module.classifier = torch.nn.Identity()
    module = seasoned(drawn(module), size)
    names = load_weights_map("vgg16_bn_torchvision").layers
    net = load_net(SPECS / "segnet_camvid.yaml")
    same_outputs(net, module, names, size, {"e5/pool": module.features, "e1/pool": module.features[:7]}, whole=False)


def vgg16(classifier: str) -> NetSpec:
    last = "Convolution: {name: fc8, num_output: 1000, kernel_size: 1}"
    return read_net(Source("vgg.yaml", f"segspec: 1\nuse: [vgg]\nlayers: [vgg16, {classifier}, {last}]\n"), Path(SPECS))


def test_vgg16_counts_the_same(torch: Any, torchvision: Any) -> None:
    with torch.device("meta"):
        module = torchvision.models.vgg16(weights=None)
    graph = build(vgg16("vgg_fc"), "DEPLOY", image_inputs(1, 224, 224, 3, labels=False))
    assert graph.parameters == sum(parameter.numel() for parameter in module.parameters())


def test_vgg16_with_its_classifier(torch: Any, torchvision: Any, drawn: Any, same_outputs: Any) -> None:
    """With 64 numbers between the parts of the classifier instead of 4096, which are 120 million weights."""
    with torch.device("meta"):
        module = torchvision.models.vgg16(weights=None)
        for place, inputs, outputs in ((0, 512 * 7 * 7, 64), (3, 64, 64), (6, 64, 1000)):
            module.classifier[place] = torch.nn.Linear(inputs, outputs)
    drawn(module).eval()
    net = vgg16("vgg_fc: {out: 64}")
    convolutions = [layer.name for layer in net.layers if layer.name.startswith("conv")]
    numbers = [index for index, part in enumerate(module.features) if hasattr(part, "weight")]
    names = {name: f"features.{number}" for name, number in zip(convolutions, numbers, strict=True)}
    names |= {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
    pairs = {"pool5": module.features, "fc8": lambda image: module(image)[:, :, None, None]}
    same_outputs(net, module, names, (224, 224), pairs)
