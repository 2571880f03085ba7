"""Protobuf text format to tree, as Caffe's files use it: `name: value`, `name { ... }`, repeated names.

Nothing is known here of layers: numbers become numbers, quoted text becomes strings, and a bare word (`MAX`, `true`,
`${NAME}`) stays a word, whose meaning depends on the field it is for. A name that is written twice is kept twice.
The parser keeps its own stack, so nesting is limited by us and not by the interpreter.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, NoReturn

from segspec.errors import Diagnostic, Source, Span, SpecError
from segspec.syntax.tree import Mapping, Node, Scalar, Sequence

MAX_DEPTH = 40
MAX_NODES = 500_000
MAX_DIGITS = 400

_TOKEN = re.compile(
    r"""(?: [\s\ufeff]+ | \#[^\r\n]* )*
    (?: (?P<word> (?: [A-Za-z_] | \$\{\w+\} ) (?: \w | \$\{\w+\} )* )
      | (?P<number> -? (?: \.?[0-9] (?: [eE][-+] | [\w.] )* | (?i: inf(?:inity)? | nan ) [fF]? \b ) )
      | (?P<string> "[^"\\\r\n]*(?:\\.[^"\\\r\n]*)*" | '[^'\\\r\n]*(?:\\.[^'\\\r\n]*)*' )
      | (?P<mark> [][:{}<>;,] )
      | (?P<end> \Z )
      | (?P<odd> . )
    )""",
    re.VERBOSE | re.ASCII,
)
_INFINITE = re.compile(r"-?(inf(inity)?|nan)f?", re.IGNORECASE)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)")
_OCTAL = re.compile(r"(-?)0([0-7]+)")
_HEX = re.compile(r"-?0[xX][0-9a-fA-F]+")
_FLOAT = re.compile(r"(-?(?!0[0-9]+$)(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)[fF]?")
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))")
_ESCAPED = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?", strict=True))
_CLOSERS = {"{": "}", "<": ">", "[": "]"}
_LONGEST_SHOWN = 40


def parse_prototxt(source: Source) -> Mapping:
    """The tree of a text in protobuf's text format; an empty text is an empty mapping.

    Raises:
        SpecError: at the first mistake of syntax.
    """
    return _Parser(source).parse()


def is_prototxt(path: Path) -> bool:
    """Whether a file is a prototxt, by its name.

    A copy such as `net.prototxt~` or `net.prototxt.in` is one too, `net.prototxt.yaml` is what it became in YAML.
    """
    copy = ".prototxt" in path.suffixes and path.suffix not in (".yaml", ".yml")
    return copy or path.suffix.startswith(".prototxt")


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


@dataclass
class _Open:
    """A message or list whose end has not been reached; `closer` is empty for the file itself."""

    key: Scalar
    span: Span
    closer: str
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    @property
    def node(self) -> Node:
        if self.closer == "]":
            return Sequence(tuple(self.items), self.span)
        return Mapping(tuple(self.entries), self.span)


class _Parser:
    def __init__(self, source: Source):
        self.source = source
        self.starts = [0, *accumulate(len(line) for line in source.text.splitlines(keepends=True)[:-1])]
        self.matches = _TOKEN.finditer(source.text)
        self.token = self._read()
        self.count = 0
        start = Span(source, 1, 1)
        self.stack = [_Open(Scalar("", start), start, "")]

    def parse(self) -> Mapping:
        while self.token.kind != "end":
            innermost = self.stack[-1]
            if self.token.text == innermost.closer:
                self._next()
                self.stack.pop()
                self._close(innermost)
            elif innermost.closer == "]":
                self._value(innermost.key)
            else:
                self._field()
        if len(self.stack) > 1:
            self._unclosed()
        return Mapping(tuple(self.stack[0].entries), self.stack[0].span)

    def _read(self) -> _Token:
        match = next(self.matches)
        kind = match.lastgroup or "end"
        return _Token(kind, match[kind], match.start(kind))

    def _next(self) -> _Token:
        """The current token; the one behind it becomes current."""
        token = self.token
        if token.kind == "odd":
            self._refuse_character(token)
        self.token = self._read()
        return token

    def _span(self, token: _Token) -> Span:
        line = bisect_right(self.starts, token.start)
        return Span(self.source, line, token.start - self.starts[line - 1] + 1, len(token.text) or 1)

    def _fail(self, message: str, token: _Token, hint: str = "") -> NoReturn:
        raise SpecError(Diagnostic(message, self._span(token), hint))

    def _field(self) -> None:
        token = self._next()
        if token.kind != "word":
            self._refuse_name(token)
        key = Scalar(token.text, self._span(token))
        if self.token.text == ":" and self.token.kind == "mark":
            self._next()
            self._value(key)
        elif self.token.kind == "mark" and self.token.text in "{<":
            self._open(key)
        else:
            self._fail(f"':' or '{{' must follow '{token.text}', got {_shown(self.token)}", self.token)

    def _value(self, key: Scalar) -> None:
        """Reads a value, or opens the message or list that is one."""
        token = self.token
        if token.kind == "mark":
            in_list = self.stack[-1].closer == "]"
            if token.text not in ("{", "<") and (token.text != "[" or in_list):
                hint = "a list of lists is not known here" if token.text == "[" else ""
                self._fail(f"'{key.text}' needs a value, got {_shown(token)}", token, hint)
            self._open(key)
        elif token.kind == "end":
            self._fail(f"the text ends where the value of '{key.text}' should stand", token)
        elif token.kind == "string":
            self._add(key, self._string())
        else:
            self._next()
            value = _number(token.text) if token.kind == "number" or _INFINITE.fullmatch(token.text) else token.text
            if value is None:
                self._fail(f"{_shown(token)} is not a number", token, "put text in quotes")
            self._add(key, Scalar(value, self._span(token)))

    def _string(self) -> Scalar:
        """A quoted text; several in a row are one."""
        first = self.token
        parts = []
        while self.token.kind == "string":
            parts.append(self._unquoted(self._next()))
        try:
            return Scalar(b"".join(parts).decode(), self._span(first), quoted=True)
        except UnicodeDecodeError:
            self._fail("this string is not UTF-8 text", first)

    def _unquoted(self, token: _Token) -> bytes:
        inner = token.text[1:-1].encode()
        if b"\\" not in inner:
            return inner

        def meaning(match: re.Match[bytes]) -> bytes:
            octal, digits, letter = match.groups()
            code = int(octal, 8) if octal else int(digits, 16) if digits else _ESCAPED.get(letter[0])
            if code is None or code > 255:
                shown = match[0].decode(errors="replace")
                self._fail(f"'{shown}' means nothing in a string", token, "a backslash itself is written '\\\\'")
            return bytes((code,))

        return _ESCAPE.sub(meaning, inner)

    def _open(self, key: Scalar) -> None:
        token = self._next()
        span = self._span(token)
        if len(self.stack) > MAX_DEPTH:
            raise SpecError(Diagnostic(f"nested more than {MAX_DEPTH} levels deep", span))
        self.stack.append(_Open(key, span, _CLOSERS[token.text]))

    def _close(self, closed: _Open) -> None:
        """Puts what has been closed into what is around it; a list of messages is its messages, one by one."""
        if closed.items and all(isinstance(item, Mapping) for item in closed.items):
            for item in closed.items[:-1]:
                self.stack[-1].entries.append((closed.key, item))
            self._add(closed.key, closed.items[-1])
        else:
            self._add(closed.key, closed.node)

    def _add(self, key: Scalar, node: Node) -> None:
        """Puts a complete value into what is open, and reads the separator behind it."""
        self.count += 1
        if self.count > MAX_NODES:
            raise SpecError(Diagnostic(f"more than {MAX_NODES} values in one file", node.span))
        innermost = self.stack[-1]
        if innermost.closer == "]":
            innermost.items.append(node)
            if self.token.text == ",":
                self._next()
            elif self.token.text != "]" and self.token.kind != "end":
                self._fail(f"',' or ']' must follow a value of a list, got {_shown(self.token)}", self.token)
            return
        innermost.entries.append((key, node))
        if self.token.kind == "mark" and self.token.text in ",;":
            self._next()

    def _refuse_name(self, token: _Token) -> NoReturn:
        innermost = self.stack[-1]
        if token.kind == "mark" and token.text in "}>]":
            if not innermost.closer:
                self._fail(f"'{token.text}' closes nothing", token, "remove it, or look for a brace closed too early")
            self._fail(
                f"'{token.text}' cannot close '{innermost.key.text}', opened at {innermost.span.place}",
                token,
                f"close it with '{innermost.closer}'",
            )
        if token.text == "[":
            self._fail("extensions in brackets are not known here", token, "remove the field")
        self._fail(f"the name of a field must stand here, got {_shown(token)}", token)

    def _refuse_character(self, token: _Token) -> NoReturn:
        if token.text in "\"'":
            self._fail("this quote is not closed on its line", token, f"add a closing {token.text}")
        name = f"'{token.text}'" if token.text.isprintable() else "it"
        self._fail(f"the character U+{ord(token.text):04X} cannot stand here", token, f"remove {name}")

    def _unclosed(self) -> NoReturn:
        innermost = self.stack[-1]
        message = f"the text ends before '{innermost.key.text}' is closed"
        raise SpecError(Diagnostic(message, innermost.span, f"add '{innermost.closer}'"))


def _number(text: str) -> int | float | None:
    """The number a text means; None when it means none. A leading 0 makes a whole number octal, as in C."""
    if len(text) > MAX_DIGITS:
        return None
    if _DECIMAL.fullmatch(text):
        return int(text)
    if octal := _OCTAL.fullmatch(text):
        return int(octal[1] + octal[2], 8)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _INFINITE.fullmatch(text):
        size = math.nan if "nan" in text.lower() else math.inf
        return -size if text.startswith("-") else size
    number = _FLOAT.fullmatch(text)
    return float(number[1]) if number else None


def _shown(token: _Token) -> str:
    if token.kind == "end":
        return "the end of the text"
    if token.kind == "string":
        return "a string"
    return f"'{token.text}'" if len(token.text) <= _LONGEST_SHOWN else f"'{token.text[:_LONGEST_SHOWN]}...'"
