"""YAML text to tree, by the rules of YAML 1.2: no tags, no aliases, no merge keys, no repeated keys.

PyYAML scans and parses; its 1.1 rules for scalars are not used (there `no` is False, `1e-3` a string, `010` is 8).
The tree is built from events with an explicit stack, so nesting is limited by us and not by the interpreter.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from segspec.errors import Diagnostic, Source, Span, SpecError
from segspec.syntax.mistakes import explain, explain_field, uneven_indentation
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, Value

MAX_DEPTH = 40
MAX_NODES = 200_000
MAX_CHARACTERS = 2 * 2**20
MAX_DIGITS = 18

_INT = re.compile(r"[-+]?[0-9]+")
_PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STRANGE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_WORDS: dict[str, Value] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], float("inf")),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], float("-inf")),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
}


def parse_yaml(source: Source, start: int = 0) -> Node:
    """The tree of a YAML text.

    Args:
        source: the text.
        start: how many characters before the YAML on the first line are passed over.

    Raises:
        SpecError: with every mistake of syntax that was found, each at its place.
    """
    if len(source.text) > MAX_CHARACTERS:
        message = f"{len(source.text)} characters are too many for YAML; the limit is {MAX_CHARACTERS}"
        raise SpecError(message, place=source.name)
    builder = _Builder(source)
    try:
        loader = yaml.SafeLoader(" " * start + source.text[start:])
        try:
            while loader.check_event():
                builder.feed(loader.get_event())  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            raise SpecError([*builder.problems.found, *explain(source, error)]) from None
        except (ValueError, OverflowError):  # PyYAML turns \U and %YAML numbers into integers without a check
            mark = loader.get_mark()
            span = Span(source, mark.line + 1, mark.column + 1)
            raise SpecError(Diagnostic("not YAML: a number here is too large", span)) from None
    except yaml.reader.ReaderError as error:
        raise SpecError(_unprintable(source, error)) from None
    builder.problems.raise_any()
    root = builder.root
    if root is None:
        raise SpecError("the file is empty", place=source.name)
    if not start and isinstance(root, Scalar) and not root.quoted and (hint := explain_field(root.text)):
        raise SpecError(Diagnostic("the file holds one text instead of fields", root.span, hint))
    return root


def resolve_scalar(text: str) -> Value:
    """The value of a plain YAML 1.2 scalar. Raises ValueError for a number too long to mean anything."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) or _PREFIXED.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number of {len(text)} digits")
        return int(text, 10 if _INT.fullmatch(text) else 0)
    if not _FLOAT.fullmatch(text):
        return text
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number above 1e308")
    return number


class Mark(Protocol):
    """A place in the text, as PyYAML's scanners give it."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


@dataclass
class _Open:
    """A collection whose end has not been reached."""

    span: Span
    mapping: bool
    nodes: list[Node] = field(default_factory=list)


class _Builder:
    """Turns parser events into a tree and collects what YAML allows but a spec does not."""

    def __init__(self, source: Source):
        self.source = source
        self.problems = Problems()
        self.root: Node | None = None
        self.stack: list[_Open] = []
        self.count = 0

    def feed(self, event: yaml.Event) -> None:
        match event:
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.ScalarEvent():
                self._check(event)
                self._add(self._scalar(event))
            case yaml.AliasEvent():
                span = self._span(event.start_mark, event.end_mark)
                self.problems.add(f"aliases are not part of the language (*{event.anchor})", span, "write a block")
                self._add(Scalar(None, span))
            case yaml.DocumentStartEvent() if self.root is not None:
                span = self._span(event.start_mark, event.end_mark)
                raise SpecError(Diagnostic("a second document begins", span, "one file holds one document"))

    def _span(self, start: Mark | None, end: Mark | None) -> Span:
        assert start is not None
        assert end is not None
        length = end.column - start.column if end.line == start.line else 1
        return Span(self.source, start.line + 1, start.column + 1, max(1, length))

    def _check(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor or event.tag:
            kind = "anchors" if event.anchor else "tags"
            text = f"&{event.anchor}" if event.anchor else event.tag
            span = self._span(event.start_mark, event.start_mark)
            self.problems.add(f"{kind} are not part of the language ({text})", span, "remove it")

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        self._check(event)
        span = self._span(event.start_mark, event.end_mark)
        if len(self.stack) >= MAX_DEPTH:
            raise SpecError(Diagnostic(f"nested more than {MAX_DEPTH} levels deep", span))
        self.stack.append(_Open(span, isinstance(event, yaml.MappingStartEvent)))

    def _close(self) -> None:
        done = self.stack.pop()
        self._add(self._mapping(done) if done.mapping else Sequence(tuple(done.nodes), done.span))

    def _add(self, node: Node) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            raise SpecError(Diagnostic(f"more than {MAX_NODES} values in one file", node.span))
        if self.stack:
            self.stack[-1].nodes.append(node)
        else:
            self.root = node

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        span = self._span(event.start_mark, event.end_mark)
        quoted = event.style in ("'", '"', "|", ">")
        if quoted and (strange := _STRANGE.search(event.value)):
            self.problems.add(f"the character U+{ord(strange[0]):04X} cannot stand in a text", span, "remove it")
        if not quoted:
            self._check_lines(event)
        try:
            return Scalar(event.value if quoted else resolve_scalar(event.value), span, quoted)
        except ValueError as error:
            self.problems.add(f"{error} is too large", span)
            return Scalar(0, span)

    def _check_lines(self, event: yaml.ScalarEvent) -> None:
        """Refuses an item of a list that YAML takes for more words of the line above, because it is indented deeper."""
        assert event.start_mark is not None
        assert event.end_mark is not None
        for line in range(event.start_mark.line + 2, event.end_mark.line + 2):
            if self.source.line(line).lstrip(" ").startswith("- "):
                found = uneven_indentation(self.source, line)
                if found is not None:
                    self.problems.add(found.message, found.span, found.hint)

    def _mapping(self, done: _Open) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        for key, value in zip(done.nodes[::2], done.nodes[1::2], strict=True):
            if not isinstance(key, Scalar):
                self.problems.add("a key must be a plain word", key.span)
            elif key.value == "<<" and not key.quoted:
                self.problems.add("merge keys (<<) are not part of the language", key.span, "write a block")
            elif not key.quoted and _has_no_value(value) and (hint := explain_field(key.text)):
                self.problems.add(f"'{key.text}' is no field", key.span, hint)
            elif key.text in entries:
                first = entries[key.text][0].span.place
                self.problems.add(f"'{key.text}' is written twice (first at {first})", key.span, "remove one")
            else:
                entries[key.text] = (key, value)
        return Mapping(tuple(entries.values()), done.span)


def _has_no_value(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None and not node.quoted


def _unprintable(source: Source, error: yaml.reader.ReaderError) -> Diagnostic:
    lines = (source.text[: error.position] + "x").splitlines()
    line, column = len(lines), len(lines[-1])
    code = ord(error.character) if isinstance(error.character, str) else error.character
    return Diagnostic(f"the character U+{code:04X} cannot stand in YAML", Span(source, line, column), "remove it")
