"""`--set KEY=VALUE` for a prototxt: a value for a template word, or a field of a layer."""

from __future__ import annotations

import re
from collections.abc import Mapping as Lookup
from collections.abc import Sequence as Items
from dataclasses import replace

from segspec.errors import Source, Span, UsageError, did_you_mean
from segspec.spec.override import apply_overrides
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, scalars_in
from segspec.syntax.yaml import resolve_scalar

_TEMPLATE = re.compile(r"\$\{(\w+)\}")


def override_caffe(root: Mapping, overrides: Items[str], problems: Problems) -> Mapping:
    """The tree with every override put in.

    Args:
        root: the tree of a prototxt.
        overrides: `NAME=VALUE` for a word `${NAME}` of the text, or `LAYER.MESSAGE.FIELD=VALUE`, such as
            `conv1.convolution_param.num_output=21`.
        problems: where mistakes go, among them template words that nothing fills.

    Raises:
        UsageError: when an override is not of the form `KEY=VALUE`.
    """
    root, rest = fill_templates(root, overrides, problems)
    names = template_names(*(node.text for node in scalars_in(root)))
    for text in rest:
        root = _override_layer(root, text, names, problems)
    return root


def fill_templates(
    root: Mapping, overrides: Items[str], problems: Problems, option: str = "--set"
) -> tuple[Mapping, list[str]]:
    """The tree with its template words filled, and the overrides that are not for one of them.

    Raises:
        UsageError: when an override is not of the form `KEY=VALUE`.
    """
    templates = template_names(*(node.text for node in scalars_in(root)))
    values: dict[str, str] = {}
    rest: list[str] = []
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"{option} takes KEY=VALUE, got '{text}'")
        if key in templates:
            values[key] = value
        else:
            rest.append(text)
    filled = _fill(root, values)
    assert isinstance(filled, Mapping)
    _report_unfilled(filled, problems, option)
    return filled, rest


def template_names(*texts: str) -> list[str]:
    """The names of all template words `${NAME}`, once each."""
    return list(dict.fromkeys(name for text in texts for name in _TEMPLATE.findall(text)))


def unfilled(root: Mapping) -> tuple[str, Span, str] | None:
    """Template words that stay in texts, where a name or a path would mean another one: message, place and remedy."""
    left = [node for node in scalars_in(root) if _TEMPLATE.search(node.text)]
    if not left:
        return None
    names = template_names(*(node.text for node in left))
    words = ", ".join(f"'${{{name}}}'" for name in names)
    message = f"nothing fills {words}; {'it stays' if len(names) == 1 else 'they stay'} in names and paths"
    return message, left[0].span, " ".join(f"--set {name}=..." for name in names)


def _override_layer(root: Mapping, text: str, templates: Items[str], problems: Problems) -> Mapping:
    """The tree with a field changed in every layer of the name before the first dot."""
    name = text.partition("=")[0].partition(".")[0].strip()
    entries: list[tuple[Scalar, Node]] = []
    names: set[str] = set()
    for key, node in root:
        if key.text in ("layer", "layers") and isinstance(node, Mapping):
            own = node.get("name")
            names.add(own.text if isinstance(own, Scalar) else "")
            if isinstance(own, Scalar) and own.text == name:
                changed = apply_overrides(Mapping(((own, node),), node.span), (text,), (name,), problems)
                node = changed.get(name) or node
        entries.append((key, node))
    if name not in names:
        span = Span(Source("--set", text), 1, 1, len(name))
        problems.add(f"no layer is called '{name}'", span, did_you_mean(name, names.union(templates)))
    return Mapping(tuple(entries), root.span)


def _fill(node: Node, values: Lookup[str, str]) -> Node:
    """The node with template words replaced; a bare word becomes the number it then spells."""
    if not values:
        return node
    match node:
        case Scalar(value=str(text)) if "${" in text:
            filled = _TEMPLATE.sub(lambda match: values.get(match[1], match[0]), text)
            return replace(node, value=filled if node.quoted else resolve_scalar(filled))
        case Sequence(items=items, span=span):
            return Sequence(tuple(_fill(item, values) for item in items), span)
        case Mapping(entries=entries, span=span):
            return Mapping(tuple((key, _fill(value, values)) for key, value in entries), span)
    return node


def _report_unfilled(root: Mapping, problems: Problems, option: str) -> None:
    """A bare template word is a number or a word that is missing; inside quotes it is a text like any other."""
    seen: set[str] = set()
    for node in scalars_in(root):
        for name in _TEMPLATE.findall(node.text):
            if not node.quoted and name not in seen:
                seen.add(name)
                problems.add(f"nothing fills '${{{name}}}'", node.span, f"give it a value: {option} {name}=...")
