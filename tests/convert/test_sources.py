from __future__ import annotations

from pathlib import Path

import pytest

from segspec.convert.prototxt import prototxt_text
from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.net import read_net

LAYERS = "layers:\n  - Convolution: {num_output: 2, kernel_size: 1}\n  - SoftmaxWithLoss: {name: loss}\n"


@pytest.mark.parametrize(
    "source",
    [
        "{type: Data, source: images, label_source: maps, batch_size: 2, crop_size: 8, mean_value: [1, 2, 3]}",
        "{type: Data, source: images, force_gray: true, shuffle: false}",
        "{type: Data, label_kind: pixels, batch_size: 2}",
        "{type: DenseImageData, source: list.txt, new_height: 16, new_width: 16, label_divide_factor: 2}",
        "{type: HDF5Data, source: list.txt, batch_size: 2, shuffle: true}",
        "{type: ImageSegData, source: list.txt, label_type: NONE, ignore_label: 7}",
        "{type: ImageLabelmapData, source: list.txt, color: false, mirror: true}",
        "{type: ImageData, source: list.txt, new_height: 8, new_width: 9, mean_file: m.binaryproto}",
        "{type: VOCSegDataLayer, voc_dir: 'a \"b\" ''c', split: seg11valid, mean_value: [1.5, 2, 3]}",
        "{type: SBDDSegDataLayer, sbdd_dir: s, split: train, shuffle: false, seed: 1337}",
        "{type: PASCALContextSegDataLayer, voc_dir: v, context_dir: c, split: train, mean_value: [1.5, 2, 3]}",
        "{type: NYUDSegDataLayer, nyud_dir: n, split: trainval, hha: true, mean_value: [1.5, 2, 3]}",
    ],
)
def test_a_source_comes_back_as_it_was(source: str) -> None:
    net = read_net(Source("net.yaml", f"segspec: 1\ndata:\n  train: {source}\n{LAYERS}"), Path())
    written = prototxt_text(net, build(net, "TRAIN", image_inputs(2, 8, 8, net.data["train"].channels)))
    back = read_caffe_net(Source("net.prototxt", written))
    assert (back.data, back.warnings) == (net.data, ())


def test_what_only_the_files_told_is_not_written() -> None:
    text = f"segspec: 1\ndata:\n  train: {{type: Data, source: images, channels: 1}}\n{LAYERS}"
    net = read_net(Source("net.yaml", text), Path())
    assert "channels" not in prototxt_text(net, build(net, "TRAIN", image_inputs(2, 8, 8, 1)))
