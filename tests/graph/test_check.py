"""`segspec check`: which size it takes, what it tells, and the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.graph.build import build, image_inputs
from segspec.graph.check import check
from segspec.graph.inputs import declared_size
from segspec.graph.memory import Setting, predict_memory
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.net import read_net
from segspec.spec.netspec import NetSpec
from segspec.spec.solver import Solver

LAYERS = (
    "layers:\n  - Convolution: {num_output: 4, kernel_size: 3, pad: same}\n  - Pooling: {kernel_size: 2, stride: 2}\n"
)


def spec(top: str = "") -> NetSpec:
    return read_net(Source("x.yaml", f"segspec: 1\nname: n\n{top}{LAYERS}"), Path("nowhere"))


SIZED = "data: {train: {type: SyntheticSquares, height: 6, width: 8, batch_size: 5}}\n"
CROPPED = "data: {train: {type: DenseImageData, source: t.txt, crop_size: [6, 8]}}\n"
OPEN = "data: {train: {type: DenseImageData, source: t.txt}, test: {type: SyntheticSquares, height: 2, width: 4}}\n"


@pytest.mark.parametrize(
    ("top", "size"),
    [
        (SIZED, (6, 8)),
        (CROPPED, (6, 8)),
        (OPEN, (2, 4)),
        ("input: {height: 6, width: 8}\n", (6, 8)),
        ("input: {height: 1, width: 1}\n" + SIZED, (6, 8)),
        ("", None),
    ],
)
def test_the_size_is_that_of_the_data_or_declared(top: str, size: tuple[int, int] | None) -> None:
    assert declared_size(spec(top)) == size


def test_without_a_size_it_asks_for_one() -> None:
    with pytest.raises(SpecError) as caught:
        check(spec())
    assert str(caught.value).startswith("x.yaml: the size of the images is not known\n  call check with --size ")
    assert "new_height and new_width, or crop_size" in str(caught.value)
    assert "images of 4x6x3" in check(spec(), (4, 6))


def test_the_table() -> None:
    assert check(spec("classes: 4\n" + SIZED)).splitlines() == [
        "n, images of 6x8x3, 4 classes",
        "",
        "layer  type         output  parameters  multiply-adds  activations  sees",
        "------------------------------------------------------------------------",
        "conv1  Convolution   6x8x4         112          5.2 k        768 B   3x3",
        "pool1  Pooling       3x4x4                                   192 B   4x4",
        "",
        "parameters     112  (448 B)",
        "multiply-adds  5.2 k an image to infer, about 15.6 k to train",
        "inference      about 1.9 kB for one image",
        "training       about 12.8 kB for a batch of 5, besides the program",
        "scores         3x4x4; each sees 4x4 of 6x8 pixels",
    ]


def test_json_says_the_same() -> None:
    record = json.loads(check(spec(SIZED), json=True))
    assert (record["parameters"], record["multiply_adds"]) == (112, 5184)
    assert record["training_activation_bytes"] == 768 + 192
    assert record["batch"] == 5
    assert (
        record["training_bytes"]
        == predict_memory(build(spec(SIZED), "TRAIN", image_inputs(1, 6, 8, 3)), Setting(5)).total
    )
    assert record["layers"][1] == {
        "layer": "pool1",
        "type": "Pooling",
        "output": [3, 4, 4],
        "parameters": 0,
        "multiply_adds": 0,
        "activation_bytes": 192,
        "receptive_field": [4, 4],
    }


@pytest.mark.parametrize(("color", "parameters"), [("true", 112), ("false", 40)])
def test_channels_are_those_of_the_images(color: str, parameters: int) -> None:
    top = f"data: {{train: {{type: DenseImageData, source: t.txt, crop_size: 4, color: {color}}}}}\n"
    assert f"parameters     {parameters}  " in check(spec(top))


def test_a_prototxt_may_declare_more_inputs_than_images() -> None:
    text = """
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
input: "info" input_shape { dim: 1 dim: 3 }
input: "mask" input_shape { dim: 1 dim: 2 dim: 8 dim: 8 }
layer { name: "ip" type: "InnerProduct" bottom: "info" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "c" type: "Concat" bottom: "data" bottom: "mask" top: "c" }
"""
    table = check(read_caffe_net(Source("n.prototxt", text), phase="TEST"))
    assert "ip     InnerProduct       2           8" in table
    assert "c      Concat         8x8x5" in table


COARSE = "data: {train: {type: DenseImageData, source: t.txt, new_height: 8, new_width: 16, label_divide_factor: 2}}\n"


def test_a_net_of_coarse_scores_is_compared_with_coarse_labels() -> None:
    def net(data: str) -> NetSpec:
        return read_net(Source("x.yaml", f"segspec: 1\nname: n\n{data}{LAYERS}  - SoftmaxWithLoss\n"), Path())

    for size in (None, (6, 10)):
        check(net(COARSE), size)
    with pytest.raises(SpecError):
        check(net(COARSE.replace("factor: 2", "factor: 4")))


def test_a_prototxt_says_how_much_smaller_labels_are() -> None:
    source = 'dense_image_data_param { source: "t.txt" label_divide_factor: 2 }'
    text = (
        f'layer {{ name: "d" type: "DenseImageData" top: "data" top: "label" {source} }}\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c"\n'
        "  convolution_param { num_output: 3 kernel_size: 2 stride: 2 } }\n"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }\n'
    )
    net = read_caffe_net(Source("n.prototxt", text))
    assert net.data["train"].label_divisor == 2 and not net.warnings
    check(net, (8, 12))
    with pytest.raises(SpecError):
        check(read_caffe_net(Source("n.prototxt", text.replace("factor: 2", "factor: 1"))), (8, 12))


def test_the_memory_is_that_of_a_training_and_of_its_solver() -> None:
    adam = Solver(type="Adam", momentum=0.9, base_lr=0.1, max_iter=1)
    assert "training  " not in check(spec(SIZED), phase="TEST")
    assert "training_bytes" not in check(spec(SIZED), phase="DEPLOY", json=True)
    plain, histories = (
        json.loads(check(spec(SIZED), json=True, solver=each))["training_bytes"] for each in (None, adam)
    )
    assert histories == plain + 4 * 112
