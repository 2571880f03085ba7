"""How a mistake is shown: the caret below the fault, whatever the line holds, and nothing that steers a terminal."""

from __future__ import annotations

import time

import pytest

from segspec.errors import (
    DataError,
    Diagnostic,
    RunError,
    SegspecError,
    Source,
    Span,
    SpecError,
    UsageError,
    WeightsError,
    did_you_mean,
    printable,
)


def shown(text: str, column: int, length: int = 1, hint: str = "", line: int = 1, message: str = "wrong") -> list[str]:
    span = Span(Source("x.yaml", text), line, column, length)
    return Diagnostic(message, span, hint).render().splitlines()


def test_place_message_line_caret_and_hint() -> None:
    assert shown("a: 1\nbcd: 2\n", 2, 2, "remove it", line=2) == [
        "x.yaml:2:2: wrong",
        "  2 | bcd: 2",
        "    |  ^^ remove it",
    ]


def test_the_gutter_is_as_wide_as_the_number() -> None:
    lines = shown("x\n" * 1000, 1, line=1000)
    assert lines[1:] == ["  1000 | x", "       | ^"]


def test_a_tab_before_the_fault_stays_a_tab() -> None:
    assert shown("\ta:\tb", 5)[1:] == ["  1 | \ta:\tb", "    | \t  \t^"]


@pytest.mark.parametrize(
    ("text", "column", "length", "caret"),
    [
        ("日本: x", 5, 1, "      ^"),  # each of the two takes two columns
        ("a: 日本", 4, 2, "   ^^^^"),
        ("e\u0301: x", 5, 1, "   ^"),  # a combining accent takes none
        ("\uff46\uff55\uff4c\uff4c x", 6, 1, "         ^"),
        ("äöü: x", 6, 1, "     ^"),
        ("🙂 x", 3, 1, "   ^"),
    ],
)
def test_the_caret_counts_columns_of_the_terminal(text: str, column: int, length: int, caret: str) -> None:
    assert shown(text, column, length)[2] == f"    | {caret}"


@pytest.mark.parametrize(("column", "length"), [(1, 1), (500, 7), (3990, 10), (4000, 1), (4001, 1)])
def test_a_long_line_is_cut_around_the_fault(column: int, length: int) -> None:
    text = "".join(chr(97 + index % 26) for index in range(4000))
    line, caret = shown(text, column, length)[1:]
    assert len(line) <= 170
    start = caret.index("^")
    assert line[start : start + length] == text[column - 1 : column - 1 + length]


def test_a_fault_longer_than_its_line_or_behind_it_still_has_a_caret() -> None:
    assert shown("ab", 2, 50)[2] == "    |  ^"
    assert shown("ab", 3)[2] == "    |   ^"
    assert shown("ab", 1, line=7)[1:] == ["  7 | ", "    | ^"]


@pytest.mark.parametrize("nasty", ["\x1b[31mred", "\x07", "\r", "\x00", "\u202e", "\ud800", "\x9b31m", "\u200b"])
def test_nothing_that_steers_a_terminal_is_printed(nasty: str) -> None:
    source = Source(f"x{nasty}.yaml", f"a{nasty}b")
    span = Span(source, 1, 1, 1, Span(source, 1, 1))
    for found in (Diagnostic(f"m{nasty}", span, f"h{nasty}"), Diagnostic(f"m{nasty}", None, f"h{nasty}", f"p{nasty}")):
        text = found.render()
        assert text == printable(text)
        assert text.encode()
        assert all(character.isprintable() or character == "\n" for character in text)


def test_a_name_as_long_as_a_book_is_cut() -> None:
    lines = shown("x", 1, message="unknown " + "a" * 10**6 + "\n  details", hint="h" * 10**6)
    assert max(map(len, lines)) < 600
    assert lines[1] == "  details"


def test_the_uses_that_led_to_a_place_are_listed_inside_out() -> None:
    library, spec = Source("lib.yaml", "block\n"), Source("net.yaml", "one\n  two: {a: 1}\n")
    span = Span(library, 1, 1, 5, Span(library, 1, 1, 5, Span(spec, 2, 3)))
    assert Diagnostic("wrong", span).render().splitlines()[3:] == [
        "    = used at lib.yaml:1: block",
        "    = used at net.yaml:2: two: {a: 1}",
    ]


def test_without_a_span_the_place_stands_in_front_and_the_hint_below() -> None:
    assert Diagnostic("wrong", hint="do this", place="a.png").render() == "a.png: wrong\n  do this"
    assert Diagnostic("wrong").render() == "wrong"


def test_warnings_say_so() -> None:
    assert Diagnostic("odd", place="a.png", severity="warning").render() == "a.png: warning: odd"
    assert (
        Diagnostic("odd", Span(Source("x", "y"), 1, 1), severity="warning").render().startswith("x:1:1: warning: odd\n")
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [(SegspecError, 1), (SpecError, 2), (UsageError, 2), (DataError, 1), (WeightsError, 1), (RunError, 1)],
)
def test_an_error_carries_everything_that_was_found(error: type[SegspecError], code: int) -> None:
    several = error(Diagnostic(word, place=f"{word}.png") for word in ("one", "two"))
    assert str(several) == "one.png: one\ntwo.png: two"
    assert [found.message for found in several.diagnostics] == ["one", "two"]
    assert error("text", hint="h", place="p").diagnostics == (Diagnostic("text", None, "h", "p"),)
    assert error.exit_code == code


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85"])
def test_lines_end_as_the_parser_thinks(end: str) -> None:
    source = Source("x", f"one{end}two{end}")
    assert (source.line(1), source.line(2), source.line(3), source.line(0)) == ("one", "two", "", "")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("kernal_size", "did you mean 'kernel_size'?"),
        ("KERNEL_SIZE", "did you mean 'kernel_size'?"),
        ("stirde", "did you mean 'stride'?"),
        ("banana", ""),
        ("", ""),
        ("kernel_size" * 100, ""),
    ],
)
def test_the_nearest_name_is_offered(word: str, hint: str) -> None:
    assert did_you_mean(word, ["kernel_size", "stride", "pad"]) == hint


def test_looking_for_the_nearest_of_very_many_names_is_quick() -> None:
    names = [f"layer{index}" for index in range(50_000)]
    start = time.process_time()
    did_you_mean("leyer7", names)
    did_you_mean("l" * 10**6, names)
    assert time.process_time() - start < 2
