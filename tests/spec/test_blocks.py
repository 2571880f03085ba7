"""Libraries of blocks that use other libraries."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import SpecError
from segspec.spec.net import load_net


def types(folder: Path, libraries: dict[str, str], use: str, layers: str, more: str = "") -> list[str]:
    """The types of the layers of a net that uses libraries."""
    for name, text in libraries.items():
        path = folder / "nets/blocks" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    net = folder / "nets/net.yaml"
    net.parent.mkdir(exist_ok=True)
    net.write_text(f"segspec: 1\nuse: {use}\n{more}layers: {layers}\n")
    return [layer.layer.type for layer in load_net(net).layers]


def mistakes(folder: Path, libraries: dict[str, str], use: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        types(folder, libraries, use, "[ReLU]")
    return [diagnostic.message for diagnostic in caught.value.diagnostics]


def test_a_library_may_use_another(tmp_path: Path) -> None:
    libraries = {"far": "a: {layers: [ReLU]}\n", "near": "use: [far]\nb: {layers: [a, TanH]}\n"}
    assert types(tmp_path, libraries, "near", "[b, a]") == ["ReLU", "TanH", "ReLU"]


def test_libraries_of_libraries_are_found_beside_them_then_beside_the_spec_then_among_those_shipped(
    tmp_path: Path,
) -> None:
    parts = tmp_path / "nets/parts"
    parts.mkdir(parents=True)
    (parts / "odd.yaml").write_text("use: [even.yaml, beside, aspp]\nb: {layers: [a, c, conv_bn: {out: 8}]}\n")
    (parts / "even.yaml").write_text("a: {layers: [ReLU]}\n")
    libraries = {"beside": "c: {layers: [TanH]}\n"}
    assert types(tmp_path, libraries, "parts/odd.yaml", "[b]") == ["ReLU", "TanH", "Convolution", "BatchNorm"]


def test_two_libraries_may_use_the_same(tmp_path: Path) -> None:
    libraries = {
        "base": "a: {layers: [ReLU]}\n",
        "left": "use: base\nl: {layers: [a]}\n",
        "right": "use: [base]\nr: {layers: [a]}\n",
    }
    assert types(tmp_path, libraries, "[left, right, base]", "[l, r]") == ["ReLU", "ReLU"]


def test_what_is_nearer_to_the_spec_wins(tmp_path: Path) -> None:
    libraries = {
        "base": "a: {layers: [ReLU]}\n",
        "mine": "a: {layers: [TanH]}\n",
        "user": "use: [base]\nb: {layers: [a]}\n",
        "own": "use: [base]\na: {layers: [Sigmoid]}\n",
    }
    assert types(tmp_path, libraries, "[mine, user]", "[b]") == ["TanH"]
    assert types(tmp_path, libraries, "[own]", "[a]") == ["Sigmoid"]
    assert types(tmp_path, libraries, "[user, base]", "[b]", "blocks: {a: {layers: [BNLL]}}\n") == ["BNLL"]


@pytest.mark.parametrize(
    ("libraries", "message"),
    [
        ({"a": "use: [a]\n"}, "block library 'a' uses itself (a -> a)"),
        ({"a": "use: [b]\n", "b": "use: [c]\n", "c": "use: [a]\n"}, "block library 'a' uses itself (a -> b -> c -> a)"),
        ({"a": "use: [b]\n", "b": "use: [c]\n", "c": "use: [b]\n"}, "block library 'b' uses itself (b -> c -> b)"),
        ({"a": "use: [b]\n", "b": "use: [../blocks/a.yaml]\n"}, None),
        ({"a": "use: [z]\n"}, "no block library 'z' (looked for blocks/z.yaml)"),
        ({"a": "use: {b: 1}\n"}, "'use' is a list of block libraries, got a mapping"),
        ({"a": "use: [[b]]\n"}, "'use' is a list of block libraries, got a list of 1"),
        ({"a": "- b\n"}, "'blocks' must be a mapping of names to blocks, got a list of 1"),
        ({"a": "use: [b]\n", "b": "x: {}\n"}, "block 'x' needs 'layers: [...]'"),
        ({"a": "use: [b]\n", "b": "ReLU: {layers: []}\n"}, "'ReLU' is a layer type; a block needs another name"),
        (
            {"a": "use: [n1]\n", **{f"n{i}": f"use: [n{i + 1}]\n" for i in range(1, 40)}},
            "block libraries use each other more than 30 deep",
        ),
    ],
)
def test_mistakes_in_libraries_of_libraries(tmp_path: Path, libraries: dict[str, str], message: str | None) -> None:
    circle = "block library '../blocks/a.yaml' uses itself (a -> b -> ../blocks/a.yaml)"
    assert mistakes(tmp_path, libraries, "[a]") == [message or circle]


def test_a_circle_is_shown_where_it_closes(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        types(tmp_path, {"a": "use: [b]\n", "b": "# a library\nuse: [a]\n"}, "[a]", "[ReLU]")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.span is not None
    assert diagnostic.span.place == f"{tmp_path / 'nets/blocks/b.yaml'}:2"
    assert diagnostic.hint == "move what both need into a library of its own"


def test_use_is_a_word_that_no_block_can_have(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'use' is a word of the language; a block needs another name"):
        types(tmp_path, {}, "[vgg]", "[ReLU]", "blocks: {use: {layers: [ReLU]}}\n")
