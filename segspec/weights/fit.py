"""Putting read weights into a net by the names of its layers, and saying what happened to each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from segspec.errors import WeightsError, did_you_mean
from segspec.graph.graph import Graph
from segspec.net import Tree
from segspec.weights.files import Array


@dataclass(frozen=True)
class Transfer:
    """What became of every blob.

    Attributes:
        loaded: `layer.blob` of blobs that were taken over.
        initial: blobs of the net that the file does not have, or that were skipped on request.
        unused: blobs of the file that the net does not have.
        mismatched: (blob, shape in the net, shape in the file) of blobs that do not fit.
    """

    loaded: tuple[str, ...]
    initial: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def as_text(self) -> str:
        """The account as a few lines, long lists cut short."""
        lines = [f"loaded      {len(self.loaded)} blobs"]
        for word, names in (("initial", self.initial), ("unused", self.unused)):
            if names:
                lines.append(f"{word:<11} {len(names)} blobs: {_few(names)}")
        for name, ours, theirs in self.mismatched:
            lines.append(f"mismatched  {name}: the net has {_shape(ours)}, the file {_shape(theirs)}")
        return "\n".join(lines)


def fit(
    graph: Graph,
    params: Tree,
    state: Tree,
    blobs: Mapping[str, Mapping[str, Array]],
    *,
    skip: Collection[str] = (),
    place: str = "",
) -> tuple[Tree, Tree, Transfer]:
    """The trees with every blob replaced that the file has under the same layer and blob name.

    Args:
        graph: the net.
        params, state: its present values; blobs that the file lacks keep them.
        blobs: `{layer: {blob: array}}` as read.
        skip: layers whose blobs are left as they are.
        place: the file's name, for messages.

    Raises:
        WeightsError: when a blob has another shape than the net's, or nothing fits at all.
    """
    present = {layer.name for layer in graph.layers}
    _refuse_unknown(skip, present)
    account = _Account(present, skip)
    fitted_params = {name: account.merge(name, own, blobs.get(name, {})) for name, own in params.items()}
    fitted_state = {name: account.merge(name, own, blobs.get(name, {})) for name, own in state.items()}
    transfer = account.close(blobs)
    if transfer.mismatched:
        layers = sorted({name.rpartition(".")[0] for name, _, _ in transfer.mismatched})
        hint = f"leave them at their initial values: {' '.join(f'--skip {layer}' for layer in layers[:5])}"
        raise WeightsError(f"blobs of another shape\n{transfer.as_text()}", place=place, hint=hint)
    if not transfer.loaded:
        theirs, ours = _few(sorted(blobs)), _few(sorted(present))
        raise WeightsError(f"no layer of the file is in the net\n  file: {theirs}\n  net:  {ours}", place=place)
    return fitted_params, fitted_state, transfer


def _refuse_unknown(skip: Collection[str], present: Collection[str]) -> None:
    for layer in skip:
        if layer not in present:
            raise WeightsError(f"the net has no layer '{layer}' to skip", hint=did_you_mean(layer, present))


class _Account:
    """Merges layer by layer and remembers what happened."""

    def __init__(self, present: Collection[str], skip: Collection[str]):
        self.present = present
        self.skip = set(skip)
        self.loaded: list[str] = []
        self.initial: list[str] = []
        self.mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
        self.seen: set[tuple[str, str]] = set()

    def merge(self, layer: str, own: Mapping[str, jnp.ndarray], read: Mapping[str, Array]) -> dict[str, jnp.ndarray]:
        merged = dict(own)
        for blob, value in own.items():
            name = f"{layer}.{blob}"
            self.seen.add((layer, blob))
            if layer in self.skip or blob not in read:
                self.initial.append(name)
            elif read[blob].shape != value.shape:
                self.mismatched.append((name, value.shape, read[blob].shape))
            else:
                merged[blob] = jnp.asarray(np.asarray(read[blob], value.dtype))
                self.loaded.append(name)
        return merged

    def close(self, blobs: Mapping[str, Mapping[str, Array]]) -> Transfer:
        unused = (f"{layer}.{blob}" for layer, own in blobs.items() for blob in own if (layer, blob) not in self.seen)
        return Transfer(tuple(self.loaded), tuple(self.initial), tuple(unused), tuple(self.mismatched))


def _few(names: Collection[str], most: int = 6) -> str:
    shown = ", ".join(list(names)[:most])
    return f"{shown}, and {len(names) - most} more" if len(names) > most else shown


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
