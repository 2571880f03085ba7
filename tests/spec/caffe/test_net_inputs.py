"""What feeds a net in a prototxt, and which layers a phase, stage or level has."""

from __future__ import annotations

import pytest
from prototxts import HEAD, complaint, layer, read

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.layers.base import Blob
from segspec.layers.data import DenseImageData
from segspec.spec.caffe.net import read_caffe_net

DATA = """
layer { name: "data" type: "DenseImageData" top: "image" top: "truth" include { phase: TRAIN }
  dense_image_data_param { source: "train.txt" batch_size: 4 shuffle: true is_color: 0 }
  transform_param { mirror: true mean_value: 104 } }
layer { name: "data" type: "DenseImageData" top: "image" top: "truth" include: { phase: TEST }
  dense_image_data_param { source: "test.txt" } }
layer { name: "score" type: "Convolution" bottom: "image" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" exclude { phase: 1 } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "truth" include { phase: TEST } }
"""


def test_images_and_labels_are_called_so_inside_and_both_phases_are_read() -> None:
    net = read(DATA)
    train, test = net.data["train"], net.data["test"]
    assert isinstance(train, DenseImageData) and isinstance(test, DenseImageData)
    assert (train.source, train.batch_size, train.color, train.mirror) == ("train.txt", 4, False, True)
    assert train.mean_value == (104.0,)
    assert test.source == "test.txt"
    assert [spec.name for spec in net.layers] == ["score", "loss"]
    assert net.layers[1].bottoms == ("score", "label")


def test_a_phase_has_its_own_layers() -> None:
    net = read(DATA, phase="TEST")
    assert [(spec.name, spec.tops) for spec in net.layers] == [("score", ("score",)), ("accuracy", ("accuracy",))]


def test_without_labels_what_needs_them_falls_away() -> None:
    graph = build(read(DATA, phase="DEPLOY"), "DEPLOY", image_inputs(1, 4, 4, 3, labels=False))
    assert [spec.name for spec in graph.layers] == ["score"]
    assert graph.prediction == "score"


@pytest.mark.parametrize(
    ("rule", "present"),
    [
        ("include { phase: TRAIN }", True),
        ("include { phase: TEST }", False),
        ("include { phase: TEST } include { phase: TRAIN }", True),
        ("exclude { phase: TRAIN }", False),
        ("exclude { phase: TEST }", True),
        ("include { stage: 'deploy' }", True),
        ("include { stage: 'fit' }", False),
        ("include { not_stage: 'deploy' }", False),
        ("include { min_level: 1 }", False),
        ("include { max_level: 0 }", True),
        ("include { phase: 0 }", True),
        ("include { phase: TRAIN stage: 'deploy' }", True),
        ("exclude { phase: TRAIN stage: 'fit' }", True),
    ],
)
def test_rules_of_phase_stage_and_level(rule: str, present: bool) -> None:
    net = read(
        HEAD + "state { stage: 'deploy' }" + layer("ReLU", name="a", top="a") + layer("ReLU", rule, name="b", top="b")
    )
    assert [spec.name for spec in net.layers] == (["a", "b"] if present else ["a"])


def test_stages_and_a_level_are_given_from_outside() -> None:
    text = HEAD + layer("ReLU", "include { stage: 'val' min_level: 2 }", name="b", top="b") + layer("ReLU", name="a")
    names = {}
    for stages, level in ((("val",), 2), (("val",), None), ((), 2)):
        net = read_caffe_net(Source("net.prototxt", text), stages=stages, level=level)
        names[stages, level] = [spec.name for spec in net.layers]
    assert names == {(("val",), 2): ["b", "a"], (("val",), None): ["a"], ((), 2): ["a"]}


def test_what_waits_for_a_stage_says_which() -> None:
    text = HEAD + layer("ReLU", "include { stage: 'val' }", name="b", top="b") + layer("ReLU", name="a", bottom="b")
    assert "--stage val brings it" in complaint(text)


def test_a_phase_that_is_none_is_a_mistake() -> None:
    assert "net.prototxt:2:75: a 'phase' is TRAIN or TEST" in complaint(
        HEAD + layer("ReLU", "include { phase: TRIAN }")
    )


def test_a_net_that_is_fed_takes_its_inputs_from_the_data_layers_of_any_phase() -> None:
    source = 'layer { name: "d" type: "WindowData" top: "image" top: "l" include { phase: TRAIN stage: "x" } }\n'
    net = read(source + layer("ReLU", bottom="image"), phase="DEPLOY")
    assert net.layers[0].bottoms == ("data",)
    assert "which no layer before it makes" in complaint(source + layer("ReLU", bottom="image"), phase="TEST")


@pytest.mark.parametrize(
    "head",
    [
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 6',
        'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 6 }',
        'input: "x" input_shape { dim: [1, 3, 8, 6] }',
        'layer { name: "in" type: "Input" top: "x" input_param { shape: { dim: 1 dim: 3 dim: 8 dim: 6 } } }',
        'input: "x" layer { type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 6 } } }',
    ],
)
def test_a_declared_image_is_the_nets_input(head: str) -> None:
    bottom = "data" if '"data"' in head else "x"
    net = read(f"{head}\n{layer('ReLU', bottom=bottom)}")
    assert net.declared == {"data": (1, 3, 8, 6)}
    assert net.input is not None
    assert (net.input.height, net.input.width, net.input.channels) == (8, 6, 3)
    assert net.layers[0].bottoms == ("data",)


def test_further_inputs_keep_their_names() -> None:
    net = read(
        'input: "a" input_shape { dim: 2 dim: 3 } input: "b" input_shape { dim: 2 dim: 3 }'
        + layer("Eltwise", 'bottom: "b"', bottom="a")
    )
    assert net.declared == {"a": (2, 3), "b": (2, 3)}
    graph = build(net, "TEST", {"a": Blob((2, 3)), "b": Blob((2, 3))})
    assert graph.layers[0].outputs[0].shape == (2, 3)


def test_a_crop_of_nothing_is_none() -> None:
    text = 'layer { name: "d" type: "DenseImageData" top: "data" dense_image_data_param { source: "s" } transform_param'
    net = read(text + " { crop_size: 0 } }" + layer("ReLU"))
    assert net.data["train"].size is None


def test_a_source_that_cannot_be_read_still_feeds_the_net() -> None:
    text = 'layer { name: "d" type: "WindowData" top: "image" top: "l" }' + layer("ReLU", bottom="image")
    net = read(text)
    assert net.layers[0].bottoms == ("data",)
    assert "images are not read by 'WindowData'" in net.warnings[0].render()
