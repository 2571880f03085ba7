"""A trained net that can be asked: spec, parameters, state, and how its images are prepared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segspec.errors import SpecError
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.graph.trainable import find_need_of_batch
from segspec.layers.data import DataLayer
from segspec.net import Statistics, Tree, init
from segspec.spec.classes import ClassTable
from segspec.spec.net import NetSpec

FALLBACK_SIZES = tuple((side, side) for side in (64, 256, 473, 572, 713))
"""Tried in turn where nothing is declared: a small one, and those that well-known nets with fixed windows need."""


@dataclass(frozen=True)
class Model:
    """A spec with its arrays.

    Attributes:
        spec: the net.
        params, state: its arrays.
        dtype: what convolutions compute in.
        statistics: which statistics batch normalisation uses, see `Context`.
        origin: what these statistics are, in words for a report.
    """

    spec: NetSpec
    params: Tree
    state: Tree
    dtype: str = "float32"
    statistics: Statistics = "layer"
    origin: str = "as each layer's type does at test time"

    @property
    def data(self) -> DataLayer | None:
        """The declaration of the images the net was made for: of `test`, else of `train`."""
        return self.spec.data.get("test") or self.spec.data.get("train")

    @property
    def channels(self) -> int:
        """Channels of the images it takes."""
        if self.data is not None:
            return self.data.channels
        return self.spec.input.channels if self.spec.input else 3

    def using(self, state: Tree, statistics: Statistics, origin: str) -> Model:
        """The same net with other statistics."""
        return replace(self, state={**self.state, **state}, statistics=statistics, origin=origin)


def deploy_graph(spec: NetSpec, batch: int, size: tuple[int, int], channels: int) -> Graph:
    """The graph without labels for images of one size. Raises SpecError where the net does not allow it."""
    return build(spec, "DEPLOY", image_inputs(batch, *size, channels, labels=False))


def nominal_size(spec: NetSpec) -> tuple[int, int] | None:
    """The (height, width) that the net is declared for, or that of its data; None where neither says."""
    if spec.input is not None:
        return (spec.input.height, spec.input.width)
    return next((size for layer in spec.data.values() if (size := layer.size)), None)


def nominal_graph(spec: NetSpec, channels: int) -> Graph:
    """A deploy graph for one image of the nominal size, or of some size that the net allows.

    Raises:
        SpecError: the net can be built for none of the sizes tried; the message is that of the first.
    """
    size = nominal_size(spec)
    refused: list[SpecError] = []
    for candidate in (size,) if size else FALLBACK_SIZES:
        try:
            return deploy_graph(spec, 1, candidate, channels)
        except SpecError as error:
            refused.append(error)
    for layer in spec.data.values():
        if doubts := find_need_of_batch(spec, layer.batch_size, size or FALLBACK_SIZES[0], channels):
            raise SpecError([replace(doubt, severity="error") for doubt in doubts])
    raise refused[0]


def empty_trees(spec: NetSpec, channels: int) -> tuple[Graph, Tree, Tree]:
    """A deploy graph of the net with freshly initialised arrays, for weights to be fitted into."""
    graph = nominal_graph(spec, channels)
    return (graph, *init(graph, 0))


def table_of(model: Model) -> ClassTable:
    """The class table: declared, or numbered by the channels of the scores."""
    if model.spec.classes is not None:
        return model.spec.classes
    graph = nominal_graph(model.spec, model.channels)
    if graph.prediction is None:
        raise SpecError("the net has no output to predict with", place=model.spec.source.name)
    return ClassTable.numbered(graph.blobs[graph.prediction].shape[-1])
