"""Nets in Caffe's format before 2015 (`layers { type: CONVOLUTION }`), as the format since: `layer { type: "..." }`.

Source: BVLC Caffe, upgrade_proto.cpp, UpgradeV1LayerParameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from segspec.layers import LAYERS
from segspec.spec.caffe.fields import texts
from segspec.spec.caffe.upgrade_v0 import flatten_v0
from segspec.syntax.tree import Mapping, Node, Problems, Scalar

NUMBERS = (
    *("NONE", "ACCURACY", "BNLL", "CONCAT", "CONVOLUTION", "DATA", "DROPOUT", "EUCLIDEAN_LOSS", "FLATTEN"),
    *("HDF5_DATA", "HDF5_OUTPUT", "IM2COL", "IMAGE_DATA", "INFOGAIN_LOSS", "INNER_PRODUCT", "LRN"),
    *("MULTINOMIAL_LOGISTIC_LOSS", "POOLING", "RELU", "SIGMOID", "SOFTMAX", "SOFTMAX_LOSS", "SPLIT", "TANH"),
    *("WINDOW_DATA", "ELTWISE", "POWER", "SIGMOID_CROSS_ENTROPY_LOSS", "HINGE_LOSS", "MEMORY_DATA", "ARGMAX"),
    *("THRESHOLD", "DUMMY_DATA", "SLICE", "MVN", "ABSVAL", "SILENCE", "CONTRASTIVE_LOSS", "EXP", "DECONVOLUTION"),
)
"""The old types in the order of their numbers."""

_RENAMED = {"SOFTMAX_LOSS": "SoftmaxWithLoss", "DENSE_CRF": "DenseCRF", "HDF5_DATA": "HDF5Data"}
_PER_BLOB = {"blobs_lr": "lr_mult", "weight_decay": "decay_mult", "blob_share_mode": "share_mode"}


def upgrade(root: Mapping, problems: Problems) -> Mapping:
    """The net with every `layers` entry written as Caffe's upgrade tool would write it; all others are untouched."""
    if root.key("layers") is None:
        return root
    entries: list[tuple[Scalar, Node]] = []
    for key, node in root:
        if key.text == "layers" and isinstance(node, Mapping):
            entries.append((replace(key, value="layer"), _layer(node, problems)))
        else:
            entries.append((key, node))
    return Mapping(tuple(entries), root.span)


def _layer(layer: Mapping, problems: Problems) -> Mapping:
    if isinstance(layer.get("layer"), Mapping):
        return flatten_v0(layer, _with_params, problems)
    layer = _with_params(layer)
    kind = layer.get("type")
    if not isinstance(kind, Scalar) or kind.quoted:
        return layer
    return Mapping((*layer.without("type").entries, (Scalar("type", kind.span), _new_type(kind))), layer.span)


def _new_type(kind: Scalar) -> Scalar:
    """The new name of an old type, which was a number or a word in capitals."""
    name = kind.text
    if isinstance(kind.value, int) and 0 <= kind.value < len(NUMBERS):
        name = NUMBERS[kind.value]
    known = {layer.type.lower(): layer.type for layer in LAYERS}
    words = "".join(word.capitalize() for word in name.split("_"))
    return replace(kind, value=_RENAMED.get(name) or known.get(words.lower(), words), quoted=True)


def _with_params(layer: Mapping) -> Mapping:
    """Names, rates and decays of learned blobs, one list each, as one `param` a blob."""
    names = [(value.span, "name", value) for value in texts(layer, "param")]
    columns = [names] if names else []
    for old, new in _PER_BLOB.items():
        values = texts(layer, old)
        columns += [[(value.span, new, value) for value in values]] if values else []
    if not columns:
        return layer
    params: list[tuple[Scalar, Node]] = []
    for row in zip_longest(*columns):
        cells = [cell for cell in row if cell is not None]
        fields = tuple((Scalar(field, span), value) for span, field, value in cells)
        params.append((Scalar("param", cells[0][0]), Mapping(fields, cells[0][0])))
    return Mapping((*_rest(layer), *params), layer.span)


def _rest(layer: Mapping) -> Iterator[tuple[Scalar, Node]]:
    for key, value in layer:
        if key.text not in _PER_BLOB and (key.text != "param" or isinstance(value, Mapping)):
            yield key, value
