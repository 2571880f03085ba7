"""What a mistake of YAML's syntax was, in the words of who wrote it.

PyYAML stops where nothing could follow any more and tells of its own states there. The rules below look at the lines
around that place for the usual causes: a missing blank, comma or brace, a tab, an uneven indentation. They only read
text, so a wrong guess costs a worse message and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import yaml

from segspec.errors import Diagnostic, Source, Span

_LONGEST = 60  # characters of a line that a hint repeats
_FARTHEST = 2_000  # lines that are looked at above a mistake
_WIDEST = 1_000  # characters of a line that are looked at
_ITEM = re.compile(r" *((?:- +)*)(?=\S)")
_JOINED = re.compile(r"( *(?:- +)*)([A-Za-z_]\w*):([^\s:/\\].*)")
_KEY = re.compile(r"""[^\s'"#{\[\]},:-][^'":]*:(?=\s|$)""")
_ONE_LINE = re.compile(r""" *(?:- +)*([A-Za-z_][^'":{\[]*): +([^'"{\[ ].*)""")
_IN_WORD = r"(?:[^\s,{}\[\]$]|\$(?!\{))*"
_DOLLAR_BRACE = re.compile(rf"{_IN_WORD}(?:\$\{{\w*\}}{_IN_WORD})+")
_NO_COMMA = re.compile(r""".*[^\s,{\[:-]\s+([A-Za-z_]\w*)""")


@dataclass(frozen=True)
class _Case:
    """Where PyYAML stopped, counted from 1, what it said, and where the structure began that it was in."""

    source: Source
    problem: str
    line: int
    column: int
    context: str = ""
    begun: tuple[int, int] | None = None

    def span(self, line: int, column: int, length: int = 1) -> Span:
        return Span(self.source, line, column, max(1, length))

    @property
    def here(self) -> Span:
        return self.span(self.line, self.column)

    def text(self, line: int) -> str:
        """A line without its comment and trailing blanks."""
        return _bare(self.source, line)

    @property
    def opened(self) -> str:
        """The character at which the structure begins."""
        return self.source.line(self.begun[0])[self.begun[1] - 1 : self.begun[1]] if self.begun else ""


def explain(source: Source, error: yaml.MarkedYAMLError) -> list[Diagnostic]:
    """The mistakes behind an error of PyYAML: one, or more of the same kind."""
    mark, begun = error.problem_mark or error.context_mark, error.context_mark
    problem, context = error.problem or "", error.context or ""
    if mark is None:
        return [Diagnostic(f"not YAML: {problem}", place=source.name)]
    start = (begun.line + 1, begun.column + 1) if begun else None
    case = _Case(source, problem, mark.line + 1, mark.column + 1, context, start)
    return next((found for rule in _RULES if (found := rule(case))), [_as_told(case)])


def explain_field(text: str) -> str:
    """What is wrong with `num_output:16` or `num_output=16` where a field should stand; empty if it looks otherwise."""
    match = re.match(r"([A-Za-z_]\w*)([:=])(\S+)", text)
    if match is None:
        return ""
    cause = "a blank is missing after the colon: " if match[2] == ":" else ""
    return f"{cause}write '{match[1]}: {_cut(match[3])}'"


def uneven_indentation(source: Source, line: int) -> Diagnostic | None:
    """The mistake of a line that stands beside no other, neither as a field nor as an item; None for one that does."""
    text = _bare(source, line)
    indent = len(text) - len(text.lstrip(" "))
    dash = text.lstrip(" ").startswith("- ")
    above = list(_levels_above(source, line))
    beside = [column for column, is_dash in above if is_dash == dash]
    if not text or not beside or indent in beside:
        return None
    wanted = min(beside, key=lambda column: (abs(column - indent), -column))
    wanted = _below_open_key(source, line, indent) or wanted
    word = text.lstrip(" ").split(" ")[0]
    message = f"this line is indented by {indent}, its neighbours by {wanted}"
    if wanted not in beside:
        message = f"this line is indented by {indent}, too little to belong to the line before it"
    return Diagnostic(message, Span(source, line, indent + 1, max(1, len(word))), f"indent it by {wanted}")


def _bare(source: Source, line: int) -> str:
    return re.sub(r"(^|\s)#.*", "", source.line(line)[:_WIDEST]).rstrip()


def _above(source: Source, line: int) -> Iterator[int]:
    """The lines above one that hold more than a comment, nearest first."""
    return (number for number in range(line - 1, max(0, line - _FARTHEST), -1) if _bare(source, number))


def _levels_above(source: Source, line: int) -> Iterator[tuple[int, bool]]:
    """The columns (from 0) where fields and items of the open collections begin; whether each is an item's dash."""
    inner = _WIDEST
    for number in _above(source, line):
        text = _bare(source, number)
        match = _ITEM.match(text)
        indent = len(text) - len(text.lstrip(" "))
        if match is None or indent >= inner:
            continue
        if _KEY.match(text, match.end()) and match.end() < inner:
            yield match.end(), False
        yield from ((dash.start() + match.start(1), True) for dash in re.finditer("-", match[1]))
        inner = indent


def _below_open_key(source: Source, line: int, indent: int) -> int:
    """The usual indentation below the line before, if its fields should follow and this is too little; else 0."""
    before = next(_above(source, line), 0)
    text = _bare(source, before)
    match = _ITEM.match(text)
    if match is None or not text.endswith(":") or not match[1] or not match.start(1) < indent < match.end():
        return 0
    return match.end() + 2


def _tab(case: _Case) -> list[Diagnostic]:
    if "\\t" not in case.problem:
        return []
    if case.source.line(case.line)[: case.column - 1].strip():
        return [Diagnostic("a tab cannot stand here", case.here, "use spaces")]
    others = sum(1 for text in case.source.lines[case.line :] if re.match(r" *\t", text))
    more = f"; {others} more lines are indented by tabs" if others > 1 else "; 1 more line is" if others else ""
    return [Diagnostic("a tab cannot indent YAML", case.here, f"use spaces{more}")]


def _no_blank(case: _Case) -> list[Diagnostic]:
    """`num_output:16` and `-ReLU`, which are plain words to YAML."""
    if not re.search("mapping values|could not find expected ':'|expected <block end>", case.problem):
        return []
    begun = case.begun[0] if case.begun and "simple key" in case.context else case.line
    near = {case.line, begun, next(_above(case.source, case.line), case.line)}
    if not any(_joined(case, line) for line in near):
        return []
    lines = range(1, len(case.source.lines[:_FARTHEST]) + 1)
    return [found for line in sorted({*lines, *near}) if (found := _joined(case, line))][:20]


def _joined(case: _Case, line: int) -> Diagnostic | None:
    text = case.text(line)
    if match := _JOINED.fullmatch(text):
        hint = f"write '{match[2]}: {_cut(match[3])}'"
        return Diagnostic("a blank is missing after the colon", case.span(line, match.end(2) + 1), hint)
    if match := re.fullmatch(r"( *)-([A-Za-z].*)", text):
        return Diagnostic(
            "a blank is missing after the dash", case.span(line, match.end(1) + 1), f"write '- {_cut(match[2])}'"
        )
    return None


def _on_one_line(case: _Case) -> list[Diagnostic]:
    """`Convolution: num_output: 16`, and `layers: - ReLU`."""
    match = _ONE_LINE.fullmatch(case.text(case.line))
    if match is None or case.column <= match.start(2):
        return []
    span = case.span(case.line, match.start(2) + 1, len(match[2]))
    if "mapping values" in case.problem:
        hint = f"write '{match[1]}: {{{_cut(match[2])}}}'"
        return [Diagnostic("fields on the line of what they belong to need braces", span, hint)]
    if "sequence entries" in case.problem:
        hint = f"write '{match[1]}: [...]', or put each item on a line of its own"
        return [Diagnostic("a list cannot begin with a dash on the line of its key", span, hint)]
    return []


def _key_without_colon(case: _Case) -> list[Diagnostic]:
    """`- Convolution` with its fields indented below."""
    before = next(_above(case.source, case.line), 0)
    match = re.fullmatch(r" *(?:- +)*([A-Za-z_]\w*)", case.text(before))
    text = case.text(case.line)
    if "mapping values" not in case.problem or match is None or len(text) - len(text.lstrip(" ")) <= match.start(1):
        return []
    span = case.span(before, match.start(1) + 1, len(match[1]))
    return [Diagnostic("a colon is missing", span, f"write '{match[1]}:'")]


def _indentation(case: _Case) -> list[Diagnostic]:
    first = next((line for line in range(1, case.line) if case.text(line)), case.line)
    if "document start" in case.problem and case.text(first).startswith(" "):
        indent = len(case.text(first)) - len(case.text(first).lstrip(" "))
        message = f"this line is indented by {indent}, its neighbours by 0"
        return [Diagnostic(message, case.span(first, indent + 1), "indent it by 0")]
    if not re.search("mapping values|expected <block end>, but found '[-?<]", case.problem):
        return []
    found = uneven_indentation(case.source, case.line)
    return [found] if found else []


def _dollar_brace(case: _Case) -> list[Diagnostic]:
    """`{name: conv${i}_1}`: the brace behind the dollar sign ends the text."""
    words = _DOLLAR_BRACE.finditer(case.source.line(case.line)[:_WIDEST]) if "flow" in case.context else ()
    word = next((word for word in words if word.start() < case.column - 1 < word.end()), None)
    if word is None:
        return []
    span = case.span(case.line, word.start() + 1, len(word[0]))
    return [Diagnostic("a text with '${' needs quotes inside braces", span, f'write "{_cut(word[0])}"')]


def _comma(case: _Case) -> list[Diagnostic]:
    if "flow" not in case.context or not case.problem.endswith("got ':'"):
        return []
    match = _NO_COMMA.fullmatch(case.source.line(case.line)[: case.column - 1][-_WIDEST:])
    if match is None:
        return []
    word = match[1]
    span = case.span(case.line, case.column - len(word), len(word))
    return [Diagnostic(f"a comma is missing before '{word}'", span)]


def _not_closed(case: _Case) -> list[Diagnostic]:
    if case.begun is None or case.opened not in ("{", "["):
        return []
    closing = "}" if case.opened == "{" else "]"
    if "flow" in case.context and re.search("got '[]}]'", case.problem):
        wrong = case.problem[-2]
        return [Diagnostic(f"this '{wrong}' cannot close '{case.opened}'", case.here, f"write '{closing}' before it")]
    if "flow" not in case.context or (case.line == case.begun[0] and "stream end" not in case.problem):
        return []
    comma = "" if "stream end" in case.problem else f", or a comma is missing above line {case.line}"
    hint = f"add '{closing}' where it ends{comma}"
    return [Diagnostic(f"this '{case.opened}' is not closed", case.span(*case.begun), hint)]


def _quote(case: _Case) -> list[Diagnostic]:
    if case.begun is None or "quoted scalar" not in case.context or "unexpected" not in case.problem:
        return []
    hint = f"add {case.opened} where the text ends"
    return [Diagnostic("this quote is not closed", case.span(*case.begun), hint)]


def _closes_nothing(case: _Case) -> list[Diagnostic]:
    match = re.search(r"but found '([]},])'", case.problem)
    if match is None or "flow" in case.context:
        return []
    message = f"this '{match[1]}' closes nothing" if match[1] != "," else "a comma separates only inside { } and [ ]"
    return [Diagnostic(message, case.here, "remove it")]


def _no_colon(case: _Case) -> list[Diagnostic]:
    if case.begun is None or "could not find expected ':'" not in case.problem:
        return []
    words = case.text(case.begun[0])[case.begun[1] - 1 :].split(" ", 1)
    hint = f"write '{words[0]}: {_cut(words[1])}'" if len(words) == 2 else f"write '{_cut(words[0])}: VALUE'"
    return [Diagnostic("a colon is missing", case.span(*case.begun, len(words[0])), hint)]


def _first_character(case: _Case) -> list[Diagnostic]:
    if "cannot start any token" not in case.problem:
        return []
    character = case.source.line(case.line)[case.column - 1 : case.column]
    return [Diagnostic(f"a text cannot begin with '{character}'", case.here, "put it in quotes")]


_RULES: tuple[Callable[[_Case], list[Diagnostic]], ...] = (
    _tab,
    _no_blank,
    _on_one_line,
    _key_without_colon,
    _indentation,
    _dollar_brace,
    _comma,
    _not_closed,
    _quote,
    _closes_nothing,
    _no_colon,
    _first_character,
)


def _as_told(case: _Case) -> Diagnostic:
    begun = f" (begun at line {case.begun[0]})" if case.begun else ""
    context = f" {case.context}{begun}," if case.context else ""
    return Diagnostic(f"not YAML:{context} {case.problem}".replace(":  ", ": "), case.here)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else "..."
