"""The tree that every text becomes: scalars, sequences and mappings, each knowing where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from segspec.errors import Diagnostic, Source, Span, SpecError

Value = str | int | float | bool | None
MAX_BYTES = 16 * 2**20
MAX_FOUND = 100


@dataclass(frozen=True)
class Scalar:
    """A single value.

    Attributes:
        value: the value its text means.
        span: where it stands.
        quoted: whether it was written in quotes and is therefore a string.
        scope: for the name of a layer, the scope it was written in, when a block's argument carried it elsewhere.
    """

    value: Value
    span: Span
    quoted: bool = False
    scope: tuple[str, ...] | None = None

    @property
    def text(self) -> str:
        """The value as a string, for keys and names."""
        return self.value if isinstance(self.value, str) else to_text(self.value)


@dataclass(frozen=True)
class Sequence:
    """An ordered list of nodes."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True)
class Mapping:
    """Keys with values, in the order of the text; keys are unique in YAML and may repeat in a prototxt."""

    entries: tuple[tuple[Scalar, Node], ...]
    span: Span

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.entries)

    def get(self, key: str) -> Node | None:
        """The last value written for this key, or None."""
        return next((value for name, value in reversed(self.entries) if name.text == key), None)

    def key(self, key: str) -> Scalar | None:
        """The key itself, for its position."""
        return next((name for name, _ in reversed(self.entries) if name.text == key), None)

    def without(self, *keys: str) -> Mapping:
        """The mapping less these keys."""
        return Mapping(tuple(entry for entry in self.entries if entry[0].text not in keys), self.span)


Node = Scalar | Sequence | Mapping


@dataclass
class Problems:
    """Collects mistakes so that all of them are reported in one run; of very many, the first."""

    found: list[Diagnostic] = field(default_factory=list)
    count: int = 0
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, message: str, span: Span | None, hint: str = "") -> None:
        """Notes a mistake; the same one at the same place, met again by another use of a block, is only counted.

        Raises SpecError when there are so many that one cause must be behind them.
        """
        self.count += 1
        if (message, str(span)) in self._seen:
            return
        self._seen.add((message, str(span)))
        self.found.append(Diagnostic(message, span, hint))
        if len(self.found) >= MAX_FOUND:
            last = Diagnostic(f"{MAX_FOUND} mistakes were found, nothing further was looked at", span)
            raise SpecError([*sorted(self.found, key=_position), last])

    def raise_any(self) -> None:
        """Raises SpecError with everything found, in the order of the text; nothing happens when nothing was."""
        if self.found:
            raise SpecError(sorted(self.found, key=_position))


def _position(diagnostic: Diagnostic) -> tuple[str, int, int]:
    span = diagnostic.span
    return (span.source.name, span.line, span.column) if span else ("", 0, 0)


def read_source(path: Path) -> Source:
    """Reads a text file as UTF-8. Raises SpecError when it is missing, not a file, too large or not UTF-8."""
    name = str(path)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise SpecError("this is a folder, expected a file", place=name)
        if size > MAX_BYTES:
            raise SpecError(f"{size} bytes are too many for a text file; the limit is {MAX_BYTES}", place=name)
        return Source(name, path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 text (byte {error.start})", place=name, hint="save the file as UTF-8") from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror or error}", place=name) from None


def to_python(node: Node) -> object:
    """The plain value of a node: dicts and tuples all the way down. A repeated key keeps its last value."""
    match node:
        case Scalar(value=value):
            return value
        case Sequence(items=items):
            return tuple(to_python(item) for item in items)
        case Mapping(entries=entries):
            return {key.text: to_python(value) for key, value in entries}


def to_text(value: Value) -> str:
    """A scalar as YAML 1.2 writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def describe(node: Node) -> str:
    """What a node is, for `expected X, got Y`."""
    match node:
        case Scalar(value=str(value)):
            return f"'{value}'" if len(value) <= 40 else f"'{value[:37]}...'"
        case Scalar(value=value):
            return to_text(value)[:40]
        case Sequence(items=items):
            return f"a list of {len(items)}"
        case Mapping():
            return "a mapping"


def through(node: Node, via: Span) -> Node:
    """The node as seen from the place where a macro was used, so that messages can show both."""
    match node:
        case Scalar(value, span, quoted, scope):
            return Scalar(value, _through(span, via), quoted, scope)
        case Sequence(items, span):
            return Sequence(tuple([through(item, via) for item in items]), _through(span, via))
        case Mapping(entries, span):
            return Mapping(
                tuple([(_scalar_through(key, via), through(value, via)) for key, value in entries]),
                _through(span, via),
            )


def _scalar_through(key: Scalar, via: Span) -> Scalar:
    return Scalar(key.value, _through(key.span, via), key.quoted, key.scope)


def _through(span: Span, via: Span) -> Span:
    further = via if span.via is None else _through(span.via, via)
    return Span(span.source, span.line, span.column, span.length, further)


def extent(node: Node) -> tuple[int, int]:
    """How many values a node holds, itself included, and how many levels deep they lie."""
    match node:
        case Scalar():
            return 1, 1
        case Sequence(items=items):
            parts = [extent(item) for item in items]
        case Mapping(entries=entries):
            parts = [extent(value) for _, value in entries]
    return 1 + sum(count for count, _ in parts), 1 + max((depth for _, depth in parts), default=0)


def scalars_in(node: Node) -> Iterator[Scalar]:
    """The values of a tree in the order they stand, without the keys of mappings."""
    match node:
        case Scalar():
            yield node
        case Sequence(items=items):
            for item in items:
                yield from scalars_in(item)
        case Mapping(entries=entries):
            for _, value in entries:
                yield from scalars_in(value)
