"""Layers of forks and programs that compute what another type does here, written as that type."""

from __future__ import annotations

from dataclasses import replace

from segspec.spec.caffe.fields import messages, text
from segspec.spec.caffe.pspnet import as_batch_norm, is_pspnet_norm
from segspec.syntax.tree import Mapping, Scalar

PYTHON_LAYERS = {"EuclideanLossLayer": "EuclideanLoss"}
"""Layers that Caffe's examples write in Python, by the name of their class, and the type that computes the same."""


def rewrite(layer: Mapping) -> Mapping:
    """The layer as the type that has its arithmetic; most layers are that already."""
    if is_pspnet_norm(layer):
        return as_batch_norm(layer)
    kind = layer.get("type")
    same = PYTHON_LAYERS.get(_python_name(layer).rpartition(".")[2])
    if same is None or not isinstance(kind, Scalar):
        return layer
    rest = layer.without("type", "python_param")
    return Mapping((*rest, (Scalar("type", kind.span), replace(kind, value=same))), layer.span)


def type_name(layer: Mapping) -> str:
    """The type of a layer, with module and class where it is a program: `Python voc_layers.VOCSegDataLayer`."""
    return " ".join(filter(None, (text(layer, "type"), _python_name(layer))))


def _python_name(layer: Mapping) -> str:
    """Module and class of a Python layer; empty for all others."""
    if text(layer, "type") != "Python":
        return ""
    return next((f"{text(node, 'module')}.{text(node, 'layer')}" for node in messages(layer, "python_param")), "")
