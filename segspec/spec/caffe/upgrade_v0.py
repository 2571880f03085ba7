"""Nets in Caffe's first format, of 2013: `layers { layer { name: "c" type: "conv" kernelsize: 3 } bottom: "x" }`.

Source: BVLC Caffe, upgrade_proto.cpp, UpgradeV0LayerParameter and UpgradeV0PaddingLayers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from segspec.spec.caffe.fields import text
from segspec.syntax.tree import Mapping, Node, Problems, Scalar

TYPES = {
    "accuracy": ("Accuracy", ""),
    "bnll": ("BNLL", ""),
    "concat": ("Concat", "concat_param"),
    "conv": ("Convolution", "convolution_param"),
    "data": ("Data", "data_param"),
    "dropout": ("Dropout", "dropout_param"),
    "euclidean_loss": ("EuclideanLoss", ""),
    "flatten": ("Flatten", ""),
    "hdf5_data": ("HDF5Data", "hdf5_data_param"),
    "hdf5_output": ("HDF5Output", "hdf5_output_param"),
    "im2col": ("Im2col", "convolution_param"),
    "images": ("ImageData", "image_data_param"),
    "infogain_loss": ("InfogainLoss", "infogain_loss_param"),
    "innerproduct": ("InnerProduct", "inner_product_param"),
    "lrn": ("LRN", "lrn_param"),
    "multinomial_logistic_loss": ("MultinomialLogisticLoss", ""),
    "pool": ("Pooling", "pooling_param"),
    "relu": ("ReLU", ""),
    "sigmoid": ("Sigmoid", ""),
    "softmax": ("Softmax", ""),
    "softmax_loss": ("SoftmaxWithLoss", ""),
    "split": ("Split", ""),
    "tanh": ("TanH", ""),
    "window_data": ("WindowData", "window_data_param"),
}
"""The new type of each old one, and the message that its own fields go to."""

_RENAMED = {
    "biasterm": "bias_term",
    "kernelsize": "kernel_size",
    "batchsize": "batch_size",
    "shuffle_images": "shuffle",
}
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_COMMON = frozenset(("name", "type", "param", "blobs"))


def flatten_v0(layer: Mapping, with_params: Callable[[Mapping], Mapping], problems: Problems) -> Mapping:
    """A layer whose parameters stand in a message of their own, as a layer of today.

    Args:
        layer: the outer message, with `bottom`, `top` and `layer`.
        with_params: writes `blobs_lr` and its like as `param` entries.
        problems: where a type that nothing stands for goes.
    """
    inner = layer.get("layer")
    assert isinstance(inner, Mapping)
    inner = with_params(inner)
    kind = inner.get("type")
    old = text(inner, "type")
    new, message = TYPES.get(old, ("", ""))
    if not new:
        hint = "write the 'pad' into the convolution that follows" if old == "padding" else ""
        problems.add(f"unknown layer type '{old}' of layer '{text(inner, 'name')}'", inner.span, hint)
    own = layer.without("layer").entries
    common = [(key, value) for key, value in inner if key.text in _COMMON and key.text != "type"]
    typed = [(Scalar("type", kind.span), replace(kind, value=new, quoted=True))] if isinstance(kind, Scalar) else []
    return Mapping((*own, *common, *typed, *_messages(inner, message)), layer.span)


def _messages(inner: Mapping, message: str) -> list[tuple[Scalar, Node]]:
    """The fields of the inner message, in the messages that hold them today."""
    own: list[tuple[Scalar, Node]] = []
    transform: list[tuple[Scalar, Node]] = []
    for key, value in inner:
        if key.text in _TRANSFORM:
            transform.append((replace(key, value=_TRANSFORM[key.text]), value))
        elif key.text not in _COMMON:
            own.append((replace(key, value=_RENAMED.get(key.text, key.text.removeprefix("det_"))), value))
    found: list[tuple[Scalar, Node]] = []
    for name, fields in ((message, own), ("transform_param", transform)):
        if fields:
            span = fields[0][0].span
            found += [(Scalar(name, span), Mapping(tuple(fields), span))] if name else fields
    return found
