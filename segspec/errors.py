"""What a user's mistake looks like: a place, a message, a remedy.

Everything that can go wrong by a user's hand is reported as one or more `Diagnostic`s carried by a
`SegspecError`. The command line prints them and exits; a traceback is left for our own mistakes.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

_LONGEST = 500  # characters of a line of a message
_MANY = 200  # names, beyond which only those with the same first letter are compared


@dataclass(frozen=True)
class Source:
    """A text that was read, under the name a user knows it by (usually its path)."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        return tuple(self.text.splitlines())

    def line(self, number: int) -> str:
        """The line with this 1-based number, without its end; empty past the end of the text."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


@dataclass(frozen=True)
class Span:
    """A stretch of one line of a source.

    Attributes:
        source: the text.
        line: 1-based line number.
        column: 1-based column of the first character.
        length: characters covered, at least 1.
        via: where a macro was used that made this text appear, if one did.
    """

    source: Source
    line: int
    column: int
    length: int = 1
    via: Span | None = None

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    @property
    def place(self) -> str:
        """`file:line`, the short form used when a message mentions a second place."""
        return f"{self.source.name}:{self.line}"


@dataclass(frozen=True)
class Diagnostic:
    """One mistake.

    Attributes:
        message: what is wrong, one sentence without a final period; further lines are indented details.
        span: the text at fault, when the mistake is in a text that was parsed.
        hint: the remedy, such as `did you mean 'kernel_size'?`.
        place: the file (or `file:line`, or `file, pixel`) at fault, when there is no span.
        severity: `error` or `warning`.
    """

    message: str
    span: Span | None = None
    hint: str = ""
    place: str = ""
    severity: str = "error"

    def render(self) -> str:
        """The diagnostic as text: place and message, then the source line with a caret and the hint."""
        prefix = "warning: " if self.severity == "warning" else ""
        message, hint = (_shortened(printable(text)) for text in (self.message, self.hint))
        if self.span is None:
            head = f"{printable(self.place)}: {prefix}{message}" if self.place else f"{prefix}{message}"
            return f"{head}\n  {hint}" if hint else head
        return "\n".join([f"{printable(str(self.span))}: {prefix}{message}", *_excerpt(self.span, hint)])


def printable(text: str) -> str:
    """The text with everything that would steer a terminal, or that cannot be encoded, replaced by a visible mark."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _shortened(text: str) -> str:
    """The text with very long lines cut: a name may be as long as its writer likes."""
    return "\n".join(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..." for line in text.split("\n"))


def _excerpt(span: Span, hint: str) -> list[str]:
    """The source line, a caret line under it with the hint, and the macro uses that led there."""
    number = str(span.line)
    gutter = " " * len(number)
    start, text, length = _window(span.column - 1, span.source.line(span.line), span.length)
    text = printable(text)
    lead = "".join("\t" if character == "\t" else " " * _columns(character) for character in text[:start])
    caret = "^" * max(1, sum(map(_columns, text[start : start + length])))
    lines = [f"  {number} | {text}", f"  {gutter} | {lead}{caret}{' ' + hint if hint else ''}"]
    via = span.via
    while via is not None:
        line = printable(via.source.line(via.line).strip()[:100])
        lines.append(f"  {gutter} = used at {printable(via.place)}: {line}")
        via = via.via
    return lines


def _columns(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _window(start: int, text: str, length: int, width: int = 160) -> tuple[int, str, int]:
    """Cuts a very long line down to `width` characters around the stretch at fault."""
    if len(text) <= width:
        return start, text, length
    first = max(0, start - width // 2)
    return start - first, text[first : first + width], length


class SegspecError(Exception):
    """A user's mistake, with everything found. `exit_code` is the command line's exit status."""

    exit_code = 1

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic] | str, *, hint: str = "", place: str = ""):
        if isinstance(diagnostics, str):
            diagnostics = Diagnostic(diagnostics, hint=hint, place=place)
        if isinstance(diagnostics, Diagnostic):
            diagnostics = (diagnostics,)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n".join(diagnostic.render() for diagnostic in self.diagnostics))


class SpecError(SegspecError):
    """A spec, solver, class table or override is wrong."""

    exit_code = 2


class UsageError(SegspecError):
    """A command was called wrongly."""

    exit_code = 2


class DataError(SegspecError):
    """An image, a label or a list of them cannot be used."""


class WeightsError(SegspecError):
    """A file of weights cannot be read or does not fit the network."""


class RunError(SegspecError):
    """A run folder or a snapshot cannot be used, or training cannot go on."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`did you mean 'x'?` for the closest choice, or an empty string when nothing is close."""
    if len(word) > 100:
        return ""
    known = sorted(set(choices))
    if len(known) > _MANY:
        known = [choice for choice in known if choice[:1] == word[:1]][:_MANY]
    exact = [choice for choice in known if choice.lower() == word.lower()]
    close = exact or difflib.get_close_matches(word, known, 1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else ""
