"""From a spec to a graph: phases, shape inference and sharing, with every mistake at its layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from segspec.errors import Span, SpecError
from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Blob, ParamSpec, ShapeError
from segspec.layers.combination import ArgMax
from segspec.spec.layer_spec import BlobRule, LayerSpec
from segspec.spec.netspec import NetSpec, Phase
from segspec.syntax.tree import Problems

MAX_NUMBERS = 2**36
"""Numbers in one blob or in all parameters: 256 GiB of float32, more than any one machine here can train."""


def build(spec: NetSpec, phase: Phase, inputs: Mapping[str, Blob]) -> Graph:
    """The graph of a net for one phase and input size.

    Args:
        spec: the net.
        phase: TRAIN, TEST or DEPLOY; in DEPLOY, layers that need the label are left out.
        inputs: shapes of `data` and, unless DEPLOY, `label`.

    Raises:
        SpecError: when shapes do not fit, naming each layer and the blobs that meet there; when a layer reads what
            nothing feeds; when the inputs are too large.
    """
    for name, blob in inputs.items():
        if blob.size > MAX_NUMBERS:
            raise SpecError(f"a batch of '{name}' is {blob}, more than 2^36 numbers", place=spec.source.name)
    building = _Building(inputs)
    for layer in _present(spec.layers, inputs):
        building.add(layer)
    building.problems.raise_any()
    layers = tuple(building.layers)
    blobs = {**inputs, **{top: blob for layer in layers for top, blob in zip(layer.tops, layer.outputs, strict=True)}}
    return Graph(spec.name, phase, dict(inputs), layers, blobs, _prediction(spec, layers, blobs), spec.classes)


def image_inputs(batch: int, height: int, width: int, channels: int, *, labels: bool = True) -> dict[str, Blob]:
    """The shapes of a batch of images, and of their labels."""
    inputs = {"data": Blob((batch, height, width, channels))}
    if labels:
        inputs["label"] = Blob((batch, height, width, 1), "int32")
    return inputs


def _present(layers: Iterable[LayerSpec], inputs: Mapping[str, Blob]) -> list[LayerSpec]:
    """The layers whose every bottom exists: without a label, losses and metrics fall away."""
    if "label" in inputs:
        return list(layers)
    absent = {"label"}
    kept = []
    for layer in layers:
        if absent.intersection(layer.bottoms):
            absent.update(layer.tops)
        else:
            kept.append(layer)
    return kept


def _prediction(spec: NetSpec, layers: tuple[GraphLayer, ...], blobs: Mapping[str, Blob]) -> str | None:
    """The score blob: what the spec says, else what the weightiest loss reads, else the last feature.

    Of these, the first that exists: without a label, a blob that is made from it does not. Of a net that ends by
    choosing the best class itself, the scores it chooses from.
    """
    losses = [layer for layer in spec.layers if layer.layer.role == "loss"]
    losses.sort(key=lambda layer: layer.loss_weights[0] if layer.loss_weights else 1.0, reverse=True)
    made = (layer for layer in layers if layer.layer.role == "feature" and layer.tops)
    features = [layer.bottoms[0] if isinstance(layer.layer, ArgMax) else layer.tops[0] for layer in made]
    candidates = [spec.output, *(loss.bottoms[0] for loss in losses[:1]), *features[-1:]]
    return next((blob for blob in candidates if blob in blobs), None)


class _Shared(NamedTuple):
    """A shared blob: the layer that holds it, under which name, its shape, and how it is trained."""

    layer: str
    blob: str
    shape: tuple[int, ...]
    rule: BlobRule
    span: Span


class _Building:
    def __init__(self, inputs: Mapping[str, Blob]):
        self.problems = Problems()
        self.inputs = tuple(inputs)
        self.unknown: set[str] = set()
        self.layers: list[GraphLayer] = []
        self.blobs: dict[str, Blob] = dict(inputs)
        self.places: dict[str, Span] = {}
        self.shared: dict[str, _Shared] = {}
        self.parameters = 0

    def add(self, spec: LayerSpec) -> None:
        """Infers the layer's shapes; a layer that reads the output of a wrong one is passed over in silence."""
        absent = [bottom for bottom in spec.bottoms if bottom not in self.blobs]
        if absent:
            self._pass_over(spec, [bottom for bottom in absent if bottom not in self.unknown])
            return
        inputs = tuple(self.blobs[bottom] for bottom in spec.bottoms)
        try:
            outputs = spec.layer.shapes(inputs, len(spec.tops))
            params = spec.layer.params(inputs)
            for param in params.values():
                param.check_filler()
            state = spec.layer.state(inputs)
        except ShapeError as error:
            self._report(spec, str(error))
            self.unknown.update(spec.tops)
            return
        if not self._affordable(spec, outputs, params):
            self.unknown.update(spec.tops)
            return
        rules = self._rules(spec, params)
        self.blobs.update(zip(spec.tops, outputs, strict=True))
        self.places.update(dict.fromkeys(spec.tops, spec.span))
        self.layers.append(
            GraphLayer(
                spec.name,
                spec.layer,
                spec.bottoms,
                spec.tops,
                inputs,
                outputs,
                params,
                state,
                self._owners(spec, params, rules),
                {blob: (rule.lr_mult, rule.decay_mult) for blob, rule in rules.items()},
                self._loss_weights(spec),
                self._stopped(spec),
            )
        )

    def _pass_over(self, spec: LayerSpec, unfed: list[str]) -> None:
        self.unknown.update(spec.tops)
        if unfed:
            message = f"layer '{spec.name}' ({spec.layer.type}) reads '{unfed[0]}', which nothing feeds"
            self.problems.add(message, spec.span, f"fed are: {', '.join(self.inputs)}")

    def _report(self, spec: LayerSpec, message: str) -> None:
        """A shape mistake, with the shape and the origin of everything that meets at the layer."""
        lines = [f"layer '{spec.name}' ({spec.layer.type}): {message}"]
        shapes = [str(self.blobs[bottom]) for bottom in spec.bottoms]
        width = max(map(len, shapes), default=0)
        for bottom, shape in zip(spec.bottoms, shapes, strict=True):
            place = self.places.get(bottom)
            origin = f"  ({place.place})" if place else ""
            lines.append(f"     {shape:<{width}}  from '{bottom}'{origin}")
        self.problems.add("\n".join(lines), spec.span)

    def _affordable(self, spec: LayerSpec, outputs: tuple[Blob, ...], params: Mapping[str, ParamSpec]) -> bool:
        self.parameters += sum(math.prod(param.shape) for param in params.values())
        largest = max((blob.size for blob in outputs), default=0)
        if largest <= MAX_NUMBERS and self.parameters <= MAX_NUMBERS:
            return True
        what = "an output" if largest > MAX_NUMBERS else "parameters"
        self.problems.add(f"layer '{spec.name}' ({spec.layer.type}): {what} of more than 2^36 numbers", spec.span)
        return False

    def _rules(self, spec: LayerSpec, params: Mapping[str, ParamSpec]) -> dict[str, BlobRule]:
        if len(spec.rules) > len(params):
            count = len(params)
            blobs = f"{count} learned blob{'' if count == 1 else 's'} ({', '.join(params)})" if params else "none"
            message = f"layer '{spec.name}' ({spec.layer.type}): {len(spec.rules)} 'param' entries for {blobs}"
            self.problems.add(message, spec.span)
        return {blob: self._inherited(spec.rule(index, blob)) for index, blob in enumerate(params)}

    def _inherited(self, rule: BlobRule) -> BlobRule:
        """The rule of a shared blob: what it leaves open is as where the blob is held."""
        owner = self.shared.get(rule.name or "")
        return rule if owner is None else owner.rule.model_copy(update=rule.model_dump(exclude_unset=True))

    def _owners(
        self, spec: LayerSpec, params: Mapping[str, ParamSpec], rules: Mapping[str, BlobRule]
    ) -> dict[str, tuple[str, str]]:
        """Which blobs another layer holds: the first layer that names a blob owns it."""
        owners: dict[str, tuple[str, str]] = {}
        for blob, rule in rules.items():
            if not rule.name:
                continue
            owner = self.shared.setdefault(rule.name, _Shared(spec.name, blob, params[blob].shape, rule, spec.span))
            if (owner.layer, owner.blob) != (spec.name, blob):
                self._check_shared(spec, rule, params[blob], owner)
                owners[blob] = (owner.layer, owner.blob)
        return owners

    def _check_shared(self, spec: LayerSpec, rule: BlobRule, param: ParamSpec, owner: _Shared) -> None:
        """A shared blob has one shape and is trained in one way."""
        subject = f"layer '{spec.name}' ({spec.layer.type}): the shared blob '{rule.name}'"
        there = f"in '{owner.layer}' ({owner.span.place})"
        if owner.shape != param.shape:
            message = f"{subject} is {Blob(owner.shape)} {there} and would be {Blob(param.shape)} here"
            self.problems.add(message, spec.span)
        for name in ("lr_mult", "decay_mult"):
            theirs, ours = getattr(owner.rule, name), getattr(rule, name)
            if name in rule.model_fields_set and theirs != ours:
                self.problems.add(f"{subject} has {name} {theirs:g} {there} and {ours:g} here", spec.span)

    def _loss_weights(self, spec: LayerSpec) -> tuple[float, ...]:
        weights = list(spec.loss_weights)
        if len(weights) > len(spec.tops):
            message = f"layer '{spec.name}' ({spec.layer.type}): {len(weights)} loss weights for {len(spec.tops)} tops"
            self.problems.add(message, spec.span)
        if not weights and spec.layer.role == "loss":
            weights = [1.0]
        return tuple([*weights, *[0.0] * len(spec.tops)][: len(spec.tops)])

    def _stopped(self, spec: LayerSpec) -> frozenset[int]:
        if len(spec.propagate_down) > len(spec.bottoms):
            counts = f"{len(spec.propagate_down)} 'propagate_down' for {len(spec.bottoms)} bottoms"
            self.problems.add(f"layer '{spec.name}' ({spec.layer.type}): {counts}", spec.span)
        return frozenset(index for index, passes in enumerate(spec.propagate_down) if not passes)
