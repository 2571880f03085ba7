"""What data layers of Caffe and its forks feed: which blobs, of which shapes."""

from __future__ import annotations

import pytest

from segspec.errors import Source
from segspec.graph.inputs import net_inputs
from segspec.layers.base import Blob
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.netspec import NetSpec

LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "loss" }\n'


def read(*layers: str) -> NetSpec:
    return read_caffe_net(Source("net.prototxt", "\n".join(layers)))


def relu(bottom: str) -> str:
    return f'layer {{ name: "r" type: "ReLU" bottom: "{bottom}" top: "r" }}'


def source(kind: str, more: str = "", tops: str = 'top: "x" top: "y"') -> str:
    return f'layer {{ name: "in" type: "{kind}" {tops} {more} }}'


TWO = 'top: "x" top: "y"'
NAMED = 'top: "x" top: "label"'
CROP = 'data_param { source: "s" } transform_param { crop_size: 32 }'


UNKNOWN = (None, None)
LIST = 'source: "s"'


@pytest.mark.parametrize(
    ("kind", "more", "tops", "fed"),
    [
        ("Data", f"data_param {{ {LIST} batch_size: 4 }}", TWO, {"data": (4, 3, *UNKNOWN), "label": (4,)}),
        ("Data", CROP, TWO, {"data": (1, 3, 32, 32), "label": (1,)}),
        (
            "ImageData",
            f"image_data_param {{ {LIST} batch_size: 2 new_height: 5 new_width: 7 is_color: false }}",
            TWO,
            {"data": (2, 1, 5, 7), "label": (2,)},
        ),
        (
            "ImageData",
            f"image_data_param {{ {LIST} new_height: 50 new_width: 70 }} transform_param {{ crop_size: 32 }}",
            TWO,
            {"data": (1, 3, 32, 32), "label": (1,)},
        ),
        (
            "ImageSegData",
            f"image_data_param {{ {LIST} label_type: PIXEL }}",
            f'{TWO} top: "dim"',
            {"data": (1, 3, *UNKNOWN), "label": (1, 1, *UNKNOWN), "dim": (1, 1, 1, 2)},
        ),
        (
            "ImageSegData",
            f"image_data_param {{ {LIST} label_type: IMAGE }}",
            TWO,
            {"data": (1, 3, *UNKNOWN), "label": (1, 1, *UNKNOWN)},
        ),
        (
            "ImageLabelmapData",
            f"image_data_param {{ {LIST} }}",
            TWO,
            {"data": (1, 3, *UNKNOWN), "label": (1, 1, *UNKNOWN)},
        ),
        ("SomebodysPictureData", "", TWO, {"data": (1, 3, *UNKNOWN), "label": (1, 1, *UNKNOWN)}),
        (
            "MemoryData",
            "memory_data_param { batch_size: 2 channels: 1 height: 28 width: 30 }",
            TWO,
            {"data": (2, 1, 28, 30), "label": (2,)},
        ),
        (
            "DummyData",
            "dummy_data_param { shape { dim: 2 dim: 5 } shape { dim: 2 } }",
            NAMED,
            {"data": (2, 5), "label": (2,)},
        ),
        (
            "DummyData",
            "dummy_data_param { num: 2 channels: 3 channels: 1 height: 4 width: 6 }",
            NAMED,
            {"data": (2, 3, 4, 6), "label": (2, 1, 4, 6)},
        ),
    ],
)
def test_blobs_of_a_source(kind: str, more: str, tops: str, fed: dict[str, object]) -> None:
    assert read(source(kind, more, tops), relu("x")).fed == fed


def python(tops: str, param: str) -> str:
    return source("Python", f'python_param {{ module: "m" layer: "L" param_str: "{param}" }}', tops)


def test_a_python_layer_feeds_pictures_and_label_maps() -> None:
    net = read(
        python('top: "color" top: "depth" top: "label"', "{\\'seed\\': 1337, \\'split\\': \\'train\\'}"),
        relu("depth"),
    )
    assert net.fed == {"data": (1, 3, None, None), "depth": (1, 1, None, None), "label": (1, 1, *UNKNOWN)}
    assert net.layers[0].bottoms == ("depth",)
    assert "images are not read by 'Python m.L'" in net.warnings[0].message


@pytest.mark.parametrize("param", ["{'batch_size': 2}", '{\\"batch_size\\": 2, \\"x\\": [1, (2, 3)]}'])
def test_a_python_layer_may_say_its_batch(param: str) -> None:
    text = python('top: "data" top: "label"', param)
    assert read(text, relu("data")).fed["data"] == (2, 3, None, None)


@pytest.mark.parametrize("param", ["", "__import__('os')", "{", "[1]", "1" * 20000])
def test_what_a_python_layer_says_is_never_run(param: str) -> None:
    text = python('top: "data" top: "label"', param)
    assert read(text, relu("data")).fed["data"] == (1, 3, None, None)


def test_labels_of_a_source_of_their_own_are_pictures() -> None:
    net = read(source("Data", CROP, 'top: "x"'), source("Data", CROP, 'top: "y"'), LOSS)
    assert net.fed == {"data": (1, 3, 32, 32), "label": (1, 1, 32, 32)}
    assert net.layers[0].bottoms == ("data", "label")


def test_labels_are_told_by_who_reads_them() -> None:
    first = read(python('top: "y" top: "x"', ""), LOSS)
    assert first.layers[0].bottoms == ("data", "label")
    two = read(
        python('top: "x" top: "y" top: "geo"', ""), LOSS, LOSS.replace('"loss"', '"other"').replace('"y"', '"geo"')
    )
    assert [layer.bottoms for layer in two.layers] == [("data", "label"), ("data", "label@geo")]


def test_a_layer_may_make_a_blob_of_an_inputs_name() -> None:
    net = read(
        source("Data", CROP, 'top: "raw"'),
        'layer { name: "shift" type: "Power" bottom: "raw" top: "data" }',
        relu("data"),
    )
    assert [layer.bottoms for layer in net.layers] == [("data",), ("data@shift",)]


def test_inputs_of_a_size() -> None:
    net = read(
        python('top: "color" top: "depth" top: "label"', ""),
        'layer { name: "r" type: "ReLU" bottom: "color" top: "r" }',
    )
    assert net_inputs(net, (4, 6), 2) == {
        "data": Blob((2, 4, 6, 3)),
        "depth": Blob((2, 4, 6, 1)),
        "label": Blob((2, 4, 6, 1), "int32"),
    }
    assert net_inputs(net, (4, 6), labels=False).keys() == {"data", "depth"}


def test_odd_numbers_in_the_text_of_a_python_layer_print_nothing(recwarn: pytest.WarningsRecorder) -> None:
    net = read(source("Python", "python_param { module: 'm' layer: 'L' param_str: \"{'split': 1if 1else 2}\" }"))
    assert net.fed
    assert not recwarn.list
