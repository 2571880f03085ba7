"""What the comparisons of whole nets share: weights of a case, blobs under Caffe's names, and how far is too far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segspec.data.sample import ImageSource
from segspec.data.sources import open_source
from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Blob
from segspec.layers.data import DataLayer, DenseImageData
from segspec.net import Tree, init
from segspec.spec.caffe.layer import STATE_BLOBS
from segspec.spec.classes import ClassTable
from segspec.weights.caffe_blobs import name_blobs
from segspec.weights.caffemodel import CaffeLayer, read_caffemodel
from segspec.weights.fit import fit

Golden = Mapping[str, np.ndarray]
Blobs = Mapping[str, list[np.ndarray]]
"""Blobs by layer, in Caffe's order and shapes."""
Measure = Callable[[np.ndarray, np.ndarray], float]
"""From our array and Caffe's to the error."""


def blob_to_stored(array: np.ndarray) -> np.ndarray:
    """A blob of rank 4 from (batch, channels, height, width) to (batch, height, width, channels); others unchanged."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def blob_to_caffe(array: np.ndarray) -> np.ndarray:
    """A blob of rank 4 from (batch, height, width, channels) to (batch, channels, height, width); others unchanged."""
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array


@dataclass(frozen=True)
class Figure:
    """One comparison.

    Attributes:
        what: the array or number that was compared.
        error: how far it is away.
        limit: how far it may be.
        source: what it is computed from, where other figures are too: a single number may agree by chance where the
            arrays behind it do not.
    """

    what: str
    error: float
    limit: float
    source: str = ""

    @property
    def ok(self) -> bool:
        return self.error <= self.limit

    @property
    def share(self) -> float:
        """The error as a share of its limit; infinite for NaN."""
        return self.error / self.limit if np.isfinite(self.error) else np.inf


@dataclass(frozen=True)
class Case:
    """What became of one case.

    Attributes:
        name: folder and name.
        figures: everything that was compared; empty where `remark` says why nothing could be.
        remark: anything else worth saying.
        known: why a difference is wanted.
    """

    name: str
    figures: tuple[Figure, ...]
    remark: str = ""
    known: str = ""

    @property
    def ok(self) -> bool:
        return bool(self.figures) and all(figure.ok for figure in self.figures)

    @property
    def outcome(self) -> str:
        if self.ok:
            return "ok"
        return "known" if self.known else "FAIL"

    def __str__(self) -> str:
        remark = self.known if self.outcome == "known" else self.remark
        if not self.figures:
            return f"{self.outcome:<6} {self.name:<52} {remark}"
        worst = max(self.figures, key=lambda figure: figure.share)
        shown = (
            f"{len(self.figures)} figures, closest to its limit: {worst.what} {worst.error:.1e} of {worst.limit:.1e}"
        )
        return f"{self.outcome:<6} {self.name:<52} {shown}{'; ' * bool(remark)}{remark}"


def open_list(data: DataLayer, root: Path) -> ImageSource:
    """The images of a list whose paths are relative to where Caffe ran, not to the list."""
    assert isinstance(data, DenseImageData)
    return open_source(data.model_copy(update={"root_folder": "."}), ClassTable.numbered(255), root)


def greatest_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max |ours - theirs| / max |theirs|; infinite where shapes differ."""
    if ours.shape != theirs.shape:
        return np.inf
    scale = max(float(np.max(np.abs(theirs), initial=0.0)), 1e-30)
    return float(np.max(np.abs(ours.astype(np.float64) - theirs), initial=0.0)) / scale


def norm_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """|ours - theirs| / |theirs|, Euclidean norms; infinite where shapes differ."""
    if ours.shape != theirs.shape:
        return np.inf
    distance = np.linalg.norm(ours.astype(np.float64) - theirs)
    return float(distance / max(float(np.linalg.norm(theirs.astype(np.float64))), 1e-30))


def relative_error(ours: np.ndarray, theirs: np.ndarray, measure: Measure = greatest_error) -> float:
    """What `measure` gives; infinite where shapes differ by more than axes of length 1, or for NaN."""
    if _squeezed(ours.shape) != _squeezed(theirs.shape):
        return np.inf
    error = measure(ours, theirs.reshape(ours.shape))
    return error if np.isfinite(error) else np.inf


def _squeezed(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


def find_weights(graph: Graph, name: str, folders: list[Path]) -> Path | None:
    """The caffemodel that belongs to a case: one with blobs of every layer's shapes, the nearest in name.

    Several cases may share a file, so a name alone does not tell.
    """
    files = [path for folder in folders for path in sorted(folder.glob("*.caffemodel"))]
    fitting = [path for path in files if _fits(graph, read_blobs(path))]
    return max(fitting, key=lambda path: (_common(path.stem, name), -len(path.stem)), default=None)


def read_blobs(path: Path) -> dict[str, list[np.ndarray]]:
    """The blobs of a caffemodel by layer, in Caffe's shapes."""
    return {layer.name: list(layer.blobs) for layer in read_caffemodel(path) if layer.blobs}


def _fits(graph: Graph, blobs: Blobs) -> bool:
    for layer in graph.layers:
        if layer.params or layer.layer.type in STATE_BLOBS:
            found = blobs.get(layer.name, [])
            sizes = [int(np.prod(spec.shape)) for spec in layer.params.values()]
            if [blob.size for blob in found[STATE_BLOBS.get(layer.layer.type, 0) :]] != sizes:
                return False
    return True


def _common(one: str, other: str) -> int:
    """How many words, split at underscores, two names begin with in common."""
    pairs = zip(one.split("_"), other.split("_"), strict=False)
    count = 0
    for mine, theirs in pairs:
        if mine != theirs:
            break
        count += 1
    return count


def params_from(graph: Graph, blobs: Blobs) -> tuple[Tree, Tree]:
    """The net's trees with Caffe's values in every blob."""
    layers = [CaffeLayer(name, "", tuple(arrays)) for name, arrays in blobs.items()]
    params, state, _ = fit(graph, *init(graph, 0), name_blobs(graph, layers, "the case"))
    return params, state


def feeds_normalisation(graph: Graph, layer: GraphLayer, blob: str) -> bool:
    """Whether a blob is a bias before a normalisation: its gradient is 0, and Caffe's is rounding."""
    normalised = {other.bottoms[0] for other in graph.layers if other.layer.type in ("BN", "BatchNorm")}
    return blob == "bias" and layer.tops[0] in normalised


def caffe_order(graph: Graph) -> Iterator[tuple[GraphLayer, str, int]]:
    """Every learned blob that the net holds, with its number among its layer's blobs in Caffe."""
    for layer in graph.layers:
        kept = STATE_BLOBS.get(layer.layer.type, 0)
        for index, blob in enumerate(layer.params, kept):
            if blob not in layer.owners:
                yield layer, blob, index


@dataclass(frozen=True)
class WrappedLayer:
    """What stands in a graph in place of a layer and, but for its forward pass, is that layer."""

    layer: Any

    @property
    def type(self) -> str:
        return str(self.layer.type)

    @property
    def role(self) -> str:
        return str(self.layer.role)

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> int:
        return int(self.layer.multiply_adds(bottoms, tops))
