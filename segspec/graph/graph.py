"""The graph: layers in order, every blob with its shape, every learned blob with its owner. Immutable, no arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from segspec.layers.base import Blob, Layer, ParamSpec, StateSpec
from segspec.spec.classes import ClassTable
from segspec.spec.netspec import Phase


@dataclass(frozen=True)
class GraphLayer:
    """One layer in its place.

    Attributes:
        name: unique in the graph.
        layer: type and parameters.
        bottoms, tops: names of the blobs it reads and writes.
        inputs, outputs: their shapes.
        params: the learned blobs, those held by another layer included.
        state: arrays kept outside the gradient.
        owners: for each shared blob that another layer holds, (layer, blob) of the owner.
        multipliers: (lr_mult, decay_mult) of each learned blob.
        loss_weights: one a top; 0 where the top is no loss.
        stopped: numbers of the bottoms that get no gradient.
    """

    name: str
    layer: Layer
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    inputs: tuple[Blob, ...]
    outputs: tuple[Blob, ...]
    params: Mapping[str, ParamSpec] = field(default_factory=dict)
    state: Mapping[str, StateSpec] = field(default_factory=dict)
    owners: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    multipliers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    loss_weights: tuple[float, ...] = ()
    stopped: frozenset[int] = frozenset()

    @property
    def parameters(self) -> int:
        """How many numbers this layer learns itself; blobs held by another layer are counted there."""
        return sum(math.prod(spec.shape) for blob, spec in self.params.items() if blob not in self.owners)

    @property
    def multiply_adds(self) -> int:
        """Multiplications with an addition in one forward pass over the batch."""
        return self.layer.multiply_adds(self.inputs, self.outputs)


@dataclass(frozen=True)
class Graph:
    """A network with inferred shapes, for one phase and one input size.

    Attributes:
        name: of the net.
        phase: TRAIN, TEST, or DEPLOY (no labels).
        inputs: shapes of the blobs that are fed, `data` and, with labels, `label`.
        layers: in the order they run.
        blobs: the shape of every blob.
        prediction: the blob that holds the class scores, or None when the net has no feature at all.
        classes: the class table, when the spec declares one.
    """

    name: str
    phase: Phase
    inputs: Mapping[str, Blob]
    layers: tuple[GraphLayer, ...]
    blobs: Mapping[str, Blob]
    prediction: str | None
    classes: ClassTable | None

    @property
    def parameters(self) -> int:
        """Numbers learned by the whole net, shared blobs once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multipliers(self) -> dict[str, dict[str, tuple[float, float]]]:
        """(lr_mult, decay_mult) by layer and blob."""
        return {layer.name: dict(layer.multipliers) for layer in self.layers}

    def owned_params(self) -> Iterator[tuple[GraphLayer, str, ParamSpec]]:
        """Every learned blob once, with the layer that holds it, in graph order."""
        for layer in self.layers:
            for blob, spec in layer.params.items():
                if blob not in layer.owners:
                    yield layer, blob, spec

    def layer(self, name: str) -> GraphLayer:
        """The layer of this name. Raises KeyError when there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)
