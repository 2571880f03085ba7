"""The spellings of forks, each put into the one that YAML has."""

from __future__ import annotations

from typing import Any

import pytest

from segspec.errors import Source
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.netspec import NetSpec

HEAD = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


def read(kind: str, fields: str, *, bottom: str = "") -> NetSpec:
    text = f'{HEAD}layer {{ name: "l" type: "{kind}" bottom: "data" {bottom} top: "top" {fields} }}'
    return read_caffe_net(Source("net.prototxt", text))


@pytest.mark.parametrize(
    ("kind", "fields", "field", "value"),
    [
        ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 hole: 2 }", "dilation", (2, 2)),
        ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 hole_h: 2 hole_w: 1 }", "dilation", (2, 1)),
        ("Unpooling", "unpooling_param { kernel_size: 2 stride: 2 unpool_size: 16 }", "unpool_size", (16, 16)),
        ("Unpooling", "unpooling_param { kernel_size: 2 unpool_h: 9 unpool_w: 8 }", "unpool_size", (9, 8)),
        ("Unpooling", "unpooling_param { kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 }", "kernel_size", (2, 3)),
        ("Im2col", "convolution_param { kernel_size: 3 pad_h: 1 force_nd_im2col: true }", "pad", (1, 0)),
    ],
)
def test_one_thing_under_several_names(kind: str, fields: str, field: str, value: Any) -> None:
    net = read(kind, fields)
    assert getattr(net.layers[0].layer, field) == value
    assert not net.warnings


def test_the_ignored_label_of_deeplabs_loss() -> None:
    label = 'input: "label" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }\n'
    loss = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "data" bottom: "label" top: "t" '
    text = HEAD + label + loss + "softmaxloss_param { ignore_label: 255 } }"
    net = read_caffe_net(Source("net.prototxt", text))
    assert net.layers[0].layer.model_dump()["ignore_label"] == 255


def test_how_a_product_is_differentiated_has_no_meaning() -> None:
    net = read("Eltwise", "eltwise_param { operation: PROD stable_prod_grad: false }", bottom='bottom: "data"')
    assert not net.warnings
