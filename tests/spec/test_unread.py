"""The section `unread:` of a spec, and what of a prototxt comes back through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.convert.prototxt import prototxt_text
from segspec.convert.yaml import spec_text
from segspec.errors import Source, SpecError
from segspec.graph.nominal import nominal_graph
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.flatten import flat_text
from segspec.spec.net import read_net
from segspec.spec.netspec import NetSpec

HEAD = "segspec: 1\ninput: {height: 8, width: 8}\n"
LAYERS = "layers: [Convolution: {name: conv1, num_output: 2, kernel_size: 1}, BatchNorm: {name: bn1}]\n"


def read(text: str) -> NetSpec:
    return read_net(Source("x.yaml", text), Path())


@pytest.mark.parametrize("name", ["conv1", "bn1", "bn1/scale", "data", "label", "''"])
def test_fields_are_kept_for_layers_for_their_halves_and_for_sources(name: str) -> None:
    (kept,) = read(f"{HEAD}{LAYERS}unread: {{{name}: {{engine: CAFFE}}}}").unread
    assert kept.layer == name.strip("'")


def test_a_layer_that_is_not_there_is_told_once_with_the_one_that_is_meant() -> None:
    with pytest.raises(SpecError) as caught:
        read(f"{HEAD}{LAYERS}unread: {{conv: {{engine: CAFFE, b: 1}}, conv1/scale: {{engine: CAFFE}}}}")
    first, second = caught.value.diagnostics
    assert first.message == "'unread' keeps fields of the layer 'conv', which the net does not have"
    assert first.hint == "did you mean 'conv1'?"
    assert "'conv1/scale'" in second.message


def test_a_mistake_in_a_layer_makes_no_second_one_in_unread() -> None:
    with pytest.raises(SpecError) as caught:
        read(f"{HEAD}layers: [Convolutoin: {{name: conv1}}]\nunread: {{conv1: {{engine: CAFFE}}}}")
    assert len(caught.value.diagnostics) == 1


CAFFE = """
layer { name: "train-data" type: "DenseImageData" top: "data" top: "label" include { phase: TRAIN }
  dense_image_data_param { source: "a" new_height: 8 new_width: 8 odd: 1 } }
layer { name: "val-data" type: "DenseImageData" top: "data" top: "label" include { phase: TEST }
  dense_image_data_param { source: "b" new_height: 8 new_width: 8 odd: 1 } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "relu" type: "ReLU" bottom: "score" top: "score" relu_param { engine: CAFFE } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("written", [spec_text, flat_text])
def test_fields_of_layers_without_weights_and_of_sources_come_back(written: object) -> None:
    """A ReLU has no name in YAML otherwise, and sources are called after what they deliver."""
    assert callable(written)
    spec = read(written(read_caffe_net(Source("x.prototxt", CAFFE))))
    again = prototxt_text(spec, nominal_graph(spec, "TRAIN"))
    assert again.count("engine: CAFFE") == 1
    assert again.count("odd: 1") == 2, "once for each phase"
