from __future__ import annotations

import pytest

from segspec.errors import Source
from segspec.layers.data import DataLayer
from segspec.layers.fcn import NYUDSegDataLayer, PASCALContextSegDataLayer, SBDDSegDataLayer, VOCSegDataLayer
from segspec.layers.listed import ImageSegData
from segspec.layers.stored import Data, HDF5Data
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.netspec import NetSpec

NET = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }
"""


def read(text: str) -> NetSpec:
    return read_caffe_net(Source("net.prototxt", text + NET))


def program(layer: str, param: str) -> NetSpec:
    python = f"python_param {{ module: 'voc_layers' layer: '{layer}' param_str: \"{param}\" }}"
    return read(f'layer {{ name: "data" type: "Python" top: "data" top: "label" {python} }}')


@pytest.mark.parametrize(
    ("layer", "param", "expected"),
    [
        (
            "VOCSegDataLayer",
            "{'voc_dir': 'v', 'seed': 1337, 'split': 'seg11valid', 'mean': (104.5, 116.5, 122.5)}",
            VOCSegDataLayer(voc_dir="v", seed=1337, split="seg11valid", mean_value=(104.5, 116.5, 122.5)),
        ),
        (
            "SBDDSegDataLayer",
            "{'sbdd_dir': 's', 'split': 'train', 'randomize': False, 'seed': None}",
            SBDDSegDataLayer(sbdd_dir="s", split="train", shuffle=False),
        ),
        (
            "PASCALContextSegDataLayer",
            "{'voc_dir': 'v', 'context_dir': 'c', 'split': 'train'}",
            PASCALContextSegDataLayer(
                voc_dir="v", context_dir="c", split="train", mean_value=(104.007, 116.669, 122.679)
            ),
        ),
        (
            "NYUDSegDataLayer",
            "{'nyud_dir': 'n', 'split': 'trainval', 'tops': ['hha', 'label']}",
            NYUDSegDataLayer(nyud_dir="n", split="trainval", hha=True, mean_value=(132.431, 94.076, 118.477)),
        ),
    ],
)
def test_programs_that_read_images_become_sources(layer: str, param: str, expected: DataLayer) -> None:
    net = program(layer, param)
    assert (net.data, net.warnings) == ({"train": expected, "test": expected}, ())
    assert net.fed == {"data": (1, 3, None, None), "label": (1, 1, None, None)}


@pytest.mark.parametrize(
    ("layer", "param"),
    [
        ("VOCSegDataLayer", "{'root_folder': 'v', 'source': 's', 'split': 'train'}"),
        ("VOCSegDataLayer", "{'voc_dir': 'v', 'split': 'train', 'crop': 3}"),
        ("VOCSegDataLayer", "__import__('os')"),
        ("NYUDSegDataLayer", "{'nyud_dir': 'n', 'split': 'test', 'tops': ['color', 'depth', 'label']}"),
        ("AdeSegDataLayer", "{'voc_dir': 'v', 'split': 'train'}"),
    ],
)
def test_other_programs_are_not_read(layer: str, param: str) -> None:
    net = program(layer, param)
    assert net.data == {}
    assert f"images are not read by 'Python voc_layers.{layer}'" in net.warnings[0].message


@pytest.mark.parametrize("order", [("data", "label"), ("label", "data")])
def test_images_and_label_maps_in_two_databases_are_one_source(order: tuple[str, str]) -> None:
    layer = (
        'layer {{ name: "{0}" type: "Data" top: "{0}" data_param {{ source: "{0}_lmdb" batch_size: 2 backend: 1 }} }}'
    )
    found = read("\n".join(map(layer.format, order))).data["train"]
    assert found == Data(source="data_lmdb", label_source="label_lmdb", batch_size=2)


def test_datasets_have_the_names_of_the_tops() -> None:
    param = 'hdf5_data_param { source: "x.txt" batch_size: 3 }'
    text = f'layer {{ name: "in" type: "HDF5Data" top: "data" top: "label" {param} }}'
    assert read(text).data["train"] == HDF5Data(source="x.txt", batch_size=3)
    other = read_caffe_net(Source("net.prototxt", (text + NET).replace('"data"', '"x"').replace('"label"', '"y"')))
    assert other.data["train"] == HDF5Data(source="x.txt", batch_size=3, data_name="x", label_name="y")


def test_fields_of_every_age_come_to_one_place() -> None:
    text = """layers { name: "data" type: IMAGE_SEG_DATA top: "data" top: "label"
      image_data_param { source: "s.txt" label_type: 2 is_color: false new_height: 0 new_width: 0 mirror: true }
      transform_param { crop_size: 321 mean_value: 104 } }
    layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }"""
    found = read_caffe_net(Source("net.prototxt", text))
    assert found.warnings == ()
    assert found.data["train"] == ImageSegData(
        source="s.txt", color=False, mirror=True, crop_size=(321, 321), mean_value=(104.0,)
    )


def test_a_crop_of_two_sides_is_a_crop_size() -> None:
    text = """layer { name: "data" type: "DenseImageData" top: "data" top: "label"
      dense_image_data_param { source: "s.txt" crop_height: 24 crop_width: 32 mirror: true } }"""
    found = read(text)
    assert (found.data["train"].crop_size, found.data["train"].mirror, found.warnings) == ((24, 32), True, ())


@pytest.mark.parametrize(("written", "meant"), [("has_label: false", "NONE"), ("has_label: true", "IMAGE")])
def test_images_that_have_no_label(written: str, meant: str) -> None:
    text = f'layer {{ name: "data" type: "ImageSegData" top: "data" image_data_param {{ source: "s" {written} }} }}'
    found = read_caffe_net(Source("net.prototxt", text)).data["train"]
    assert isinstance(found, ImageSegData) and found.label_type == meant
