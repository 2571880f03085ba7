"""`segspec train`, put together: what is read, checked and built before the first iteration, and what is restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from segspec.data.sample import ImageSource
from segspec.data.sources import open_source, settle
from segspec.errors import SpecError
from segspec.graph.build import build
from segspec.graph.graph import Graph
from segspec.graph.inputs import source_inputs
from segspec.graph.trainable import find_other_class_count, find_unsettled, numbered_classes
from segspec.layers.base import Blob
from segspec.layers.data import DataLayer
from segspec.net import Tree
from segspec.spec.classes import MAX_CLASSES, ClassTable
from segspec.spec.netspec import InputSize, NetSpec
from segspec.spec.solver import Solver
from segspec.train.feed import require_labels


class Score(Protocol):
    """What a test pass tells the trainer."""

    @property
    def loss(self) -> float: ...

    @property
    def miou(self) -> float: ...

    @property
    def accuracy(self) -> float: ...


class Validator(Protocol):
    """A test pass; None when `stop` said, asked between two batches, to give it up."""

    def __call__(self, params: Tree, state: Tree, stop: Callable[[], bool], /) -> Score | None: ...


MakeValidator = Callable[[NetSpec, ImageSource, str, int, int], Validator]
"""From a net, its test images, the precision, batches a pass and threads to a function of parameters and state."""


@dataclass(frozen=True)
class Plan:
    """What a training is made of, before any array exists.

    Attributes:
        spec: the net, with every number settled.
        solver: how it is trained.
        graph: the net in phase TRAIN at the size of its images.
        train: the training images.
        test: the test images, or None.
    """

    spec: NetSpec
    solver: Solver
    graph: Graph
    train: ImageSource
    test: ImageSource | None

    @property
    def data(self) -> DataLayer:
        """The declaration of the training images."""
        return self.spec.data["train"]

    def graph_at(self, size: tuple[int, int]) -> Graph:
        """The net for images of another (height, width), with the same learned blobs.

        Raises:
            SpecError: the net cannot be built for that size, or would learn blobs of other shapes.
        """
        if self.graph.inputs["data"].shape[1:3] == size:
            return self.graph
        graph = training_graph(self.spec, size)
        pairs = zip(self.graph.owned_params(), graph.owned_params(), strict=True)
        for (layer, blob, ours), (_, _, theirs) in pairs:
            if ours.shape != theirs.shape:
                message = (
                    f"'{blob}' of layer '{layer.name}' would be {Blob(theirs.shape)} instead of {Blob(ours.shape)}"
                )
                raise SpecError(message, place=self.spec.source.name)
        return graph


def make_plan(spec: NetSpec, solver: Solver) -> Plan:
    """Opens the images, settles what depends on them, and builds the net.

    Args:
        spec: the net.
        solver: how it is trained.

    Raises:
        SpecError: the net cannot be trained, or its shapes do not fit its images.
        DataError: the images cannot be used.
    """
    place = spec.source.name
    if "train" not in spec.data:
        hint = "add 'data: {train: {type: DenseImageData, source: train.txt}}'"
        raise SpecError("the spec names no training images", place=place, hint=hint)
    if unsettled := find_unsettled(spec):
        raise SpecError(unsettled)
    spec = replace(spec, data={phase: settle(layer, Path()) for phase, layer in spec.data.items()})
    spec, table = _with_classes(spec)
    sources = {phase: open_source(layer, table, Path()) for phase, layer in spec.data.items()}
    for phase, source in sources.items():
        require_labels(source, {"train": "training"}.get(phase, phase))
    size = sources["train"].size
    plan = Plan(_with_input(spec, size), solver, training_graph(spec, size), sources["train"], sources.get("test"))
    _build_tests(plan)
    return plan


def _with_classes(spec: NetSpec) -> tuple[NetSpec, ClassTable | None]:
    """The net and the classes of its labels: those it declares, else one a channel of its scores.

    A class table that a spec can hold becomes the net's own.
    """
    if spec.classes is not None:
        return spec, spec.classes
    graph = training_graph(spec, open_source(spec.data["train"], None, Path()).size)
    table = numbered_classes(spec, graph)
    channels = graph.blobs[graph.prediction].shape[-1] if graph.prediction else 0
    declared = table is not None and channels == table.count <= MAX_CLASSES
    return (replace(spec, classes=table) if declared else spec), table


def _build_tests(plan: Plan) -> None:
    """Builds the net for each size of batch that a test has. Raises SpecError where it takes one of them not."""
    if plan.test is None or not plan.solver.test_interval:
        return
    layer = plan.spec.data["test"]
    whole, rest = divmod(len(plan.test), layer.batch_size)
    reached = not 0 < plan.solver.test_iter <= whole
    for count in [*[layer.batch_size] * bool(whole), *[rest] * bool(rest and reached)]:
        build(plan.spec, "TEST", source_inputs(layer, plan.test.size, count))


def training_graph(spec: NetSpec, size: tuple[int, int]) -> Graph:
    """The net in phase TRAIN for batches of training images of one (height, width)."""
    layer = spec.data["train"]
    graph = build(spec, "TRAIN", source_inputs(layer, size, layer.batch_size))
    if other := find_other_class_count(graph, spec.source.name):
        raise SpecError(other)
    return graph


def _with_input(spec: NetSpec, size: tuple[int, int]) -> NetSpec:
    """The net that declares the size it was trained at, so that its run can be opened without the training images."""
    if spec.input is not None:
        return spec
    return replace(spec, input=InputSize(height=size[0], width=size[1], channels=spec.data["train"].channels))


def with_class_weights(spec: NetSpec, weights: Callable[[str], tuple[float, ...]]) -> NetSpec:
    """The net with every rule for class weights, such as `median_frequency`, replaced by its numbers."""
    layers = []
    for layer in spec.layers:
        rule = getattr(layer.layer, "class_weights", None)
        if isinstance(rule, str):
            layer = replace(layer, layer=layer.layer.model_copy(update={"class_weights": weights(rule)}))
        layers.append(layer)
    return spec.with_layers(tuple(layers))


def with_absolute_sources(spec: NetSpec) -> NetSpec:
    """The net with full paths of its data, so that its run can be resumed from any folder."""
    data = {phase: _absolute(layer) for phase, layer in spec.data.items()}
    return replace(spec, data=data)


def _absolute(layer: DataLayer) -> DataLayer:
    written = {name: getattr(layer, name) for name in layer.paths}
    return layer.model_copy(update={name: str(Path(path).absolute()) for name, path in written.items() if path})
