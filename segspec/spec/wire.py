"""From expanded macros to a flat list of layers: names, bottoms, tops, typed parameters.

List order is the default edge: a layer without `bottom` takes the last feature. Loss and metric layers take the last
feature and the label, and leave the last feature as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from segspec.errors import Span, did_you_mean
from segspec.layers import LAYERS, by_type
from segspec.layers.absent import ABSENT
from segspec.layers.base import Layer
from segspec.schema.read import field_names, read_model
from segspec.spec.classes import ClassTable
from segspec.spec.layer_spec import BlobRule, CommonFields, LayerSpec
from segspec.syntax.blocks import layer_name
from segspec.syntax.items import Branches, Item, Scope, Use
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence

INPUTS = ("data", "label")
COMMON = ("name", "bottom", "top", "param", "loss_weight", "propagate_down", "share")


def wire(
    items: tuple[Item, ...], classes: ClassTable | None, problems: Problems, blocks: Collection[str] = ()
) -> tuple[LayerSpec, ...]:
    """The flat layers of a net; mistakes go to `problems`, and a layer with mistakes is left out.

    Args:
        items: what the macros expanded to.
        classes: the class table.
        problems: where mistakes go.
        blocks: names of the blocks that could have been meant instead of a layer type.
    """
    wiring = _Wiring(classes, problems, blocks)
    wiring.walk(items, (), "data")
    return tuple(wiring.layers)


def short_name(layer: type[Layer]) -> str:
    """What an unnamed layer of this type is called, before its number."""
    return layer.short or layer.type.lower()


class _Outputs(NamedTuple):
    """What a name leads to.

    Attributes:
        tops: of the layer; none where it writes nothing.
        position: which of them the name itself is.
        span: where the name was given; None for an input.
        broken: whether mistakes were found in the layer, so that what reads it cannot be judged.
    """

    tops: tuple[str, ...]
    position: int
    span: Span | None
    broken: bool = False


class _Read(NamedTuple):
    """The fields of a layer, typed; None where there were mistakes."""

    common: CommonFields | None
    layer: Layer | None


class _Wiring:
    def __init__(self, classes: ClassTable | None, problems: Problems, blocks: Collection[str]):
        self.classes = classes
        self.problems = problems
        self.blocks = blocks
        self.layers: list[LayerSpec] = []
        self.outputs = {name: _Outputs((name,), 0, None) for name in INPUTS}
        self.reads: dict[int, _Read] = {}  # by the identity of a Use, which repeated layers share
        self.hints: dict[str, str] = {}  # by the name that was not found
        self.shared: dict[str, str] = {}  # what a block shares its blobs under, by its full name
        self.numbers: Counter[tuple[tuple[str, ...], str]] = Counter()

    def walk(self, items: tuple[Item, ...], scope: tuple[str, ...], feature: str) -> str:
        """Adds layers in order; returns the last feature."""
        for item in items:
            match item:
                case Use():
                    feature = self._use(item, scope, feature)
                case Scope(name=name, span=span, body=body, share=share):
                    if share:
                        self.shared["/".join((*scope, name))] = share
                    feature = self.walk(body, (*scope, name), feature)
                    last = self.outputs.get(feature)
                    if last is None or last.tops[:1] != (feature,):
                        last = _Outputs((feature,), 0, None)
                    self._declare("/".join((*scope, name)), last._replace(span=span), "block")
                case Branches():
                    feature = self._join(item, scope, feature)
        return feature

    def _join(self, item: Branches, scope: tuple[str, ...], feature: str) -> str:
        ends = [self.walk(branch, scope, feature) for branch in item.branches]
        layer = by_type("Eltwise" if item.kind == "sum" else "Concat")
        assert layer is not None
        name = self._own_name(item.name, scope, item.kind, item.span)
        self._add(LayerSpec(name, layer(), tuple(ends), (name,), (), BlobRule(), (), item.span))
        return name

    def _use(self, use: Use, scope: tuple[str, ...], feature: str) -> str:
        layer_type = by_type(use.type.text)
        if layer_type is None or layer_type.role == "data":
            self._refuse_type(use)
            return feature
        name = self._own_name(use.fields.get("name"), scope, short_name(layer_type), use.type.span)
        subject = f"layer '{name}' ({use.type.text})"
        read = self.reads.get(id(use))
        if read is None:
            read = _Read(self._common(use, subject), self._parameters(layer_type, use, subject))
            self.reads[id(use)] = read
        spec = None
        if read.common is not None and read.layer is not None:
            bottoms = self._bottoms(layer_type, use, scope, feature)
            spec = self._checked(name, read.layer, read.common, bottoms, use, subject, scope)
        if spec is not None:
            self._add(spec)
        else:
            self._add_broken(name, use, scope)
        top = spec.tops[0] if spec and spec.tops else name
        return top if layer_type.role == "feature" else feature

    def _refuse_type(self, use: Use) -> None:
        kind = use.type.text
        if kind in ABSENT:
            self.problems.add(f"unsupported layer type '{kind}'", use.type.span, ABSENT[kind])
        elif by_type(kind) is None:
            known = [*self.blocks, *(known.type for known in LAYERS)]
            what = "layer type or block" if self.blocks else "layer type"
            self.problems.add(f"unknown {what} '{kind}'", use.type.span, did_you_mean(kind, known))
        elif kind == "Input":
            hint = "write 'input: {height: 360, width: 480}' at the top of the spec"
            self.problems.add("'Input' is no layer of a spec, where 'data' and 'label' are fed", use.type.span, hint)
        else:
            self.problems.add(f"'{kind}' is a source of images and stands in the 'data:' section", use.type.span)

    def _common(self, use: Use, subject: str) -> CommonFields | None:
        entries = tuple(entry for entry in use.fields if entry[0].text in COMMON and entry[0].text != "name")
        return read_model(CommonFields, Mapping(entries, use.type.span), self.problems, subject)

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
        return None if layer is None else self._with_classes(_without_references(layer), own)

    def _with_classes(self, layer: Layer, own: Mapping) -> Layer:
        """The layer with the class table's ignored label, unless the file says another."""
        if self.classes is None or self.classes.ignore_label is None or own.get("ignore_label") is not None:
            return layer
        if "ignore_label" not in type(layer).model_fields or own.key("ignore_label") is not None:
            return layer
        return layer.model_copy(update={"ignore_label": self.classes.ignore_label})

    def _bottoms(self, layer_type: type[Layer], use: Use, scope: tuple[str, ...], feature: str) -> list[str]:
        written = use.fields.get("bottom")
        reads_feature = _is_null(written) and layer_type.bottoms[1] != 0
        bottoms = [feature] if reads_feature else [self._find(name, scope, 0) for name in _names(written)]
        for field, output in layer_type.references.items():
            bottoms += [self._find(name, scope, output) for name in _names(use.fields.get(field))]
        if layer_type.role in ("loss", "metric") and len(bottoms) == 1 and layer_type.bottoms[0] >= 2:
            bottoms.append("label")
        return bottoms

    def _find(self, node: Scalar, scope: tuple[str, ...], output: int) -> str:
        """The blob that a name means, looked for in the scope it was written in and outwards."""
        scope = scope if node.scope is None else node.scope
        for depth in range(len(scope), -1, -1):
            found = self.outputs.get("/".join((*scope[:depth], node.text)))
            if found is None:
                continue
            if found.broken:
                return node.text
            if not found.tops:
                self.problems.add(f"'{node.text}' has no output", node.span)
                return node.text
            if found.position in (0, output) and max(found.position, output) < len(found.tops):
                return found.tops[max(found.position, output)]
            if output == 0:
                return found.tops[found.position]
            hint = "a layer that keeps its mask is needed: PoolingMask"
            self.problems.add(f"'{node.text}' has no output of that kind", node.span, hint)
            return found.tops[0]
        if node.text not in self.hints:
            known = [name for name in self.outputs if name not in INPUTS]
            self.hints[node.text] = did_you_mean(node.text, known) or "a layer must stand before it is named"
        self.problems.add(f"no layer '{node.text}' before this one", node.span, self.hints[node.text])
        return "data"

    def _checked(
        self,
        name: str,
        layer: Layer,
        common: CommonFields,
        bottoms: list[str],
        use: Use,
        subject: str,
        scope: tuple[str, ...],
    ) -> LayerSpec | None:
        """The layer's spec, if the number of its bottoms and tops is right."""
        tops = self._tops(name, layer, common, use, scope)
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
        stops, share = common.propagate_down, common.share or ""
        if type(layer).params is Layer.params:
            if share:
                self.problems.add(f"{subject} learns nothing that it could share", use.type.span)
        elif not share:
            share = self._share(name, scope)
        weights = common.loss_weight
        return LayerSpec(name, layer, tuple(bottoms), tops, rules, rest, weights, use.type.span, stops, share)

    def _share(self, name: str, scope: tuple[str, ...]) -> str:
        """What a layer shares its blobs under by the innermost block around it that shares: its place in there."""
        for depth in range(len(scope), 0, -1):
            block = "/".join(scope[:depth])
            if block in self.shared:
                return self.shared[block] + name.removeprefix(block)
        return ""

    def _tops(self, name: str, layer: Layer, common: CommonFields, use: Use, scope: tuple[str, ...]) -> tuple[str, ...]:
        if common.top is None:
            extra = [f"{name}/{layer.top_names[index]}" for index in range(layer.tops[0] - 1)]
            return (name, *extra) if layer.tops[0] else ()
        nodes = _names(use.fields.get("top"))
        tops = tuple("/".join((*scope, layer_name(node, self.problems))) for node in nodes)
        if name in tops[1:]:
            message = f"the output '{name}' has the name of its layer, which stands for its first output"
            self.problems.add(message, nodes[tops.index(name, 1)].span, "name the layer or the output otherwise")
        return tops

    def _own_name(self, node: Node | None, scope: tuple[str, ...], short: str, span: Span) -> str:
        """The full name: what the user wrote, or the type and a number, in the scope."""
        if node is not None and not _is_null(node):
            return "/".join((*scope, layer_name(node, self.problems)))
        while True:
            self.numbers[scope, short] += 1
            name = "/".join((*scope, f"{short}{self.numbers[scope, short]}"))
            if name not in self.outputs:
                return name

    def _add(self, spec: LayerSpec) -> None:
        self.layers.append(spec)
        self._declare(spec.name, _Outputs(spec.tops, 0, spec.span), "layer")
        for position, top in enumerate(spec.tops):
            if top != spec.name:
                self._declare(top, _Outputs(spec.tops, position, spec.span), "output")

    def _add_broken(self, name: str, use: Use, scope: tuple[str, ...]) -> None:
        """Makes a layer with mistakes known, so that not every layer that reads it is a mistake too."""
        self._declare(name, _Outputs((name,), 0, use.type.span, broken=True), "layer")
        for node in _names(use.fields.get("top")):
            top = "/".join((*scope, node.text))
            self.outputs.setdefault(top, _Outputs((top,), 0, use.type.span, broken=True))

    def _declare(self, name: str, outputs: _Outputs, what: str) -> None:
        if name not in self.outputs:
            self.outputs[name] = outputs
            return
        first, span = self.outputs[name].span, outputs.span
        where = f"first at {first.place}" if first else "it names an input of the net"
        hint = "give this output another name in 'top'" if what == "output" else f"give this {what} another 'name'"
        self.problems.add(f"the name '{name}' is taken ({where})", span, hint)


def _without_references(layer: Layer) -> Layer:
    """The layer without the names of others, which its bottoms say; so a net is equal to its flat text."""
    fields = type(layer).model_fields.items()
    named = {name: info.default for name, info in fields if (info.alias or name) in layer.references}
    return layer.model_copy(update=named) if named else layer


def _names(node: Node | None) -> list[Scalar]:
    """The names in a field: one, several, or none where it is left out or null."""
    nodes = node.items if isinstance(node, Sequence) else (node,)
    return [item for item in nodes if isinstance(item, Scalar) and item.value is not None]


def _is_null(node: Node | None) -> bool:
    return node is None or (isinstance(node, Scalar) and node.value is None)


def counted(least: int, most: int | None, what: str) -> str:
    """How many of something a layer takes, in words: `1 to 2 tops`."""
    if most is None:
        return f"at least {least} {what}{'' if least == 1 else 's'}"
    plural = "" if least == most == 1 or (most == 1 and least == 0) else "s"
    return f"{least} {what}{plural}" if least == most else f"{least} to {most} {what}s"


def _arity_hint(layer: Layer) -> str:
    if layer.references:
        field = next(iter(layer.references))
        return f"name the other layer: {field}: NAME"
    return "write 'bottom: [a, b]'"
