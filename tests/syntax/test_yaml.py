"""YAML by the rules of 1.2, and what a spec must not contain."""

from __future__ import annotations

import math

import pytest

from segspec.errors import Source, SpecError
from segspec.syntax.tree import Mapping, Scalar, to_python
from segspec.syntax.yaml import MAX_DEPTH, parse_yaml


def read(text: str) -> object:
    return to_python(parse_yaml(Source("x.yaml", text)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("+3", 3),
        ("010", 10),
        ("0o17", 15),
        ("0x1f", 31),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("True", True),
        ("false", False),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("1_000", "1_000"),
        ("0b101", "0b101"),
        ("~", None),
        ("null", None),
        ("''", ""),
        ("'3'", "3"),
        ('"true"', "true"),
        ("-.inf", -math.inf),
        ("e1", "e1"),
        ("1e", "1e"),
        (".", "."),
        ("$n - 1", "$n - 1"),
        ("=", "="),
        ("NaN", "NaN"),
        ("Null", None),
        ("0x", "0x"),
        ("0o8", "0o8"),
        ("08", 8),
        ("1,000", "1,000"),
        ("12:30:45", "12:30:45"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("y", "y"),
        ("N", "N"),
        ("Off", "Off"),
        ("1.5.2", "1.5.2"),
        ("1e1.5", "1e1.5"),
        ("12e03", 12000.0),
        ("+.5e-1", 0.05),
        ("\u0663", "\u0663"),
        ("\uff13", "\uff13"),
        ("<<", "<<"),
        ("a:b", "a:b"),
        ("a#b", "a#b"),
        ("a  # b", "a"),
        ("'it''s'", "it's"),
        ('"\\u00e9\\t"', "é\t"),
        ("|\n  x\n  y", "x\ny"),
        (">\n  x\n  y", "x y"),
        ("x\n  y", "x y"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    found = read(f"a: {text}")
    assert isinstance(found, dict)
    assert found["a"] == value
    assert type(found["a"]) is type(value)


def test_nan_is_a_number() -> None:
    found = read("a: .nan")
    assert isinstance(found, dict)
    assert math.isnan(found["a"])


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a: 1\na: 2", 2, 1, "'a' is written twice (first at x.yaml:1)"),
        ("a: &x 1", 1, 4, "anchors are not part of the language (&x)"),
        ("a: *x", 1, 4, "aliases are not part of the language (*x)"),
        ("<<: 1", 1, 1, "merge keys (<<) are not part of the language"),
        (
            "a: !!python/object:os.system 1",
            1,
            4,
            "tags are not part of the language (tag:yaml.org,2002:python/object:os.system)",
        ),
        ("a: !x 1", 1, 4, "tags are not part of the language (!x)"),
        ("? [a]\n: b", 1, 3, "a key must be a plain word"),
        ("a:\n\t- b", 2, 1, "a tab cannot indent YAML"),
        ("a: 1\n---\nb: 2", 2, 1, "a second document begins"),
        ("a: " + "9" * 5000, 1, 4, "a number of 5000 digits is too large"),
        ("a: \x01", 1, 4, "the character U+0001 cannot stand in YAML"),
        ('a: "\\UFFFFFFFF"', 1, 7, "not YAML: a number here is too large"),
        ('a: "\\U00110000"', 1, 7, "not YAML: a number here is too large"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", 1, 9, "not YAML: a number here is too large"),
        ("%YAML 9.9\n---\na", 1, 1, "not YAML: found incompatible YAML document (version 1.* is required)"),
        ('a: "\\uD800"', 1, 4, "the character U+D800 cannot stand in a text"),
        ('a: "\\0"', 1, 4, "the character U+0000 cannot stand in a text"),
        ('a: "\\e[31m"', 1, 4, "the character U+001B cannot stand in a text"),
        ("a: 1e400", 1, 4, "a number above 1e308 is too large"),
        ("a: -1e400", 1, 4, "a number above 1e308 is too large"),
        ("a: 0x" + "f" * 30, 1, 4, "a number of 32 digits is too large"),
        ("a: !!binary x", 1, 4, "tags are not part of the language (tag:yaml.org,2002:binary)"),
        ("a: !!null x", 1, 4, "tags are not part of the language (tag:yaml.org,2002:null)"),
        ("a: {<<: {b: 1}}", 1, 5, "merge keys (<<) are not part of the language"),
        ("1: a\n'1': b", 2, 1, "'1' is written twice (first at x.yaml:1)"),
        ("true: a\nTrue: b", 2, 1, "'true' is written twice (first at x.yaml:1)"),
        ("{a: 1, a: 2}", 1, 8, "'a' is written twice (first at x.yaml:1)"),
        ("? {a: 1}\n: b", 1, 3, "a key must be a plain word"),
        ("a: b: c", 1, 4, "fields on the line of what they belong to need braces"),
        ("a: - b", 1, 4, "a list cannot begin with a dash on the line of its key"),
        ("a: @x", 1, 4, "a text cannot begin with '@'"),
        ("a\x85b: \x01", 2, 4, "the character U+0001 cannot stand in YAML"),
        ("a\r\nb: \x00", 2, 4, "the character U+0000 cannot stand in YAML"),
        ("a: 1\n...\n---\nb", 3, 1, "a second document begins"),
        ("[" * (MAX_DEPTH + 1), 1, MAX_DEPTH + 1, f"nested more than {MAX_DEPTH} levels deep"),
        ("a: [1, 2", 1, 4, "this '[' is not closed"),
    ],
)
def test_hazards_are_refused_at_their_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    first = caught.value.diagnostics[0]
    assert first.message == message
    assert first.span is not None
    assert (first.span.line, first.span.column) == (line, column)


def test_a_text_beyond_the_limit_is_not_looked_at() -> None:
    with pytest.raises(SpecError, match="characters are too many for YAML"):
        read("#" * 3 * 2**20)


def test_alias_bomb_is_refused_quickly() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    )
    with pytest.raises(SpecError, match="anchors are not part"):
        read(bomb)


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        read("a: &x 1\nb: *x\nc: !t 1\nd: 1\nd: 2\n")
    assert len(caught.value.diagnostics) == 4


@pytest.mark.parametrize("text", ["", "# only a comment\n", "   \n"])
def test_an_empty_file_is_said_to_be_empty(text: str) -> None:
    with pytest.raises(SpecError, match="the file is empty"):
        read(text)


def test_nodes_know_their_place() -> None:
    root = parse_yaml(Source("x.yaml", "a: 1\nlayers:\n  - Convolution: {num_output: 64}\n"))
    assert isinstance(root, Mapping)
    key = root.key("layers")
    assert isinstance(key, Scalar)
    assert (key.span.line, key.span.column, key.span.length) == (2, 1, 6)


def test_a_caret_stands_below_the_fault_in_a_line_with_tabs_and_long_lines_are_cut() -> None:
    with pytest.raises(SpecError) as caught:
        read("a: [" + "x, " * 200 + "&y 1]")
    lines = str(caught.value).splitlines()
    assert len(lines[1]) < 200
    assert lines[1][lines[2].index("^")] == "&"
