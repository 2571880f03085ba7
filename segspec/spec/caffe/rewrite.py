"""Layers of forks and programs that compute what another type does here, written as that type."""

from __future__ import annotations

from dataclasses import replace

from segspec.spec.caffe.fcn import as_fcn_source
from segspec.spec.caffe.fields import messages, text, texts
from segspec.spec.caffe.pspnet import as_batch_norm, is_pspnet_norm
from segspec.spec.caffe.sources import python_parameters
from segspec.spec.caffe.types import as_node
from segspec.syntax.tree import Mapping, Node, Scalar

SAME_TYPES = {"ConvolutionDepthwise": "DepthwiseConvolution"}
"""Types that two forks have under different names."""

PYTHON_LAYERS = {"EuclideanLossLayer": "EuclideanLoss"}
"""Layers that Caffe's examples write in Python, by the name of their class, and the type that computes the same."""


def rewrite(layer: Mapping) -> Mapping:
    """The layer as the type that has its arithmetic; most layers are that already."""
    if is_pspnet_norm(layer):
        return as_batch_norm(layer)
    kind = layer.get("type")
    if isinstance(kind, Scalar) and _python_name(layer) == "spatial_dropout.SpatialDropoutLayer":
        return _spatial_dropout(layer, kind)
    source = as_fcn_source(layer)
    if source is not None:
        return source
    if text(layer, "type") == "HDF5Data":
        return _named_datasets(layer)
    program = _python_name(layer).rpartition(".")[2]
    same = PYTHON_LAYERS.get(program) if program else SAME_TYPES.get(text(layer, "type"))
    if same is None or not isinstance(kind, Scalar):
        return layer
    return _retyped(layer, kind, same, ())


def type_name(layer: Mapping) -> str:
    """The type of a layer, with module and class where it is a program: `Python voc_layers.VOCSegDataLayer`."""
    return " ".join(filter(None, (text(layer, "type"), _python_name(layer))))


def _python_name(layer: Mapping) -> str:
    """Module and class of a Python layer; empty for all others."""
    if text(layer, "type") != "Python":
        return ""
    return next((f"{text(node, 'module')}.{text(node, 'layer')}" for node in messages(layer, "python_param")), "")


def _retyped(layer: Mapping, kind: Scalar, same: str, fields: tuple[tuple[Scalar, Node], ...]) -> Mapping:
    """The layer with another type, and with these fields for its program's."""
    rest = layer.without("type", "python_param")
    return Mapping((*rest, (Scalar("type", kind.span), replace(kind, value=same)), *fields), layer.span)


def _named_datasets(layer: Mapping) -> Mapping:
    """An HDF5Data with the names of its datasets, which are those of its tops."""
    tops = [top.text for top in texts(layer, "top")]
    label = "label" if "label" in tops else (tops[1:2] or ["label"])[0]
    image = next((top for top in tops if top != label), "data")
    names = as_node({"data_name": image, "label_name": label}, layer.span)
    return Mapping((*layer, (Scalar("hdf5_data_param", layer.span), names)), layer.span)


def _spatial_dropout(layer: Mapping, kind: Scalar) -> Mapping:
    """ENet's dropout of channels, which is told its phase, and in TEST multiplies all by what TRAIN does."""
    given = python_parameters(layer)
    ratio = _ratio(given.get("p"))
    if ratio is None or given.get("phase") not in ("TRAIN", "TEST"):
        return layer
    same, values = "Dropout", {"dropout_ratio": ratio, "spatial": True}
    if given["phase"] == "TEST":
        same, values = "Power", {"scale": 1 / (1 - ratio)}
    field = Scalar(f"{same.lower()}_param", kind.span)
    return _retyped(layer, kind, same, ((field, as_node(values, kind.span)),))


def _ratio(value: object) -> float | None:
    """A number between 0 and 1, which may stand in quotes."""
    try:
        ratio = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        return None
    return ratio if 0 < ratio < 1 else None
