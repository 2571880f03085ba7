"""Layers of forks and programs, read as the type that computes the same; those that write files are left out."""

from __future__ import annotations

import pytest

from segspec.errors import Source, SpecError
from segspec.layers.absent import ABSENT
from segspec.layers.activation import Power
from segspec.layers.convolution import DepthwiseConvolution
from segspec.layers.dropout import Dropout
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.netspec import NetSpec

HEAD = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


def read(kind: str, fields: str = "", *, top: str = 'top: "top"') -> NetSpec:
    text = f'{HEAD}layer {{ name: "l" type: "{kind}" bottom: "data" {top} {fields} }}'
    return read_caffe_net(Source("net.prototxt", text))


def program(module: str, layer: str, parameters: str) -> str:
    return f'python_param {{ module: "{module}" layer: "{layer}" param_str: "{parameters}" }}'


def complaint(kind: str, fields: str = "") -> str:
    with pytest.raises(SpecError) as caught:
        read(kind, fields)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["DepthwiseConvolution", "ConvolutionDepthwise"])
def test_a_depthwise_convolution_has_two_names(kind: str) -> None:
    found = read(kind, "convolution_param { num_output: 3 kernel_size: 3 }").layers[0].layer
    assert isinstance(found, DepthwiseConvolution)


@pytest.mark.parametrize("ratio", ["0.2", "'0.2'"])
def test_enets_dropout_drops_channels_in_training_and_scales_in_tests(ratio: str) -> None:
    def enet(phase: str) -> NetSpec:
        parameters = f"{{'phase': '{phase}', 'p': {ratio}}}"
        return read("Python", program("spatial_dropout", "SpatialDropoutLayer", parameters))

    dropout, scaled = (enet(phase).layers[0].layer for phase in ("TRAIN", "TEST"))
    assert isinstance(dropout, Dropout)
    assert (dropout.dropout_ratio, dropout.spatial) == (0.2, True)
    assert isinstance(scaled, Power)
    assert scaled.scale == pytest.approx(1.25)


@pytest.mark.parametrize("parameters", ["", "{'p': 0.2}", "{'phase': 'TRAIN', 'p': 'x'}", "{'phase': 'TEST', 'p': 1}"])
def test_a_program_whose_parameters_say_nothing_is_not_guessed(parameters: str) -> None:
    words = complaint("Python", program("spatial_dropout", "SpatialDropoutLayer", parameters))
    assert "unsupported layer type 'Python spatial_dropout.SpatialDropoutLayer' of layer 'l'" in words


@pytest.mark.parametrize("kind", ["MatWrite", "HDF5Output"])
def test_what_writes_files_is_left_out(kind: str) -> None:
    net = read(kind, top="")
    assert not net.layers
    assert [found.message for found in net.warnings] == [f"files are not written by '{kind}'; the layer is left out"]


def test_a_type_that_is_not_there_on_purpose_is_refused_with_the_reason() -> None:
    words = complaint("Filter")
    assert "unsupported layer type 'Filter' of layer 'l'" in words
    assert ABSENT["Filter"] in words
