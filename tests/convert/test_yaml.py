"""A net written as YAML reads back as the same net, and as a person would have written it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.convert.entry import entries_of
from segspec.convert.prototxt import prototxt_text
from segspec.convert.yaml import spec_text
from segspec.errors import Source, SpecError
from segspec.graph.nominal import nominal_graph
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.net import load_net, read_net
from segspec.spec.netspec import NetSpec

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
LAYERS = sorted((ROOT / "tests/golden/layers").glob("*.prototxt"))

CAFFE = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Upsample" bottom: "pool1" bottom: "mask" top: "up" }
layer { name: "a b" type: "Convolution" bottom: "up" top: "x" convolution_param { num_output: 2 kernel_size: 1 } }
"""


def small(text: str = CAFFE) -> str:
    return spec_text(read_caffe_net(Source("small.prototxt", text)))


def test_it_reads_as_a_person_would_write_it() -> None:
    assert small().splitlines() == [
        "segspec: 1",
        "name: small",
        "input: {height: 16, width: 16}",
        "layers:",
        "  - Convolution: {name: conv1, num_output: 4, kernel_size: 3, pad: same}",
        "  - BatchNorm: {name: bn1, moving_average_fraction: 0.999, scale_bias: false}",
        "  - Scale: {name: scale1, bias_term: true}",
        "  - ReLU",
        "  - PoolingMask: {name: pool1}",
        "  - Upsample: {mask: pool1, scale: 2}",
        "  - Convolution: {name: a_b, num_output: 2, kernel_size: 1, weight_filler: {type: constant}}",
    ]


def assert_same(spec: NetSpec, text: str, beside: Path) -> None:
    again = read_net(Source("again.yaml", text), beside)
    assert entries_of(again) == entries_of(spec)
    assert (again.input, again.data, again.classes) == (spec.input, spec.data, spec.classes)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
@pytest.mark.parametrize("blocks", [True, False])
def test_a_shipped_net_reads_back_the_same(path: Path, blocks: bool) -> None:
    spec = load_net(path)
    assert_same(spec, spec_text(spec, blocks=blocks), path.parent)


def test_every_layer_with_one_input_reads_back_the_same() -> None:
    same = 0
    for path in LAYERS:
        try:
            spec = load_net(path)
            text = spec_text(spec)
        except SpecError:
            continue  # A layer that segspec lacks, or one that reads two inputs, which a spec cannot declare.
        assert_same(spec, text, path.parent)
        same += 1
    assert same > 80


def test_a_scale_of_the_name_that_convert_gives_joins_its_normalisation() -> None:
    joined = small(CAFFE.replace('"scale1"', '"bn1/scale"'))
    assert "  - BatchNorm: {name: bn1, moving_average_fraction: 0.999}" in joined.splitlines()
    assert "Scale" not in joined


def test_the_scale_stays_where_something_reads_between() -> None:
    between = CAFFE.replace('"scale1"', '"bn1/scale"').replace('top: "conv1" scale_param', 'top: "scaled" scale_param')
    assert "- Scale" in small(between)


def test_fields_without_a_meaning_stay_with_the_net() -> None:
    strange = CAFFE.replace('name: "small"', 'name: "small" odd: 3').replace(
        "num_output: 2", 'num_output: 2 odd { a: "x y" b: [FOO, 1.5] } more: 1 more: 2'
    )
    spec = read_caffe_net(Source("small.prototxt", strange))
    text = spec_text(spec)
    assert "  '': {odd: 3}" in text.splitlines()
    assert (
        "  a_b: {convolution_param.odd: {a: 'x y', b: [FOO, 1.5]}, convolution_param.more: [1, 2]}" in text.splitlines()
    )
    kept = read_net(Source("small.yaml", text), Path())
    again = prototxt_text(kept, nominal_graph(kept))
    assert "odd: 3\nlayer" in again
    assert "    more: [1, 2]" in again.splitlines()
    assert '    odd { a: "x y" b: [FOO, 1.5] }' in again.splitlines()


def test_an_input_besides_images_and_labels_is_refused() -> None:
    text = CAFFE.replace('top: "data" input', 'top: "data" top: "depth" input') + (
        'layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "depth" top: "sum" }\n'
    )
    with pytest.raises(SpecError, match="reads the input 'depth'"):
        small(text)
