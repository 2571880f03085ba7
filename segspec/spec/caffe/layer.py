"""One layer of a prototxt: its parameters and the rules of its learned blobs, typed and checked as YAML's are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from segspec.errors import Diagnostic, Span
from segspec.layers.base import Layer
from segspec.schema.read import read_model
from segspec.spec.caffe.fields import messages, texts
from segspec.spec.caffe.spelling import MEANS, Fields, gather, respell
from segspec.spec.caffe.types import ENUMS, Unknown, as_node, typed_entries, typed_value
from segspec.spec.layer_spec import BlobRule
from segspec.spec.netspec import Unread
from segspec.syntax.tree import Mapping, Node, Problems, Scalar

Dialect = Literal["segnet", "bvlc"]
COMMON = frozenset(("name", "type", "bottom", "top", "param", "loss_weight", "include", "exclude"))
SILENT = frozenset(("phase", "propagate_down", "blobs"))
STATE_BLOBS = {"BatchNorm": 3}
"""How many of a layer's blobs, counted first by Caffe, are state here: no `param` entry of theirs has a meaning."""


class Subject(NamedTuple):
    """A layer as messages call it."""

    name: str
    kind: str

    def __str__(self) -> str:
        return f"layer '{self.name}' ({self.kind})"


@dataclass
class Findings:
    """What is wrong with a prototxt, and what of it has no meaning here."""

    problems: Problems = field(default_factory=Problems)
    _warnings: list[Diagnostic] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    _first: dict[tuple[str, str], tuple[Diagnostic, int]] = field(default_factory=dict)

    def warn(self, message: str, span: Span, hint: str = "") -> None:
        self._warnings.append(Diagnostic(message, span, hint, severity="warning"))

    def keep(self, layer: str, field: str, values: Iterable[tuple[Scalar, Node]]) -> None:
        """Notes a field of a layer that has no meaning here, as often as it stands there."""
        self.unread += (Unread(layer, field, value) for _, value in values)

    def leave_out(self, layer: str, kind: str, subject: str, path: str, key: Scalar, value: Node) -> None:
        """Notes a field without a meaning; of many layers of a type that have it, one warning tells."""
        self.unread.append(Unread(layer, path, value))
        message = f"{subject} '{key.text}'; it is left out"
        first, count = self._first.get((kind, path), (Diagnostic(message, key.span, severity="warning"), 0))
        self._first[kind, path] = (first, count + 1)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """All warnings in the order of the text."""
        left_out = [
            replace(first, message=f"{first.message}, as in {count - 1} more") if count > 1 else first
            for first, count in self._first.values()
        ]
        found = [*self._warnings, *left_out]
        return tuple(sorted(found, key=lambda warning: warning.span.line if warning.span else 0))


def read_parameters(
    layer_type: type[Layer], layer: Mapping, dialect: Dialect, subject: Subject, span: Span, findings: Findings
) -> Layer | None:
    """The typed layer, or None when something was wrong; a field that the type does not have is warned of.

    Args:
        layer_type: what the layer's `type` names.
        layer: its message.
        dialect: whose rules hold where the forks of Caffe differ.
        subject: what the layer is, for messages.
        span: where it stands.
        findings: where mistakes and warnings go.
    """
    written = gather(layer, COMMON | SILENT)
    for name in filter(_is_silent, written):
        findings.keep(subject.name, name, written[name])
    said = {name: values for name, values in written.items() if not _is_silent(name)}
    fields = respell(said, str(subject), findings.problems)
    names = _field_names(layer_type)
    inner: Unknown = []
    entries = tuple(_entries(layer_type, fields, dialect, span, inner))
    for name, values in fields.items():
        if name.startswith("loss_param.") and layer_type.role == "feature":
            findings.keep(subject.name, name, values)
        elif name not in names:
            findings.keep(subject.name, name, values[:-1])
            findings.leave_out(subject.name, layer_type.type, f"{subject} has no parameter", name, *values[-1])
    for key, value in inner:
        findings.leave_out(subject.name, layer_type.type, f"{subject} has no parameter", key.text, key, value)
    return read_model(layer_type, Mapping(entries, span), findings.problems, str(subject), span)


def _is_silent(name: str) -> bool:
    """Whether a field says how Caffe computes, in whichever message it stands."""
    return name.rpartition(".")[2] in MEANS


def _field_names(layer_type: type[Layer]) -> dict[str, str]:
    """The fields that a prototxt can say, by `message.field`; what YAML calls references are bottoms there."""
    found: dict[str, str] = {}
    for name, info in layer_type.model_fields.items():
        written = info.alias or name
        message = layer_type.message_of(name)
        if written not in layer_type.references:
            found[f"{message}.{written}" if message else written] = name
    return found


def _entries(
    layer_type: type[Layer], fields: Fields, dialect: Dialect, span: Span, unknown: Unknown
) -> Iterator[tuple[Scalar, Node]]:
    """What YAML would say: the written parameters, the dialect, and the defaults of Caffe that differ from ours."""
    for full, name in _field_names(layer_type).items():
        info = layer_type.model_fields[name]
        written = info.alias or name
        if full in fields:
            values = [value for _, value in fields[full]]
            enum = ENUMS.get(full, ENUMS.get(written, {}))
            yield Scalar(written, fields[full][-1][0].span), typed_value(values, info.annotation, enum, unknown)
        elif written == "dialect":
            yield Scalar(written, span), Scalar(dialect, span)
        elif written in layer_type.caffe_defaults:
            yield Scalar(written, span), as_node(layer_type.caffe_defaults[written], span)


def read_rules(layer_type: type[Layer], layer: Mapping, subject: Subject, findings: Findings) -> tuple[BlobRule, ...]:
    """The rules of a layer's learned blobs, from its `param` entries."""
    rules: list[BlobRule] = []
    unknown: Unknown = []
    for node in messages(layer, "param")[STATE_BLOBS.get(layer_type.type, 0) :]:
        entries = typed_entries(BlobRule, node.without("share_mode"), unknown)
        rule = read_model(BlobRule, entries, findings.problems, f"'param' of {subject}")
        rules += [rule] if rule is not None else []
    for key, value in unknown:
        path = f"param.{key.text}"
        findings.leave_out(subject.name, layer_type.type, f"'param' of {subject} has no field", path, key, value)
    return tuple(rules)


def input_shapes(layer: Mapping) -> list[Node]:
    """The shapes of an `Input` layer, one a top: one that stands alone is meant for all."""
    shapes = [value for _, value in gather(layer, COMMON | SILENT).get("input_param.shape", ())]
    return shapes * len(texts(layer, "top")) if len(shapes) == 1 else shapes
