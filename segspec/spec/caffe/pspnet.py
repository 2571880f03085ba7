"""The other `BN` of prototxts: PSPNet's, which keeps running averages, as the BatchNorm that computes the same."""

from __future__ import annotations

from segspec.spec.caffe.types import is_true
from segspec.syntax.tree import Mapping, Node, Scalar

_FIELDS = {
    "slope_filler": "scale_filler",
    "bias_filler": "bias_filler",
    "momentum": "moving_average_fraction",
    "eps": "eps",
    "frozen": "use_global_stats",
}
_OWN = frozenset(("slope_filler", "bias_filler", "momentum", "frozen"))
_LEARNED = 2


def is_pspnet_norm(layer: Mapping) -> bool:
    """Whether a layer is a `BN` with a field that only PSPNet's fork has; caffe-segnet's BN has none of them."""
    kind, message = layer.get("type"), layer.get("bn_param")
    named = isinstance(kind, Scalar) and kind.text == "BN"
    return named and isinstance(message, Mapping) and any(key.text in _OWN for key, _ in message)


def as_batch_norm(layer: Mapping) -> Mapping:
    """The layer as a BatchNorm with scale and shift; its momentum is 0.9 by default, frozen means global statistics."""
    kind, message = layer.get("type"), layer.get("bn_param")
    assert isinstance(kind, Scalar) and isinstance(message, Mapping)
    fields: list[tuple[Scalar, Node]] = [
        (Scalar("scale_bias", kind.span), Scalar(True, kind.span)),
        (Scalar("moving_average_fraction", kind.span), Scalar(0.9, kind.span)),
    ]
    for key, value in message:
        if key.text != "frozen" or is_true(value):
            fields.append((Scalar(_FIELDS.get(key.text, key.text), key.span), value))
    entries = list(layer.without("bn_param", "param", "type"))
    entries.append((Scalar("type", kind.span), Scalar("BatchNorm", kind.span)))
    entries.append((Scalar("batch_norm_param", message.span), Mapping(tuple(fields), message.span)))
    return Mapping((*entries, *_rules(layer)), layer.span)


def _rules(layer: Mapping) -> list[tuple[Scalar, Node]]:
    """The `param` entries in BatchNorm's order: this BN counts slope and bias first, BatchNorm its three averages."""
    rules = [entry for entry in layer if entry[0].text == "param"][:_LEARNED]
    if not rules:
        return []
    average = (rules[0][0], Mapping((), rules[0][0].span))
    return [average, average, average, *rules]
