"""What a prototxt says that has no meaning here: kept beside the net, so that it is there when the net is written back.

In YAML it stands under `unread:`, by layer and by the field with its message; fields of the net itself under ''.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from segspec.errors import did_you_mean
from segspec.layers.normalization import BatchNorm
from segspec.spec.layer_spec import LayerSpec
from segspec.spec.netspec import Unread
from segspec.spec.wire import INPUTS
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, describe
from segspec.syntax.write import scalar

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?", re.ASCII)


def unread_lines(unread: Iterable[Unread]) -> list[str]:
    """The lines of the section, with its key; none where nothing was left over. What stands several times is a list."""
    layers: dict[str, dict[str, list[Node]]] = {}
    for field in unread:
        layers.setdefault(field.layer, {}).setdefault(field.field, []).append(field.value)
    lines = ["unread:"] if layers else []
    for layer, fields in layers.items():
        values = {
            name: Sequence(tuple(nodes), nodes[0].span) if nodes[1:] else nodes[0] for name, nodes in fields.items()
        }
        shown = ", ".join(f"{scalar(name)}: {value_text(value)}" for name, value in values.items())
        lines.append(f"  {scalar(layer)}: {{{shown}}}")
    return lines


def names_in_prototxt(layers: Iterable[LayerSpec]) -> frozenset[str]:
    """The names that layers have in a prototxt: their own, those of their halves, and of sources of images."""
    listed = tuple(layers)
    norms = (layer for layer in listed if isinstance(layer.layer, BatchNorm) and layer.layer.scale_bias)
    halves = (f"{layer.name}/scale" for layer in norms)
    return frozenset(("", *INPUTS, *halves, *(layer.name for layer in listed)))


def read_unread(node: Node | None, layers: Iterable[LayerSpec], problems: Problems) -> tuple[Unread, ...]:
    """The fields of the section, each of a layer of the net."""
    if node is None:
        return ()
    if not isinstance(node, Mapping) or not all(isinstance(fields, Mapping) for _, fields in node):
        hint = "write 'unread: {conv1: {convolution_param.engine: CAFFE}}'"
        problems.add(f"'unread' holds fields by layer, got {describe(node)}", node.span, hint)
        return ()
    found = [(layer, field, value) for layer, fields in node if isinstance(fields, Mapping) for field, value in fields]
    known = names_in_prototxt(layers)
    for layer in dict.fromkeys(layer for layer, _, _ in found if layer.text not in known):
        message = f"'unread' keeps fields of the layer '{layer.text}', which the net does not have"
        problems.add(message, layer.span, did_you_mean(layer.text, known))
    for layer, field, value in found:
        for name in (field, *_names(value)):
            if not _NAME.fullmatch(name.text) or ("." in name.text and (name is not field or not layer.text)):
                problems.add(
                    f"'{name.text}' cannot name a field of a prototxt", name.span, "write FIELD or MESSAGE.FIELD"
                )
    return tuple(Unread(layer.text, field.text, value) for layer, field, value in found)


def _names(node: Node) -> Iterator[Scalar]:
    """The names of all fields within a value."""
    match node:
        case Mapping():
            for key, value in node:
                yield key
                yield from _names(value)
        case Sequence():
            for item in node.items:
                yield from _names(item)


def value_text(node: Node) -> str:
    """A value as YAML on one line. A text that was in quotes stays in quotes, which tell it from an enumeration."""
    match node:
        case Mapping():
            return "{" + ", ".join(f"{scalar(key.text)}: {value_text(value)}" for key, value in node) + "}"
        case Sequence():
            return "[" + ", ".join(map(value_text, node.items)) + "]"
        case Scalar(quoted=True):
            return "'" + node.text.replace("'", "''") + "'" if node.text.isprintable() else scalar(node.text)
    return scalar(node.value)
