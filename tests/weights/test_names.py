"""Weights of a net with other names: Caffe's, torch's and our own."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from segspec.errors import Source, SpecError, WeightsError
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.net import Tree, init
from segspec.run.blobs import read_blobs
from segspec.spec.library import shipped
from segspec.spec.net import load_net, read_net
from segspec.weights.caffemodel import CaffeLayer, write_caffemodel
from segspec.weights.files import write_weights
from segspec.weights.fit import Transfer, fit
from segspec.weights.names import SAME_NAMES, load_weights_map

NET = """segspec: 1
layers:
  - Dropout
  - Convolution: {name: first, num_output: 3, kernel_size: 1}
  - BatchNorm: {name: norm}
  - Convolution: {name: second, num_output: 2, kernel_size: 1}
"""


def graph_of(text: str = NET) -> Graph:
    return build(read_net(Source("net.yaml", text), Path()), "DEPLOY", image_inputs(1, 4, 4, 3, labels=False))


def loaded(graph: Graph, weights: Path, text: str) -> tuple[Tree, Tree, Transfer]:
    path = weights.with_name("map.yaml")
    path.write_text(text)
    return fit(graph, *init(graph, 0), read_blobs(weights, graph, load_weights_map(str(path))))


def numbered(*shape: int, first: float = 1.0) -> np.ndarray:
    return np.arange(first, first + np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def test_a_caffemodel_of_other_names(tmp_path: Path) -> None:
    layers = [
        CaffeLayer("conv1", "Convolution", (numbered(3, 3, 1, 1), numbered(3))),
        CaffeLayer("bn1", "BatchNorm", (numbered(3), numbered(3), np.float32([2]))),
        CaffeLayer("scale1", "Scale", (numbered(3, first=7), numbered(3, first=10))),
        CaffeLayer("second", "Convolution", (numbered(2, 3, 1, 1, first=50), numbered(2))),
        CaffeLayer("first", "Convolution", (numbered(1),)),
    ]
    path = tmp_path / "w.caffemodel"
    write_caffemodel(path, "net", layers)
    params, state, transfer = loaded(graph_of(), path, "layers: {first: conv1, norm: bn1}")
    np.testing.assert_array_equal(params["first"]["weight"][0, 0], numbered(3, 3).T)
    assert params["norm"]["scale"].tolist() == [7, 8, 9]
    assert state["norm"]["mean"].tolist() == [0.5, 1, 1.5]
    assert transfer.initial == ("second.weight", "second.bias")
    assert transfer.unused == ("first.0", "second.0", "second.1")


def test_red_green_blue_is_turned_for_the_first_convolution_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    blobs = (numbered(3, 3, 1, 1), numbered(3))
    write_caffemodel(
        path, "net", [CaffeLayer("a", "", blobs), CaffeLayer("b", "", (numbered(2, 3, 1, 1), numbered(2)))]
    )
    params, _, _ = loaded(graph_of(), path, "channels: rgb\nlayers: {first: a, second: b}")
    np.testing.assert_array_equal(params["first"]["weight"][0, 0], numbered(3, 3).T[::-1])
    np.testing.assert_array_equal(params["second"]["weight"][0, 0], numbered(2, 3).T)


def test_a_torch_module(tmp_path: Path) -> None:
    graph = graph_of(
        "segspec: 1\nlayers:\n"
        "  - Convolution: {name: c, num_output: 4, kernel_size: [2, 3], group: 1}\n"
        "  - BatchNorm: {name: n}\n"
        "  - PReLU: {name: p}\n"
        "  - Deconvolution: {name: d, num_output: 2, kernel_size: 2}\n"
        "  - InnerProduct: {name: i, num_output: 2}\n"
        "  - InnerProduct: {name: t, num_output: 3, transpose: true, bias_term: false}\n"
    )
    norm = {name: numbered(4, first=k) for k, name in enumerate(("weight", "bias", "running_mean", "running_var"))}
    modules = {
        "body.0": {"weight": numbered(4, 3, 2, 3), "bias": numbered(4)},
        "body.1": {**norm, "num_batches_tracked": np.int64(9)},
        "body.2": {"weight": numbered(4)},
        "body.3": {"weight": numbered(4, 2, 2, 2), "bias": numbered(2)},
        "head": {"weight": numbered(2, 2 * 4 * 3), "bias": numbered(2)},
        "last": {"weight": numbered(3, 2)},
        "more": {"weight": numbered(1)},
    }
    path = tmp_path / "w.safetensors"
    write_weights(path, modules)
    text = "layout: torch\nchannels: rgb\nlayers: {c: body.0, n: body.1, p: body.2, d: body.3, i: head, t: last}"
    params, state, transfer = loaded(graph, path, text)
    assert not transfer.initial and transfer.unused == ("more.weight",)
    np.testing.assert_array_equal(params["c"]["weight"], modules["body.0"]["weight"].transpose(2, 3, 1, 0)[:, :, ::-1])
    assert [params["n"]["scale"][0], params["n"]["shift"][0], state["n"]["mean"][0], state["n"]["variance"][0]] == [
        0,
        1,
        2,
        3,
    ]
    assert float(state["n"]["factor"]) == pytest.approx(10)
    np.testing.assert_array_equal(params["p"]["slope"], modules["body.2"]["weight"])
    np.testing.assert_array_equal(params["d"]["weight"], modules["body.3"]["weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(params["i"]["weight"], modules["head"]["weight"].T)
    np.testing.assert_array_equal(params["t"]["weight"], modules["last"]["weight"].T)


def test_a_torch_module_of_the_same_names(tmp_path: Path) -> None:
    weight = numbered(3, 3, 1, 1)
    write_weights(tmp_path / "w.safetensors", {"first": {"weight": weight, "bias": numbered(3)}})
    params, _, transfer = loaded(graph_of(), tmp_path / "w.safetensors", "layout: torch")
    np.testing.assert_array_equal(params["first"]["weight"], weight.transpose(2, 3, 1, 0))
    assert transfer.loaded == ("first.weight", "first.bias")


def test_our_own_weights_under_other_names(tmp_path: Path) -> None:
    graph = graph_of()
    params, _ = init(graph, 3)
    write_weights(tmp_path / "w.safetensors", {"x": params["first"], "second": params["second"]})
    found, _, transfer = loaded(graph, tmp_path / "w.safetensors", "channels: rgb\nlayers: {first: x}")
    np.testing.assert_array_equal(found["first"]["weight"], params["first"]["weight"][:, :, ::-1])
    assert transfer.loaded == ("first.weight", "first.bias")


def test_every_wrong_name_is_told_with_its_place(tmp_path: Path) -> None:
    write_caffemodel(tmp_path / "w.caffemodel", "net", [CaffeLayer("conv1", "", (numbered(1),))])
    with pytest.raises(WeightsError) as caught:
        loaded(graph_of(), tmp_path / "w.caffemodel", "layers:\n  frist: conv1\n  norm: conv2\n")
    text = str(caught.value)
    assert "map.yaml:2:3: the net has no layer 'frist'" in text and "did you mean 'first'?" in text
    assert "map.yaml:3:3: the file has no layer 'conv2'" in text and "did you mean 'conv1'?" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layout: keras", "'layout'"),
        ("layer: {a: b}", "did you mean 'layers'"),
        ("[a, b]", "a map of weights is a mapping of fields, got a list"),
        ("layers: {a: 1}", "must be a word"),
    ],
)
def test_a_wrong_map_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_weights_map(str(tmp_path / "map.yaml"))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["vgg", "nowhere.yaml", "../vgg16"])
def test_an_unknown_map_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="there is no map of weights"):
        load_weights_map(name)


def widths(name: str, spec: str, *overrides: str) -> list[int]:
    """Channels of the convolutions of a shipped spec that a shipped map gives weights, in the order of the map."""
    net = load_net(shipped("specs") / f"{spec}.yaml", overrides)
    graph = build(net, "DEPLOY", image_inputs(1, 32, 32, 3, labels=False))
    names = load_weights_map(name)
    assert names.channels == ("bgr" if names.layout == "caffe" else "rgb")
    takers = names.takers(graph, set(names.layers.values()))
    layers = [layer for own in takers.values() for layer in own]
    return [layer.outputs[0].shape[-1] for layer in layers if layer.layer.type == "Convolution"]


VGG16 = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
SHIPPED = sorted(path.stem for path in (shipped("specs") / "weights").glob("*.yaml"))


@pytest.mark.parametrize("name", ["vgg16", "vgg16_torchvision", "vgg16_bn_torchvision"])
def test_shipped_maps_of_vgg16_fit_segnets_encoder(name: str) -> None:
    assert widths(name, "segnet_camvid") == VGG16


@pytest.mark.parametrize("spec", ["fcn8s", "fcn16s", "fcn32s", "dilation8", "dilation10"])
def test_the_whole_of_vgg16_fits_nets_that_slide_it(spec: str) -> None:
    assert widths("vgg16_torchvision_fcn", spec) == [*VGG16, 4096, 4096]


@pytest.mark.parametrize("spec", ["deeplab_v1_largefov", "deeplab_v2_vgg16", "fcn8s"])
def test_vgg16s_convolutions_fit_nets_that_keep_caffes_names(spec: str) -> None:
    assert widths("vgg16_torchvision_deeplab", spec) == VGG16


def test_a_map_fits_the_first_block_that_has_its_names() -> None:
    assert widths("resnet101", "deeplab_v2_multiscale") == widths("resnet101", "deeplab_v2_resnet101")
    net = load_net(shipped("specs") / "deeplab_v2_multiscale.yaml")
    graph = build(net, "DEPLOY", image_inputs(1, 32, 32, 3, labels=False))
    takers = load_weights_map("resnet101").takers(graph, load_weights_map("resnet101").layers.values())
    assert {layer.name.partition("/")[0] for own in takers.values() for layer in own} == {"whole"}
    assert not any(layer.owners for own in takers.values() for layer in own)


def test_a_block_that_lacks_a_name_of_the_map_is_not_meant(tmp_path: Path) -> None:
    text = NET.replace("name: first", "name: a/first").replace("name: second", "name: b/second")
    write_caffemodel(tmp_path / "w.caffemodel", "net", [CaffeLayer("conv1", "", (numbered(1),))])
    with pytest.raises(WeightsError, match="the net has no layer 'first'"):
        loaded(graph_of(text), tmp_path / "w.caffemodel", "layers: {first: conv1, second: conv1}")


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.startswith("vgg16")])
@pytest.mark.parametrize("spec", ["deeplab_v3", "deeplab_v3plus", "fcn_resnet", "gcn", "refinenet"])
def test_shipped_maps_of_resnets_fit_the_encoders_that_are_one(name: str, spec: str) -> None:
    deep = "101" in name
    expected = [64]
    for width, units in ((64, 3), (128, 4), (256, 23 if deep else 6), (512, 3)):
        expected += [width, width, 4 * width, 4 * width, *([width, width, 4 * width] * (units - 1))]
    assert widths(name, spec, f"depth={23 if deep else 6}") == expected


@pytest.mark.parametrize("depth", [50, 101])
def test_the_maps_of_caffes_resnets_name_their_layers(depth: int, shared: Path) -> None:
    folder = shared / "corpus/KaimingHe__deep-residual-networks/prototxt"
    text = (folder / f"ResNet-{depth}-deploy.prototxt").read_text()
    named = re.findall(r'name: "((?:conv1|bn_conv1|res\d\w+_branch\d\w?|bn\d\w+_branch\d\w?))"', text)
    assert set(load_weights_map(f"resnet{depth}").layers.values()) == set(named)


def test_torchvisions_numbers_are_those_of_its_modules() -> None:
    maps = ("vgg16_torchvision", "vgg16_torchvision_fcn", "vgg16_torchvision_deeplab")
    for name, convolution in (*((name, "Conv") for name in maps), ("vgg16_bn_torchvision", "Conv+BN")):
        index, expected = 0, []
        for width in (2, 2, 3, 3, 3):
            for _ in range(width):
                expected += [index] if convolution == "Conv" else [index, index + 1]
                index += 2 if convolution == "Conv" else 3
            index += 1
        theirs = load_weights_map(name).layers.values()
        assert [int(name.removeprefix("features.")) for name in theirs if name.startswith("features.")] == expected


def test_the_map_in_the_pages_is_one(tmp_path: Path) -> None:
    pages = (Path(__file__).parent.parent.parent / "docs").glob("*.md")
    texts = [block for page in pages for block in re.findall(r"^```yaml map\n(.*?)^```", page.read_text(), re.M | re.S)]
    assert texts
    for text in texts:
        (tmp_path / "map.yaml").write_text(text)
        assert load_weights_map(str(tmp_path / "map.yaml")).layers["e1/bn1"] == "features.1"


def test_without_a_map_names_are_the_same() -> None:
    assert load_weights_map(None) is SAME_NAMES
    assert list(SAME_NAMES.takers(graph_of(), ["first", "other"])) == ["first"]
    assert jax.tree.structure(SAME_NAMES.layers) == jax.tree.structure({})
