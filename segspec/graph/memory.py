"""How much memory a training takes, told without compiling anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from segspec.graph.graph import Graph, GraphLayer
from segspec.graph.segments import Segment, find_moving, is_light, plan_segments
from segspec.layers.base import Blob
from segspec.ops import native
from segspec.spec.solver import Remat, Rule, Solver

HISTORIES: dict[Rule, int] = {"AdaDelta": 2, "Adam": 2, "AdamW": 2, "LAMB": 2}
"""How many numbers an update rule remembers for each weight; all others one."""

MOST_SOURCES = 2
"""Where a value is made of more kept blobs than this, XLA keeps the value rather than make it again at each reader."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a training has in use together at its worst moment, besides the program itself.

    Attributes:
        state: weights, what the update rule remembers, running averages; from the first iteration to the last.
        batches: the images and labels of an iteration, as they are read.
        step: what one iteration makes and drops: what the forward pass keeps for the backward pass, gradients, and what
            is being computed.
    """

    state: int
    batches: int
    step: int

    @property
    def total(self) -> int:
        return self.state + self.batches + self.step


@dataclass(frozen=True)
class Setting:
    """What of a training, besides the net, decides about its memory; see `segspec.spec.solver.Solver`.

    Attributes:
        images: in one batch.
        iter_size: batches in one iteration.
        rule: of the update.
        dtype: what convolutions compute in.
        remat: what the backward pass computes once more.
    """

    images: int = 1
    iter_size: int = 1
    rule: Rule = "SGD"
    dtype: str = "float32"
    remat: Remat = "light"

    @classmethod
    def of(cls, solver: Solver | None, images: int) -> Setting:
        """What a solver says, or the usual."""
        if solver is None:
            return cls(images)
        return cls(images, solver.iter_size, solver.type, solver.dtype, solver.remat)


def predict_memory(graph: Graph, setting: Setting) -> Memory:
    """The memory of a training.

    Counted are weights, histories and running averages (`state`); the pixels of an iteration as bytes and its labels as
    int32 (`batches`); and the worst moment of the backward pass, or of the update that follows (`step`): the blobs that
    segments not yet run backward have kept, the gradients of weights made so far, the gradients of blobs on their way,
    and what the segment at hand makes. Not counted are Python, XLA and its compiler, 0.5 to 1 GB for SegNet, nor what
    kernels of our own keep for themselves.

    Args:
        graph: the net in phase TRAIN, for any number of images.
        setting: the training.
    """
    weights = 4 * graph.parameters
    averages = 4 * sum(math.prod(spec.shape) for layer in graph.layers for spec in layer.state.values())
    scale = setting.images / graph.inputs["data"].shape[0]
    pixels = sum(blob.size * (1 if name == "data" else 4) for name, blob in graph.inputs.items())
    pass_ = _Backward(graph, setting.dtype, scale, find_moving(graph), _sources(graph, setting.remat))
    histories = HISTORIES.get(setting.rule, 1)
    worst = pass_.worst(_each(plan_segments(graph, setting.remat)))
    summed = weights if setting.iter_size > 1 else 0
    return Memory(
        state=weights * (1 + histories) + averages,
        batches=round(scale * setting.iter_size * pixels),
        step=max(worst + summed, weights),
    )


def _each(segments: Iterable[Segment]) -> list[Segment]:
    """Segments, with those that keep what each layer needs taken apart into layers."""
    return [
        part
        for segment in segments
        for part in ([segment] if segment.recomputed else [Segment((layer,), False) for layer in segment.layers])
    ]


def _sources(graph: Graph, remat: Remat) -> dict[str, frozenset[str]]:
    """For blobs of light layers the blobs that these began with: XLA computes the former again where they are read."""
    sources: dict[str, frozenset[str]] = {}
    for layer in graph.layers if remat != "none" else ():
        if is_light(layer):
            begun = frozenset().union(*(sources.get(bottom, {bottom}) for bottom in layer.bottoms))
            if len(begun) <= MOST_SOURCES:
                sources.update(dict.fromkeys(layer.tops, begun))
    return sources


@dataclass(frozen=True)
class _Backward:
    """A backward pass, for the bytes that are in use on its way.

    Attributes:
        graph: the net.
        dtype: of the blobs.
        scale: images in a batch for one of the graph.
        moving: names of the blobs that get gradients.
        sources: for blobs made by light layers the blobs that these began with, which are kept in their stead.
    """

    graph: Graph
    dtype: str
    scale: float
    moving: frozenset[str]
    sources: Mapping[str, frozenset[str]]

    def worst(self, segments: Sequence[Segment]) -> int:
        """The most bytes in use while these segments run backward."""
        needed = accumulate(map(self._needed, segments), lambda before, names: before | names)
        kept = [sum(map(self._bytes, names)) for names in needed]
        worst = learned = 0
        for segment, held in zip(reversed(segments), reversed(kept), strict=True):
            inside = self.worst(_each(segment.parts)) if segment.parts else self._at_hand(segment)
            worst = max(worst, held + learned + self._passing(segment) + inside)
            learned += 4 * sum(layer.parameters for layer in segment.layers)
        return worst

    def _bytes(self, name: str) -> int:
        return self._size(self.graph.blobs[name])

    def _size(self, blob: Blob) -> int:
        half = self.dtype == "bfloat16" and blob.dtype == "float32"
        return round(self.scale * blob.bytes / (2 if half else 1))

    def _needed(self, segment: Segment) -> frozenset[str]:
        """What a segment keeps for its backward pass."""
        made = {top for layer in segment.layers for top in layer.tops}
        if not segment.recomputed:
            (layer,) = segment.layers
            if not (layer.multiply_adds or layer.params or layer.layer.role == "loss"):
                return frozenset()
        read = {bottom for layer in segment.layers for bottom in layer.bottoms} - made
        return frozenset().union(*(self.sources.get(name, (name,)) for name in read))

    def _passing(self, segment: Segment) -> int:
        """Gradients of blobs that were made before a segment and are read behind it."""
        last = self.graph.layers.index(segment.layers[-1])
        made = {top for layer in self.graph.layers[: last + 1] for top in layer.tops}
        read = {bottom for layer in self.graph.layers[last + 1 :] for bottom in layer.bottoms}
        return sum(map(self._bytes, made & read & self.moving))

    def _at_hand(self, segment: Segment) -> int:
        """What a segment makes: a gradient, the recomputed value beside it, of a normalisation the normal values."""
        layers = segment.layers
        if not segment.recomputed:
            return self._largest(layers)
        light = [layer for layer in layers if is_light(layer)]
        return max(2 * self._largest(light), 3 * self._largest([layer for layer in light if layer.state]))

    def _largest(self, layers: Sequence[GraphLayer]) -> int:
        """The largest blob; in float32, as XLA computes, where no kernel of our own computes in the net's type."""
        blobs = (blob for layer in layers for blob in (*layer.inputs, *layer.outputs))
        own = native.computes(self.dtype)
        return max((self._size(blob) if own else round(self.scale * blob.bytes) for blob in blobs), default=0)
