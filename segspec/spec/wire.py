"""From expanded macros to a flat list of layers: names, bottoms, tops, typed parameters.

List order is the default edge: a layer without `bottom` takes the last feature. Loss and metric layers take the last
feature and the label, and leave the last feature as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from segspec.errors import Span, did_you_mean
from segspec.layers import LAYERS, by_type
from segspec.layers.base import Layer
from segspec.schema.read import field_names, read_model
from segspec.schema.types import Real, Reals
from segspec.spec.classes import ClassTable
from segspec.syntax.macros import Branches, Item, Scope, Use
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, describe

INPUTS = ("data", "label")
COMMON = ("name", "bottom", "top", "param", "loss_weight")
_NAME = re.compile(r"[^\s:$]+")


class BlobRule(BaseModel):
    """How one learned blob of a layer is trained: Caffe's ParamSpec."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str | None = Field(None, description="Blobs of one name are one blob, held by the first layer that names it.")
    lr_mult: Real = Field(1.0, description="Factor on the learning rate; 0 freezes the blob.")
    decay_mult: Real = Field(1.0, description="Factor on the weight decay.")


def _listed(value: object) -> object:
    """One rule as a list of one."""
    return (value,) if isinstance(value, dict) else value


class _CommonFields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str | None = None
    bottom: str | tuple[str, ...] | None = None
    top: str | tuple[str, ...] | None = None
    param: Annotated[tuple[BlobRule, ...], BeforeValidator(_listed)] = ()
    loss_weight: Reals = ()


@dataclass(frozen=True)
class LayerSpec:
    """One layer as the file says it, with its place in the net.

    Attributes:
        name: unique in the net.
        layer: its type and parameters.
        bottoms: names of the blobs it reads.
        tops: names of the blobs it writes.
        rules: how its learned blobs are trained, in their order; blobs beyond the list follow `rest`.
        rest: the rule of all other blobs.
        loss_weights: one a top; empty means 1 for a loss's first top and 0 elsewhere.
        span: where it stands.
    """

    name: str
    layer: Layer
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    rules: tuple[BlobRule, ...]
    rest: BlobRule
    loss_weights: tuple[float, ...]
    span: Span


def wire(items: tuple[Item, ...], classes: ClassTable | None, problems: Problems) -> tuple[LayerSpec, ...]:
    """The flat layers of a net; mistakes go to `problems`, and a layer with mistakes is left out."""
    wiring = _Wiring(classes, problems)
    wiring.walk(items, (), "data")
    return tuple(wiring.layers)


def short_name(layer: type[Layer]) -> str:
    """What an unnamed layer of this type is called, before its number."""
    return layer.short or layer.type.lower()


class _Wiring:
    def __init__(self, classes: ClassTable | None, problems: Problems):
        self.classes = classes
        self.problems = problems
        self.layers: list[LayerSpec] = []
        self.outputs: dict[str, tuple[str, ...]] = {name: (name,) for name in INPUTS}
        self.places: dict[str, Span | None] = dict.fromkeys(INPUTS)
        self.numbers: Counter[tuple[tuple[str, ...], str]] = Counter()

    def walk(self, items: tuple[Item, ...], scope: tuple[str, ...], feature: str) -> str:
        """Adds layers in order; returns the last feature."""
        for item in items:
            match item:
                case Use():
                    feature = self._use(item, scope, feature)
                case Scope(name=name, span=span, body=body):
                    feature = self.walk(body, (*scope, name), feature)
                    self._declare("/".join((*scope, name)), self._tops_of(feature), span, "block")
                case Branches():
                    feature = self._join(item, scope, feature)
        return feature

    def _tops_of(self, feature: str) -> tuple[str, ...]:
        """All tops of the layer that made a feature, so that a block's name leads to its pooling mask too."""
        return next((layer.tops for layer in reversed(self.layers) if feature in layer.tops), (feature,))

    def _join(self, item: Branches, scope: tuple[str, ...], feature: str) -> str:
        ends = [self.walk(branch, scope, feature) for branch in item.branches]
        layer = by_type("Eltwise" if item.kind == "sum" else "Concat")
        assert layer is not None
        name = self._own_name(item.name, scope, item.kind, item.span)
        return self._add(LayerSpec(name, layer(), tuple(ends), (name,), (), BlobRule(), (), item.span))

    def _use(self, use: Use, scope: tuple[str, ...], feature: str) -> str:
        layer_type = by_type(use.type.text)
        if layer_type is None:
            hint = did_you_mean(use.type.text, [known.type for known in LAYERS])
            self.problems.add(f"unknown layer type '{use.type.text}'", use.type.span, hint)
            return feature
        if layer_type.role == "data":
            self.problems.add(
                f"'{use.type.text}' is a source of images and stands in the 'data:' section", use.type.span
            )
            return feature
        name_node = use.fields.get("name")
        name = self._own_name(
            name_node if isinstance(name_node, Scalar) else None, scope, short_name(layer_type), use.type.span
        )
        subject = f"layer '{name}' ({use.type.text})"
        common = self._common(use, subject)
        layer = self._parameters(layer_type, use, subject)
        if common is None or layer is None:
            self._declare(name, (name,), use.type.span, "layer")
            return name if layer_type.role == "feature" else feature
        bottoms = self._bottoms(layer_type, use, scope, feature)
        spec = self._checked(name, layer, common, bottoms, use, subject, scope)
        if spec is None:
            self._declare(name, (name,), use.type.span, "layer")
            return name if layer_type.role == "feature" else feature
        top = self._add(spec)
        return top if layer_type.role == "feature" else feature

    def _common(self, use: Use, subject: str) -> _CommonFields | None:
        common = Mapping(tuple(entry for entry in use.fields if entry[0].text in COMMON), use.type.span)
        return read_model(_CommonFields, common, self.problems, subject)

    def _parameters(self, layer_type: type[Layer], use: Use, subject: str) -> Layer | None:
        own = use.fields.without(*COMMON)
        known = (*COMMON, "repeat", "when")
        misspelt = [key for key, _ in own if key.text not in field_names(layer_type)]
        for key in misspelt:
            hint = did_you_mean(key.text, (*field_names(layer_type), *known))
            self.problems.add(f"{subject} has no parameter '{key.text}'", key.span, hint)
        if misspelt:
            return None
        layer = read_model(layer_type, own, self.problems, subject, use.type.span)
        return None if layer is None else self._with_classes(layer, own)

    def _with_classes(self, layer: Layer, own: Mapping) -> Layer:
        """The layer with the class table's ignored label, unless the file says another."""
        if self.classes is None or self.classes.ignore_label is None or own.get("ignore_label") is not None:
            return layer
        if "ignore_label" not in type(layer).model_fields or own.key("ignore_label") is not None:
            return layer
        return layer.model_copy(update={"ignore_label": self.classes.ignore_label})

    def _bottoms(self, layer_type: type[Layer], use: Use, scope: tuple[str, ...], feature: str) -> list[str]:
        written = use.fields.get("bottom")
        bottoms = [feature] if written is None else [self._find(node, scope, 0) for node in _names(written)]
        for field, output in layer_type.references.items():
            node = use.fields.get(field)
            if node is not None:
                bottoms += [self._find(name, scope, output) for name in _names(node)]
        if layer_type.role in ("loss", "metric") and len(bottoms) == 1 and layer_type.bottoms[0] >= 2:
            bottoms.append("label")
        return bottoms

    def _find(self, node: Scalar, scope: tuple[str, ...], output: int) -> str:
        """The blob that a name means, looked for in the scope it was written in and outwards."""
        scope = scope if node.scope is None else node.scope
        for depth in range(len(scope), -1, -1):
            tops = self.outputs.get("/".join((*scope[:depth], node.text)))
            if tops is None:
                continue
            if output < len(tops):
                return tops[output]
            if output and tops[0].endswith("/mask"):
                return tops[0]
            hint = "a layer that keeps its mask is needed: PoolingMask"
            self.problems.add(f"'{node.text}' has no output of that kind", node.span, hint)
            return tops[0]
        known = [name for name in self.outputs if name not in INPUTS]
        hint = did_you_mean(node.text, known) or "a layer must stand before it is named"
        self.problems.add(f"no layer '{node.text}' before this one", node.span, hint)
        return "data"

    def _checked(
        self,
        name: str,
        layer: Layer,
        common: _CommonFields,
        bottoms: list[str],
        use: Use,
        subject: str,
        scope: tuple[str, ...],
    ) -> LayerSpec | None:
        """The layer's spec, if the number of its bottoms and tops is right."""
        tops = self._tops(name, layer, common, scope)
        for what, found, limits in (("bottom", bottoms, layer.bottoms), ("top", tops, layer.tops)):
            least, most = limits
            if len(found) < least or (most is not None and len(found) > most):
                hint = _arity_hint(layer) if what == "bottom" and len(found) < least else ""
                message = f"{subject} takes {counted(least, most, what)}, got {len(found)}"
                self.problems.add(message, use.type.span, hint)
                return None
        for_all = isinstance(use.fields.get("param"), Mapping)
        rules = () if for_all else common.param
        rest = common.param[0] if for_all else BlobRule()
        return LayerSpec(name, layer, tuple(bottoms), tops, rules, rest, common.loss_weight, use.type.span)

    def _tops(self, name: str, layer: Layer, common: _CommonFields, scope: tuple[str, ...]) -> tuple[str, ...]:
        if common.top is not None:
            written = (common.top,) if isinstance(common.top, str) else common.top
            return tuple("/".join((*scope, top)) for top in written)
        extra = [f"{name}/{layer.top_names[index]}" for index in range(layer.tops[0] - 1)]
        return (name, *extra) if layer.tops[0] else ()

    def _own_name(self, node: Scalar | None, scope: tuple[str, ...], short: str, span: Span) -> str:
        """The full name: what the user wrote, or the type and a number, in the scope."""
        if node is not None:
            if not _NAME.fullmatch(node.text):
                self.problems.add(f"{describe(node)} cannot name a layer", node.span, "no spaces, colons or '$'")
            return "/".join((*scope, node.text))
        while True:
            self.numbers[scope, short] += 1
            name = "/".join((*scope, f"{short}{self.numbers[scope, short]}"))
            if name not in self.outputs:
                return name

    def _add(self, spec: LayerSpec) -> str:
        self.layers.append(spec)
        self._declare(spec.name, spec.tops, spec.span, "layer")
        for index, top in enumerate(spec.tops):
            if top != spec.name:
                self._declare(top, spec.tops[index:], spec.span, "output")
        return spec.tops[0] if spec.tops else spec.name

    def _declare(self, name: str, tops: tuple[str, ...], span: Span, what: str) -> None:
        if name in self.outputs:
            first = self.places[name]
            where = f"first at {first.place}" if first else "it names an input of the net"
            self.problems.add(f"the name '{name}' is taken ({where})", span, f"give this {what} another 'name'")
            return
        self.outputs[name] = tops
        self.places[name] = span


def _names(node: Node) -> list[Scalar]:
    nodes = node.items if isinstance(node, Sequence) else (node,)
    return [item for item in nodes if isinstance(item, Scalar)]


def counted(least: int, most: int | None, what: str) -> str:
    """How many of something a layer takes, in words: `1 to 2 tops`."""
    plural = "" if least == most == 1 or (most == 1 and least == 0) else "s"
    if most is None:
        return f"at least {least} {what}{plural}"
    return f"{least} {what}{plural}" if least == most else f"{least} to {most} {what}s"


def _arity_hint(layer: Layer) -> str:
    if layer.references:
        field = next(iter(layer.references))
        return f"name the other layer: {field}: NAME"
    return "write 'bottom: [a, b]'"
