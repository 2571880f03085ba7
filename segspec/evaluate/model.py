"""A trained net that can be asked: spec, parameters, state, and how its images are prepared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from segspec.errors import SpecError
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.graph.nominal import nominal_graph
from segspec.graph.trainable import numbered_classes
from segspec.layers.data import DataLayer
from segspec.net import Statistics, Tree, init
from segspec.spec.classes import ClassTable
from segspec.spec.netspec import NetSpec


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


def empty_trees(spec: NetSpec) -> tuple[Graph, Tree, Tree]:
    """A deploy graph of the net with freshly initialised arrays, for weights to be fitted into."""
    graph = nominal_graph(spec)
    return (graph, *init(graph, 0))


def table_of(model: Model) -> ClassTable:
    """The class table: declared, or numbered by the channels of the scores."""
    if model.spec.classes is not None:
        return model.spec.classes
    table = numbered_classes(model.spec, nominal_graph(model.spec))
    if table is None:
        raise SpecError("the net has no output to predict with", place=model.spec.source.name)
    return table


def with_classes(model: Model, table: ClassTable) -> Model:
    """The same net with another class table. Raises SpecError where the net tells more or fewer classes apart."""
    own = table_of(model)
    if own.count != table.count:
        message = f"the net tells {own.count} classes apart, but the class table has {table.count}"
        raise SpecError(message, place=model.spec.source.name, hint="name another with --classes")
    return replace(model, spec=replace(model.spec, classes=table))
