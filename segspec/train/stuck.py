"""Layers that start at 0 and stay there, told before a training that would learn nothing."""

from __future__ import annotations

import numpy as np

from segspec.errors import Diagnostic
from segspec.graph.graph import Graph, GraphLayer
from segspec.net import Tree

_JOINS = frozenset({"Concat", "Eltwise"})
# What makes zeros of zeros. Any other layer is taken to make something of them: better no warning than a wrong one.
_KEEPS_ZERO = _JOINS | {
    *("Convolution", "Crop", "Deconvolution", "Dropout", "InnerProduct", "Interp"),
    *("LRN", "PReLU", "Pooling", "PoolingMask", "ReLU", "Upsample"),
}
_SHOWN = 3


def find_stuck(graph: Graph, params: Tree, place: str) -> tuple[Diagnostic, ...]:
    """Warnings about weights of 0 that no gradient moves.

    Weights of 0 learn from what they read, as those of a last layer do, unless they are frozen. Where they read the
    zeros of another such layer neither of the two ever moves. Nets written for the weights of another training begin
    so, since Caffe's weight_filler is 0; FCN's were also meant for a program that made their deconvolutions bilinear.

    Args:
        graph: the net.
        params: its parameters as the training starts.
        place: where the net is written.
    """
    frozen: list[str] = []
    behind: list[str] = []
    zero: set[str] = set()
    for layer in graph.layers:
        if layer.layer.type not in _KEEPS_ZERO:
            continue
        read = layer.bottoms if layer.layer.type in _JOINS else layer.bottoms[:1]
        reads_zero = zero.issuperset(read)
        blank = "weight" in layer.params and not _any(layer, "weight", params)
        if blank and not layer.multipliers["weight"][0]:
            frozen.append(layer.name)
        elif blank and reads_zero:
            behind.append(layer.name)
        if (blank or reads_zero) and not ("bias" in layer.params and _any(layer, "bias", params)):
            zero.update(layer.tops[:1])
    return (*_tell_frozen(frozen, place), *_tell_behind(behind, place))


def _any(layer: GraphLayer, blob: str, params: Tree) -> bool:
    """Whether a learned blob, which another layer may hold, has a number other than 0."""
    owner, own = layer.owners.get(blob, (layer.name, blob))
    return bool(np.any(np.asarray(params[owner][own])))


def _tell_frozen(names: list[str], place: str) -> tuple[Diagnostic, ...]:
    if not names:
        return ()
    message = f"weights are 0 and frozen by lr_mult 0, so that nothing passes: {_listed(names)}"
    hint = (
        "a net that was meant for weights needs them: --weights; deconvolutions that enlarge scores: "
        "weight_filler: {type: bilinear, diagonal: true}"
    )
    return (Diagnostic(message, place=place, hint=hint, severity="warning"),)


def _tell_behind(names: list[str], place: str) -> tuple[Diagnostic, ...]:
    if not names:
        return ()
    message = f"weights start at 0 behind layers that start at 0, so that neither learns: {_listed(names)}"
    hint = "start from weights: --weights; or write weight_filler: {type: msra}"
    return (Diagnostic(message, place=place, hint=hint, severity="warning"),)


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
