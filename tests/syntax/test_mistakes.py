"""The usual mistakes of YAML's syntax, each in the writer's words; more of them are in `tests/golden/specs`."""

from __future__ import annotations

from contextlib import suppress

import hypothesis
import hypothesis.strategies as st
import pytest

from segspec.errors import Source, SpecError
from segspec.syntax.yaml import parse_yaml


def found(text: str) -> list[tuple[str, str, str]]:
    """Place, message and hint of each mistake."""
    with pytest.raises(SpecError) as caught:
        parse_yaml(Source("x.yaml", text))
    diagnostics = [(each, each.span) for each in caught.value.diagnostics]
    return [(f"{span.line}:{span.column}", each.message, each.hint) for each, span in diagnostics if span is not None]


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("a:\t1", "1:3", "a tab cannot stand here", "use spaces"),
        ("a:\n  -\tb", "2:4", "a tab cannot stand here", "use spaces"),
        ("a:\n\tb: 1\n\tc: 1", "2:1", "a tab cannot indent YAML", "use spaces; 1 more line is"),
        (" a: 1\nb: 2", "1:2", "this line is indented by 1, its neighbours by 0", "indent it by 0"),
        ("a: 1\n  b: 2", "2:3", "this line is indented by 2, its neighbours by 0", "indent it by 0"),
        ("a:\n  - b\n  - c\n - d", "4:2", "this line is indented by 1, its neighbours by 2", "indent it by 2"),
        ("a:\n  - b  # c\n\n  # e\n - d", "5:2", "this line is indented by 1, its neighbours by 2", "indent it by 2"),
        ("a:\n  - - b: 1\n      c: 2\n     d: 3", "4:6", "this line is indented by 5, its neighbours by 6",
         "indent it by 6"),
        ("a: - b", "1:4", "a list cannot begin with a dash on the line of its key",
         "write 'a: [...]', or put each item on a line of its own"),
        ("a: {b: 1,\n    c: 2\nd: {e: 3}", "1:4", "this '{' is not closed",
         "add '}' where it ends, or a comma is missing above line 3"),
        ("a: [1, 2\n", "1:4", "this '[' is not closed", "add ']' where it ends"),
        ("a: {b: 1,\n  c: 2 d: 3}", "2:8", "a comma is missing before 'd'", ""),
        ("a: {b: x${i}_$j, c: 1}", "1:8", "a text with '${' needs quotes inside braces", 'write "x${i}_$j"'),
        ("a: [${i}/x]", "1:5", "a text with '${' needs quotes inside braces", 'write "${i}/x"'),
        ("a: {b: x${i}/y${j}_3}", "1:8", "a text with '${' needs quotes inside braces", 'write "x${i}/y${j}_3"'),
        ("a: [1]]", "1:7", "this ']' closes nothing", "remove it"),
        ("a: 'b", "1:4", "this quote is not closed", "add ' where the text ends"),
        ("a: 1\nb\n", "2:1", "a colon is missing", "write 'b: VALUE'"),
        ("a: `b`", "1:4", "a text cannot begin with '`'", "put it in quotes"),
        ("a:1", "1:1", "the file holds one text instead of fields",
         "a blank is missing after the colon: write 'a: 1'"),
        ("{a=3}", "1:2", "'a=3' is no field", "write 'a: 3'"),
    ],
)  # fmt: skip
def test_the_cause_is_told_at_its_place(text: str, place: str, message: str, hint: str) -> None:
    assert found(text) == [(place, message, hint)]


def test_every_missing_blank_is_told_at_once() -> None:
    text = "a:1\nb: 2\nc:\n  d:3\n  e: 4\n"
    assert [place for place, *_ in found(text)] == ["1:2", "4:4"]


@pytest.mark.parametrize(
    "text", ["a: http://x:80/y", "a: C:\\x", "a: {b: 'c:d'}", "a: b\n  c d", "a: 12:30", "{a: , b: }", "a:\n- b\n- c"]
)
def test_what_only_looks_like_a_mistake_is_read(text: str) -> None:
    assert parse_yaml(Source("x.yaml", text))


@hypothesis.given(st.lists(st.sampled_from([*" \t\n-:,{}[]'\"#=ab1", "\n  ", "- ", ": ", "a:1", "\x85"]), max_size=60))
def test_any_text_is_read_or_explained(parts: list[str]) -> None:
    with suppress(SpecError):
        parse_yaml(Source("x.yaml", "".join(parts)))
