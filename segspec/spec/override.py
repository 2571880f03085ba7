"""`--set` and `--solver-set KEY=VALUE`: changes to a tree before it is read, with a place of their own in messages."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import replace

from segspec.errors import Diagnostic, Source, Span, SpecError, UsageError, did_you_mean
from segspec.syntax.tree import Mapping, Node, Problems, Scalar
from segspec.syntax.yaml import parse_yaml


def apply_overrides(
    root: Mapping, overrides: Items[str], keys: Items[str], problems: Problems, option: str = "--set"
) -> Mapping:
    """The tree with every override put in that leads somewhere.

    Args:
        root: the tree of a spec or solver.
        overrides: `KEY=VALUE` texts; VALUE is YAML, KEY a top-level field, a dotted path, or one of `params`.
        keys: the top-level fields.
        problems: where mistakes go.
        option: what the command line calls such an override.

    Raises:
        UsageError: when an override is not of the form `KEY=VALUE`.
    """
    for text in overrides:
        key, separator, _ = text.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"{option} takes KEY=VALUE, got '{text}'")
        source = Source(option, text)
        value = _parse(source, len(key) + 1)
        path = _absolute(root, _path(source, key), keys, problems)
        root = _put(root, path, value, problems) if path else root
    return root


def _path(source: Source, key: str) -> list[Scalar]:
    """The parts of a dotted key, each with its place. Raises UsageError for an empty part."""
    parts = []
    column = 1
    for text in key.split("."):
        span = Span(source, 1, column + len(text) - len(text.lstrip()), max(1, len(text.strip())))
        if not text.strip():
            raise UsageError(Diagnostic("a part of the key is missing", span, "write NAME.NAME=VALUE"))
        parts.append(Scalar(text.strip(), span))
        column += len(text) + 1
    return parts


def _parse(source: Source, start: int) -> Node:
    """The value behind the equals sign, parsed as YAML; columns stay those of the whole text."""
    if source.text[start:].split("#")[0].strip() == "":
        return Scalar(None, Span(source, 1, start, 1))
    try:
        return parse_yaml(source, start)
    except SpecError as error:
        raise UsageError(error.diagnostics) from None


def _absolute(root: Mapping, path: list[Scalar], keys: Items[str], problems: Problems) -> list[Scalar]:
    """The path from the top, empty where it leads nowhere; a first part that is one of the `params` is found there."""
    first = path[0]
    params = root.get("params")
    known = [name.text for name, _ in params] if isinstance(params, Mapping) else []
    if first.text in known and first.text not in keys:
        return [replace(first, value="params"), *path]
    if first.text == "params" and "params" in keys and len(path) > 1 and path[1].text not in known:
        problems.add(f"the spec has no param '{path[1].text}'", path[1].span, did_you_mean(path[1].text, known))
        return []
    if first.text not in keys:
        hint = did_you_mean(first.text, [*keys, *known])
        problems.add(f"nothing is called '{first.text}' here", first.span, hint)
        return []
    return path


def _put(root: Mapping, path: list[Scalar], value: Node, problems: Problems) -> Mapping:
    """The mapping with a value at the end of a path; missing mappings on the way are made."""
    first, *rest = path
    if rest:
        inner = root.get(first.text)
        if inner is None or (isinstance(inner, Scalar) and inner.value is None):
            inner = Mapping((), first.span)
        if not isinstance(inner, Mapping):
            problems.add(f"'{first.text}' has no parts", rest[0].span)
            return root
        value = _put(inner, rest, value, problems)
    key = root.key(first.text)
    if key is None:
        return Mapping((*root.entries, (first, value)), root.span)
    entries = ((name, value if name.text == first.text else old) for name, old in root.entries)
    return Mapping(tuple(entries), root.span)
