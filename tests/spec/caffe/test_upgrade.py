"""Nets in Caffe's formats of 2013 and 2014 say what the same net says today."""

from __future__ import annotations

import pytest

from segspec.errors import Source, SpecError
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.caffe.upgrade import NUMBERS
from segspec.spec.layer_spec import BlobRule, LayerSpec
from segspec.spec.netspec import NetSpec

HEAD = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'


def read(text: str) -> NetSpec:
    return read_caffe_net(Source("net.prototxt", HEAD + text))


def same(layer: LayerSpec) -> tuple[object, ...]:
    return (layer.name, layer.layer, layer.bottoms, layer.tops, layer.rules, layer.loss_weights)


TODAY = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { name: "w" lr_mult: 1 decay_mult: 1 }
  param { lr_mult: 2 decay_mult: 0 } convolution_param { num_output: 4 kernel_size: 3 pad: 1 bias_term: true
    weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "d" type: "Dropout" bottom: "p" top: "p" dropout_param { dropout_ratio: 0.3 } }
layer { name: "i" type: "InnerProduct" bottom: "p" top: "i" inner_product_param { num_output: 2 } }
"""
V1 = """
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
  weight_decay: 0 param: "w" blob_share_mode: STRICT convolution_param { num_output: 4 kernel_size: 3 pad: 1
    bias_term: true weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "r" type: RELU bottom: "c" top: "c" }
layers { name: "p" type: 17 bottom: "c" top: "p" pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layers { name: "d" type: DROPOUT bottom: "p" top: "p" dropout_param { dropout_ratio: 0.3 } }
layers { name: "i" type: INNER_PRODUCT bottom: "p" top: "i" inner_product_param { num_output: 2 } }
"""
V0 = """
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 pad: 1 biasterm: true
    weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
    param: "w" } bottom: "data" top: "c" }
layers { layer { name: "r" type: "relu" } bottom: "c" top: "c" }
layers { layer { name: "p" type: "pool" pool: AVE kernelsize: 2 stride: 2 } bottom: "c" top: "p" }
layers { layer { name: "d" type: "dropout" dropout_ratio: 0.3 } bottom: "p" top: "p" }
layers { layer { name: "i" type: "innerproduct" num_output: 2 } bottom: "p" top: "i" }
"""


@pytest.mark.parametrize("old", [V1, V0], ids=["2014", "2013"])
def test_an_old_net_is_the_net_of_today(old: str) -> None:
    assert list(map(same, read(old).layers)) == list(map(same, read(TODAY).layers))
    assert read(old).warnings == ()


def test_one_list_of_rates_is_enough() -> None:
    text = 'layers { name: "i" type: PRELU bottom: "data" top: "i" blobs_lr: 0 }'
    assert read(text).layers[0].rules == (BlobRule(lr_mult=0.0),)


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "ACCURACY"), (18, "RELU"), (21, "SOFTMAX_LOSS"), (29, "MEMORY_DATA"), (39, "DECONVOLUTION")],
)
def test_types_have_the_numbers_of_caffes_enumeration(number: int, name: str) -> None:
    assert NUMBERS[number] == name


@pytest.mark.parametrize(
    ("old", "new"),
    [("TANH", "TanH"), ("ABSVAL", "AbsVal"), ("BNLL", "BNLL"), ("MVN", "MVN"), ("35", "AbsVal"), ('"ReLU"', "ReLU")],
)
def test_old_names_of_types(old: str, new: str) -> None:
    assert read(f'layers {{ name: "l" type: {old} bottom: "data" top: "l" }}').layers[0].layer.type == new


def test_a_source_of_the_old_format_feeds_the_net() -> None:
    text = """
    layers { name: "d" type: DATA top: "x" top: "y" data_param { source: "s" batch_size: 5 crop_size: 6 } }
    layers { name: "r" type: RELU bottom: "x" top: "r" }"""
    net = read_caffe_net(Source("net.prototxt", text))
    assert net.fed == {"data": (5, 3, 6, 6), "label": (5,)}
    assert net.layers[0].bottoms == ("data",)


def test_the_loss_of_the_old_format() -> None:
    text = HEAD + 'input: "label" input_dim: 1 input_dim: 1 input_dim: 8 input_dim: 8'
    text += '\nlayers { name: "l" type: SOFTMAX_LOSS bottom: "data" bottom: "label" loss_weight: 0.5 }'
    found = read_caffe_net(Source("net.prototxt", text)).layers[0]
    assert (found.layer.type, found.tops, found.loss_weights) == ("SoftmaxWithLoss", ("l",), (0.5,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('layers { name: "l" type: FOO_BAR bottom: "data" top: "l" }', "unknown layer type 'FooBar' of layer 'l'"),
        ('layers { name: "l" type: 77 bottom: "data" top: "l" }', "unknown layer type '77' of layer 'l'"),
        ('layers { layer { name: "l" type: "foo" } bottom: "data" top: "l" }', "unknown layer type 'foo' of layer 'l'"),
        (
            'layers { layer { name: "l" type: "padding" pad: 1 } bottom: "data" top: "l" }',
            "write the 'pad' into the convolution that follows",
        ),
        ('layers { name: "l" bottom: "data" top: "l" }', "a layer needs a 'type'"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=r"net\.prototxt:2") as caught:
        read(text)
    assert message in str(caught.value)
