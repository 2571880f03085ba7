from __future__ import annotations

from pathlib import Path

from segspec.errors import Source
from segspec.graph.inputs import net_inputs, source_inputs
from segspec.layers.base import Blob
from segspec.layers.data import DenseImageData
from segspec.layers.listed import ImageData
from segspec.spec.net import read_net


def test_a_source_feeds_labels_of_its_kind() -> None:
    maps = source_inputs(DenseImageData(source="x", color=False), (4, 5), 2)
    assert maps == {"data": Blob((2, 4, 5, 1)), "label": Blob((2, 4, 5, 1), "int32")}
    numbers = source_inputs(ImageData(source="x"), (4, 5), 2)
    assert numbers == {"data": Blob((2, 4, 5, 3)), "label": Blob((2,), "int32")}


def test_a_net_that_classifies_is_checked_with_a_number_an_image() -> None:
    text = "segspec: 1\ndata:\n  train: {type: ImageData, source: x, crop_size: 8}\nlayers:\n  - ReLU\n"
    net = read_net(Source("net.yaml", text), Path())
    assert net_inputs(net, None, 3)["label"] == Blob((3,), "int32")
    assert "label" not in net_inputs(net, None, 3, labels=False)
