"""Nodes of the tree, what they are called in messages, and the collecting of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source, Span, SpecError
from segspec.syntax import tree
from segspec.syntax.tree import (
    MAX_FOUND,
    Mapping,
    Problems,
    Scalar,
    Sequence,
    describe,
    extent,
    read_source,
    through,
    to_python,
)
from segspec.syntax.yaml import parse_yaml

SOURCE = Source("x.yaml", "a: [1, {b: text}]\n")


def root() -> Mapping:
    node = parse_yaml(SOURCE)
    assert isinstance(node, Mapping)
    return node


def test_a_mapping_gives_the_last_value_of_a_key() -> None:
    span = Span(SOURCE, 1, 1)
    node = Mapping(tuple((Scalar("k", span), Scalar(value, span)) for value in (1, 2)), span)
    found = node.get("k")
    assert isinstance(found, Scalar)
    assert found.value == 2
    assert to_python(node) == {"k": 2}
    assert node.get("other") is None
    assert node.key("other") is None
    assert node.without("k").entries == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: x", "'x'"),
        ("a: " + "x" * 50, "'" + "x" * 37 + "...'"),
        ("a: 3", "3"),
        ("a: true", "true"),
        ("a:", "null"),
        ("a: [1, 2]", "a list of 2"),
        ("a: {b: 1}", "a mapping"),
    ],
)
def test_nodes_in_words(text: str, words: str) -> None:
    node = parse_yaml(Source("x.yaml", text))
    assert isinstance(node, Mapping)
    found = node.get("a")
    assert found is not None
    assert describe(found) == words


def test_extent_counts_values_and_levels() -> None:
    assert extent(root()) == (5, 4)
    assert extent(Sequence((), Span(SOURCE, 1, 1))) == (1, 1)


def test_through_keeps_every_place_and_adds_where_it_was_used() -> None:
    first, second = Span(SOURCE, 7, 1), Span(SOURCE, 9, 1)
    once = through(root(), first)
    twice = through(once, second)
    assert to_python(twice) == to_python(root())
    assert isinstance(twice, Mapping)
    value = twice.get("a")
    assert isinstance(value, Sequence)
    spans = [twice.span, twice.entries[0][0].span, value.span, value.items[1].span]
    for span in spans:
        assert span.via is not None
        assert (span.line, span.via.line, span.via.via and span.via.via.line) == (1, 7, 9)


def test_mistakes_are_sorted_by_place() -> None:
    problems = Problems()
    problems.raise_any()
    for line, column in ((3, 1), (1, 9), (1, 2)):
        problems.add(f"{line}:{column}", Span(SOURCE, line, column))
    with pytest.raises(SpecError) as caught:
        problems.raise_any()
    assert [found.message for found in caught.value.diagnostics] == ["1:2", "1:9", "3:1"]


def test_of_very_many_mistakes_the_first_are_shown() -> None:
    problems = Problems()
    for line in range(1, MAX_FOUND):
        problems.add("x", Span(SOURCE, line, 1))
    with pytest.raises(SpecError) as caught:
        problems.add("x", Span(SOURCE, MAX_FOUND, 1))
    assert len(caught.value.diagnostics) == MAX_FOUND + 1


def test_the_same_mistake_met_again_is_told_once() -> None:
    problems = Problems()
    for via in (2, 3):
        problems.add("x", Span(SOURCE, 1, 1, 1, Span(SOURCE, via, 1)))
    problems.add("y", Span(SOURCE, 1, 1))
    assert [found.message for found in problems.found] == ["x", "y"]
    assert problems.count == 3


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 10)
    path = tmp_path / "x.yaml"
    path.write_text("a" * 11)
    with pytest.raises(SpecError, match="11 bytes are too many for a text file; the limit is 10"):
        read_source(path)
