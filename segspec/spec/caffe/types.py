"""From words of a prototxt to typed values, as the field they are for wants them.

Protobuf's text says `pool: 0`, `bias_term: False`, `dim: 1 dim: 3`; what that means is known only from the field. Here
each value becomes what YAML would say in its place (`pool: MAX`, `bias_term: false`, `[1, 3]`), so that both languages
meet in the same validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Lookup
from collections.abc import Sequence as Items
from dataclasses import replace
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from segspec.errors import Span
from segspec.syntax.tree import Mapping, Node, Scalar, Sequence

Unknown = list[tuple[Scalar, Node]]
"""Fields that nothing here has a meaning for, with their values."""

_BOOLEANS = {**dict.fromkeys(("true", "True", "t"), True), **dict.fromkeys(("false", "False", "f"), False)}

ENUMS: dict[str, dict[int, str]] = {
    "pool": {0: "MAX", 1: "AVE", 2: "STOCHASTIC"},
    "round_mode": {0: "CEIL", 1: "FLOOR"},
    "bn_mode": {0: "LEARN", 1: "INFERENCE"},
    "norm_region": {0: "ACROSS_CHANNELS", 1: "WITHIN_CHANNEL"},
    "normalization": {0: "FULL", 1: "VALID", 2: "BATCH_SIZE", 3: "NONE"},
    "variance_norm": {0: "FAN_IN", 1: "FAN_OUT", 2: "AVERAGE"},
    "label_type": {0: "NONE", 1: "IMAGE", 2: "PIXEL"},
    "backend": {0: "LEVELDB", 1: "LMDB"},
    "norm": {1: "L1", 2: "L2"},
    "eltwise_param.operation": {0: "PROD", 1: "SUM", 2: "MAX"},
    "reduction_param.operation": {1: "SUM", 2: "ASUM", 3: "SUMSQ", 4: "MEAN"},
}
"""The numbers of Caffe's enumerations, by field, or by message and field where a field's name has two of them."""


def typed_value(nodes: Items[Node], annotation: Any, enum: Lookup[int, str], unknown: Unknown) -> Node:
    """Everything written for one field, as one node of the type the field has.

    Args:
        nodes: the values in the order written, at least one; a field that is no list takes the last.
        annotation: the field's type.
        enum: the names of its numbers, for an enumeration.
        unknown: where inner fields go that the type does not have; they are left out.
    """
    kinds = list(_kinds(annotation))
    lists = [kind for kind in kinds if get_origin(kind) is tuple]
    if not lists or (isinstance(nodes[-1], Scalar) and nodes[-1].quoted and str in kinds):
        return _single(nodes[-1], kinds, enum, unknown)
    element, *others = get_args(lists[0])
    items = [_single(item, list(_kinds(element)), enum, unknown) for node in nodes for item in _items(node)]
    if len(items) == 1 and others != [Ellipsis]:
        return items[0]
    return Sequence(tuple(items), nodes[0].span)


def typed_entries(model: type[BaseModel], node: Mapping, unknown: Unknown) -> Mapping:
    """A message with its values typed as the fields of a model; fields that the model lacks go to `unknown`."""
    unknown += [(key, value) for key, value in node if key.text not in model.model_fields]
    entries: list[tuple[Scalar, Node]] = []
    for name, info in model.model_fields.items():
        key = node.key(name)
        if key is not None:
            values = [value for written, value in node if written.text == name]
            entries.append((key, typed_value(values, info.annotation, ENUMS.get(name, {}), unknown)))
    return Mapping(tuple(entries), node.span)


def as_node(value: object, span: Span) -> Node:
    """A Python value as a node, for a default that no text says."""
    match value:
        case BaseModel():
            return as_node(value.model_dump(exclude_none=True), span)
        case dict():
            return Mapping(tuple((Scalar(str(key), span), as_node(item, span)) for key, item in value.items()), span)
        case list() | tuple():
            return Sequence(tuple(as_node(item, span) for item in value), span)
        case str() | int() | float() | None:
            return Scalar(value, span)
    raise TypeError(f"no node stands for a {type(value).__name__}")


def is_true(node: Node | None) -> bool:
    """Whether a word or number says yes; an absent one says no."""
    return isinstance(node, Scalar) and _BOOLEANS.get(node.text, node.value) in (True, 1)


def _kinds(annotation: Any) -> Iterator[Any]:
    """The alternatives of a type, without their constraints."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _kinds(part)
    else:
        yield annotation


def _items(node: Node) -> tuple[Node, ...]:
    """The elements that one occurrence of a repeated field gives; Caffe's BlobShape holds its numbers as `dim`."""
    if isinstance(node, Sequence):
        return node.items
    if isinstance(node, Mapping) and {key.text for key, _ in node} <= {"dim"}:
        return tuple(item for _, value in node for item in _items(value))
    return (node,)


def _single(node: Node, kinds: Items[Any], enum: Lookup[int, str], unknown: Unknown) -> Node:
    if isinstance(node, Mapping):
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        return typed_entries(model, node, unknown) if model else node
    if not isinstance(node, Scalar) or node.quoted:
        return node
    if bool in kinds:
        return _boolean(node)
    if isinstance(node.value, int) and any(get_origin(kind) is Literal for kind in kinds):
        return replace(node, value=enum.get(node.value, node.value))
    return node


def _boolean(node: Scalar) -> Scalar:
    if isinstance(node.value, str) and node.value in _BOOLEANS:
        return replace(node, value=_BOOLEANS[node.value])
    return replace(node, value=bool(node.value)) if node.value in (0, 1) else node
