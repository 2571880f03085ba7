"""Protobuf text: everything met in files in the wild, and every mistake at its place."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.syntax.prototxt import MAX_DEPTH, is_prototxt, parse_prototxt
from segspec.syntax.tree import Mapping, Scalar, Sequence, read_source, to_python


def parse(text: str) -> Mapping:
    return parse_prototxt(Source("net.prototxt", text))


def value_of(text: str) -> Scalar:
    node = parse(f"a: {text}").get("a")
    assert isinstance(node, Scalar)
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        ("010", 8),
        ("0x1F", 31),
        ("2.", 2.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1e-3", 1e-3),
        ("1E+3", 1e3),
        ("1f", 1.0),
        ("0.25F", 0.25),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers(text: str, value: float) -> None:
    found = value_of(text).value
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(value_of("nan").value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "word", ["true", "false", "True", "False", "t", "f", "MAX", "TRAIN", "${NUM_LABELS}", "fc8_${EXP}"]
)
def test_words_stay_words(word: str) -> None:
    assert value_of(word) == Scalar(word, value_of(word).span)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a b"', "a b"),
        ("'a b'", "a b"),
        (r"'it\'s'", "it's"),
        (r'"say \"x\""', 'say "x"'),
        (r'"a\nb\tc\\d"', "a\nb\tc\\d"),
        (r'"\101\x42"', "AB"),
        (r'"\303\251"', "é"),
        ('"fc8_${EXP}"', "fc8_${EXP}"),
        ('"a" \'b\'\n  "c"', "abc"),
        ('"# no comment {"', "# no comment {"),
        ('""', ""),
        ('"3"', "3"),
        ('"über"', "über"),
    ],
)
def test_strings(text: str, value: str) -> None:
    node = value_of(text)
    assert node.value == value
    assert node.quoted


@pytest.mark.parametrize(
    "text",
    [
        "a { b: 1 }",
        "a{b:1}",
        "a: { b: 1 }",
        "a < b: 1 >",
        "a: < b: 1 >;",
        "a { b: 1, }",
        "a { b: 1; };",
        "\ufeffa\t{\r\n\tb: 1 # a comment with } and {\r\n}",
        "# { never closed\na { b: 1 }",
        "a {\rb: 1\r}",
    ],
)
def test_ways_to_write_a_message(text: str) -> None:
    assert to_python(parse(text)) == {"a": {"b": 1}}


def test_repeated_names_are_all_kept_in_order() -> None:
    keys = [(key.text, to_python(value)) for key, value in parse("dim: 1 dim: 3 name: 'x' dim: 5")]
    assert keys == [("dim", 1), ("dim", 3), ("name", "x"), ("dim", 5)]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("[1, 2.5]", (1, 2.5)),
        ("[]", ()),
        ("[1,]", (1,)),
        ("[MAX, 'x']", ("MAX", "x")),
    ],
)
def test_lists(text: str, items: tuple[object, ...]) -> None:
    node = parse(f"a: {text} c: 1").get("a")
    assert isinstance(node, Sequence)
    assert to_python(node) == items


@pytest.mark.parametrize("text", ["a: [{b: 1}, <b: 2>] c: 3", "a: [{b: 1}] a { b: 2 }; c: 3"])
def test_a_list_of_messages_is_the_messages_one_by_one(text: str) -> None:
    written = "a { b: 1 } a { b: 2 } c: 3"
    assert [(key.text, to_python(value)) for key, value in parse(text)] == [
        (key.text, to_python(value)) for key, value in parse(written)
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "\ufeff"])
def test_an_empty_text_is_an_empty_net(text: str) -> None:
    assert parse(text).entries == ()


def test_every_node_knows_its_place() -> None:
    tree = parse("name: 'n'\r\nlayer {\r\n\tparam { lr_mult: 10 }\r\n}")
    layer = tree.get("layer")
    assert isinstance(layer, Mapping)
    assert str(layer.span) == "net.prototxt:2:7"
    param = layer.get("param")
    assert isinstance(param, Mapping)
    key, value = param.entries[0]
    assert (key.span.line, key.span.column, key.span.length) == (3, 10, 7)
    assert (value.span.line, value.span.column, value.span.length) == (3, 19, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer {\n  name: 'x'\n", "1:7: the text ends before 'layer' is closed"),
        ("a { } }", "1:7: '}' closes nothing"),
        ("a { b < c: 1 } >", "1:14: '}' cannot close 'b', opened at net.prototxt:1"),
        ("name 'x'", "1:6: ':' or '{' must follow 'name', got a string"),
        ("name", "1:5: ':' or '{' must follow 'name', got the end of the text"),
        ("a { pad: }", "1:10: 'pad' needs a value, got '}'"),
        ("pad:", "1:5: the text ends where the value of 'pad' should stand"),
        ("name: 'x\ny: 1", "1:7: this quote is not closed on its line"),
        ("name: 'x\\\n'", "1:7: this quote is not closed on its line"),
        ("pad: 3x", "1:6: '3x' is not a number"),
        ("pad: 018", "1:6: '018' is not a number"),
        ("pad: 1e", "1:6: '1e' is not a number"),
        ("pad: " + "1" * 500, f"1:6: '{'1' * 40}...' is not a number"),
        ("a: [1 2]", "1:7: ',' or ']' must follow a value of a list, got '2'"),
        ("a: [1, 2", "1:4: the text ends before 'a' is closed"),
        ("a: [[1]]", "1:5: 'a' needs a value, got '['"),
        ("a: 1,,", "1:6: the name of a field must stand here, got ','"),
        ("1: 2", "1:1: the name of a field must stand here, got '1'"),
        ("[ext]: 2", "1:1: extensions in brackets are not known here"),
        ("a: é", "1:4: the character U+00E9 cannot stand here"),
        ("a: 1\x00", "1:5: the character U+0000 cannot stand here"),
        (r"source: 'C:\data'", r"1:9: '\d' means nothing in a string"),
        (r"a: '\777'", r"1:4: '\777' means nothing in a string"),
        (r"a: '\xff'", "1:4: this string is not UTF-8 text"),
        ("a {" * (MAX_DEPTH + 1), f"1:{3 * MAX_DEPTH + 3}: nested more than {MAX_DEPTH} levels deep"),
    ],
)
def test_a_mistake_is_one_message_at_its_place(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert str(caught.value).splitlines()[0] == f"net.prototxt:{message}"


def test_the_hint_stands_under_the_caret() -> None:
    with pytest.raises(SpecError) as caught:
        parse(r"source: 'C:\data'")
    assert str(caught.value).splitlines()[2] == r"    |         ^^^^^^^^^ a backslash itself is written '\\'"


def test_deep_nesting_up_to_the_limit_is_read() -> None:
    assert parse("a {" * MAX_DEPTH + "}" * MAX_DEPTH).entries


def test_a_long_net_is_read_quickly() -> None:
    layer = (
        "layer { name: 'conv' type: 'Convolution' bottom: 'a' top: 'b' param { lr_mult: 1 } param { lr_mult: 2 }\n"
        "  convolution_param { num_output: 64 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } } }\n"
    )
    start = time.process_time()
    assert len(parse(layer * 1400).entries) == 1400
    assert time.process_time() - start < 3, "0.4 s on the machine this was written on"


def test_every_file_of_the_corpus_is_read(shared: Path) -> None:
    paths = sorted((shared / "corpus").rglob("*.prototxt"))[::4]
    assert paths
    assert all(parse_prototxt(read_source(path)).entries for path in paths)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("net.prototxt", True),
        ("net.prototxt~", True),
        ("net.prototxt.in", True),
        ("net.prototxt.yaml", False),
        ("net.prototxt.yml", False),
        ("net.yaml", False),
    ],
)
def test_a_prototxt_is_told_by_its_name(name: str, told: bool) -> None:
    assert is_prototxt(Path(name)) is told
