"""Sources of images as Caffe has them: two databases as two layers, FCN's folders as its programs."""

from __future__ import annotations

from collections.abc import Iterator

from segspec.layers.data import DataLayer
from segspec.layers.fcn import FcnLayout, NYUDSegDataLayer
from segspec.layers.stored import Data, HDF5Data

Tops = tuple[str, ...]


def caffe_sources(layer: DataLayer) -> Iterator[tuple[DataLayer, Tops]]:
    """The layers that stand for a source in Caffe, each with its tops; fields that Caffe lacks have their defaults."""
    tops: Tops = ("data", "label")
    match layer:
        case Data(labels="pixels"):
            yield layer.model_copy(update={"channels_": None, "label_source": "", "label_kind": None}), tops[:1]
            yield Data(source=layer.label_source, backend=layer.backend, batch_size=layer.batch_size), tops[1:]
        case Data():
            yield layer.model_copy(update={"channels_": None, "label_kind": None}), tops
        case HDF5Data():
            names = {"data_name": "data", "label_name": "label"}
            yield layer.model_copy(update={"channels_": None, "label_kind": None, **names}), tops
        case _:
            yield layer, tops


def python_lines(layer: FcnLayout) -> list[str]:
    """The fields of `python_param` for one of FCN's programs."""
    values: dict[str, object] = {field: getattr(layer, field) for field in (*layer.paths, "split", "seed")}
    if layer.mean_value:
        values["mean"] = layer.mean_value
    if isinstance(layer, NYUDSegDataLayer):
        values["tops"] = ["hha" if layer.hha else "color", "label"]
    if "train" in layer.split and not layer.shuffle:
        values["randomize"] = False
    text = repr(values).replace("\\", "\\\\").replace('"', '\\"')
    return [f'module: "{layer.module}"', f'layer: "{layer.type}"', f'param_str: "{text}"']
