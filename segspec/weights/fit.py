"""Putting read weights into a net by the names of its layers, and saying what happened to each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from segspec.errors import WeightsError, did_you_mean
from segspec.graph.graph import Graph
from segspec.layers.base import ParamSpec
from segspec.net import Tree
from segspec.proto.blob import Array
from segspec.weights.files import Found
from segspec.weights.layout import caffe_shape, fits, same_shape, to_stored


@dataclass(frozen=True)
class Transfer:
    """What became of every blob.

    Attributes:
        loaded: `layer.blob` of blobs that were taken over.
        initial: blobs of the net that the file does not have, or that were skipped on request.
        unused: blobs of the file that the net does not have.
        mismatched: (blob, its shape in the net, its shape in the file) of blobs that do not fit; (layer, its blobs in
            the net, how many in the file) where those are not as many.
    """

    loaded: tuple[str, ...]
    initial: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[tuple[str, str, str], ...]

    def as_text(self) -> str:
        """The account as a few lines, long lists cut short."""
        lines = [f"loaded      {len(self.loaded)} blobs"]
        for word, names in (("initial", self.initial), ("unused", self.unused)):
            if names:
                lines.append(f"{word:<11} {len(names)} blobs: {_few(names)}")
        for name, ours, theirs in self.mismatched:
            lines.append(f"mismatched  {name}: the net has {ours}, the file {theirs}")
        return "\n".join(lines)


def fit(
    graph: Graph,
    params: Tree,
    state: Tree,
    found: Found,
    *,
    skip: Collection[str] | None = None,
) -> tuple[Tree, Tree, Transfer]:
    """The trees with every blob replaced that the file has under the same layer and blob name.

    Args:
        graph: the net.
        params, state: its present values; blobs that the file lacks keep them.
        found: the blobs as read.
        skip: layers whose blobs are left as they are; None where a command has no such choice to offer.

    Raises:
        WeightsError: when a blob has another shape than the net's or holds NaN or Inf, or nothing fits at all.
    """
    present = {layer.name for layer in graph.layers}
    _refuse_unknown(skip or (), present)
    account = _Account(graph, found, skip or ())
    fitted_params = {name: account.merge(name, own) for name, own in params.items()}
    fitted_state = {name: account.merge(name, own) for name, own in state.items()}
    transfer = account.close()
    if transfer.mismatched:
        skipping = _skipping(present, [name for name, _, _ in transfer.mismatched])
        hint = skipping if skip is not None else "name the net that they were trained with, or other weights"
        raise WeightsError(f"blobs of another shape\n{transfer.as_text()}", place=found.place, hint=hint)
    if account.spoilt:
        message = f"NaN or Inf in {_few(account.spoilt)}"
        other = "take earlier ones" if skip is None else _skipping(present, account.spoilt)
        raise WeightsError(message, place=found.place, hint=f"the training that wrote them diverged; {other}")
    if not transfer.loaded:
        theirs, ours = _few(sorted(found.blobs)), _few(sorted(present))
        raise WeightsError(f"no layer of the file is in the net\n  file: {theirs}\n  net:  {ours}", place=found.place)
    return fitted_params, fitted_state, transfer


def _skipping(present: Collection[str], blobs: Collection[str]) -> str:
    layers = sorted({_layer_of(name, present) for name in blobs})
    return f"leave them at their initial values: {' '.join(f'--skip {layer}' for layer in layers[:5])}"


def _layer_of(name: str, present: Collection[str]) -> str:
    """The layer that a `layer` or a `layer.blob` names."""
    return name if name in present else name.rpartition(".")[0]


def _refuse_unknown(skip: Collection[str], present: Collection[str]) -> None:
    for layer in skip:
        if layer not in present:
            raise WeightsError(f"the net has no layer '{layer}' to skip", hint=did_you_mean(layer, present))


class _Account:
    """Merges layer by layer and remembers what happened."""

    def __init__(self, graph: Graph, found: Found, skip: Collection[str]):
        self.specs = {layer.name: layer.params for layer in graph.layers}
        self.found = found
        self.skip = set(skip)
        self.loaded: list[str] = []
        self.initial: list[str] = []
        self.spoilt: list[str] = []
        self.mismatched = [
            (layer, ours, theirs) for layer, (ours, theirs) in found.miscounted.items() if layer not in self.skip
        ]
        self.seen: set[tuple[str, str]] = set()

    def merge(self, layer: str, own: Mapping[str, jnp.ndarray]) -> dict[str, jnp.ndarray]:
        merged = dict(own)
        read = self.found.blobs.get(layer, {})
        for blob, value in own.items():
            name = f"{layer}.{blob}"
            self.seen.add((layer, blob))
            if layer in self.skip or blob not in read:
                self.initial.append(name)
                continue
            spec = self.specs[layer].get(blob) if self.found.layout == "caffe" else None
            ours = value.shape if spec is None else caffe_shape(spec)
            if not self._fits(spec, ours, read[blob].shape):
                self.mismatched.append((name, _shape(ours), _shape(read[blob].shape)))
                continue
            array = np.asarray(_stored(spec, read[blob], value), value.dtype)
            if not np.isfinite(array).all():
                self.spoilt.append(name)
            merged[blob] = jnp.asarray(array)
            self.loaded.append(name)
        return merged

    def _fits(self, spec: ParamSpec | None, ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
        if self.found.layout == "stored":
            return ours == theirs
        return same_shape(ours, theirs) if spec is None else fits(spec, theirs)

    def close(self) -> Transfer:
        blobs = self.found.blobs
        unused = (f"{layer}.{blob}" for layer, own in blobs.items() for blob in own if (layer, blob) not in self.seen)
        return Transfer(tuple(self.loaded), tuple(self.initial), tuple(unused), tuple(self.mismatched))


def _stored(spec: ParamSpec | None, array: Array, like: jnp.ndarray) -> Array:
    """An array that fits, as the net stores it; without a spec it lies so already."""
    if spec is not None:
        return to_stored(spec, array, "", "")
    return np.asarray(array, like.dtype).reshape(like.shape)


def _few(names: Collection[str], most: int = 6) -> str:
    shown = ", ".join(list(names)[:most])
    return f"{shown}, and {len(names) - most} more" if len(names) > most else shown


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
