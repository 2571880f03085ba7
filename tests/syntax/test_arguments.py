"""Arguments of blocks: kinds, lists, and defaults that use other arguments."""

from __future__ import annotations

import pytest

from segspec.errors import Source
from segspec.syntax.blocks import read_blocks
from segspec.syntax.items import Scope, Use
from segspec.syntax.macros import expand
from segspec.syntax.tree import Mapping, Problems, Scalar, to_python
from segspec.syntax.yaml import parse_yaml


def grow(args: str, use: str, layer: str, params: str = "{}") -> tuple[list[object], Problems]:
    """The fields of the layers that come of one use of a block of one layer, and the mistakes."""
    text = (
        f"params: {params}\nblocks:\n  b:\n    args: {args}\n    layers:\n      - A: {layer}\nlayers:\n  - b: {use}\n"
    )
    root = parse_yaml(Source("x.yaml", text))
    assert isinstance(root, Mapping)
    problems = Problems()
    values, blocks, layers = root.get("params"), root.get("blocks"), root.get("layers")
    assert isinstance(values, Mapping) and blocks is not None and layers is not None
    items = expand(layers, read_blocks(blocks, problems), {key.text: value for key, value in values}, problems)
    uses = [part for item in items if isinstance(item, Scope) for part in item.body if isinstance(part, Use)]
    return [to_python(use.fields) for use in uses], problems


@pytest.mark.parametrize(
    ("args", "use", "layer", "fields"),
    [
        ("{out: int, mid: $out / 4}", "{out: 64}", "{n: $mid}", {"n": 16}),
        ("{out: int, mid: $out / 4}", "{out: 6, mid: 3}", "{n: $mid}", {"n": 3}),
        ("{pad: $dilation, dilation: 2}", "{}", "{n: $pad}", None),
        ("{dilation: 1, pad: $dilation, first: $pad}", "{dilation: 4}", "{n: $first}", {"n": 4}),
        ("{dilation: 1, pad: $dilation, first: $pad}", "{dilation: 4, pad: 0}", "{n: $first}", {"n": 0}),
        ("{i: int, path: x$i}", "{i: 3}", "{n: $path}", {"n": "x3"}),
        ("{i: int, on: $i > 2}", "{i: 3}", "{n: $on}", {"n": True}),
        ("{out: $wide}", "{}", "{n: $out}", {"n": 7}),
        ("{rates: list, first: $rates}", "{rates: [6, 12]}", "{n: $first}", {"n": (6, 12)}),
        ("{rates: [1, 2]}", "{}", "{n: $rates}", {"n": (1, 2)}),
        ("{rates: [1, 2]}", "{rates: []}", "{n: $rates}", {"n": ()}),
        ("{i: int, rates: [$i, 2 * $i]}", "{i: 3}", "{n: $rates}", {"n": (3, 6)}),
        ("{price: $$5}", "{}", "{n: $price}", {"n": "$5"}),
        ("{extra: null}", "{extra: [1]}", "{n: $extra}", {"n": (1,)}),
        ("{kind: 'list'}", "{}", "{n: $kind}", {"n": "list"}),
    ],
)
def test_a_default_may_be_a_list_and_use_arguments_before_it(
    args: str, use: str, layer: str, fields: dict[str, object] | None
) -> None:
    found, problems = grow(args, use, layer, "{wide: 7}")
    if fields is None:
        assert problems.found
    else:
        assert not problems.found
        assert found == [fields]


@pytest.mark.parametrize(
    ("args", "use", "message"),
    [
        ("{rates: list}", "{}", "block 'b' needs 'rates' (list)"),
        ("{out: int, mid: $out / 4}", "{}", "block 'b' needs 'out' (int)"),
        ("{rates: list}", "{rates: 6}", "argument 'rates' of block 'b' must be list, got 6"),
        ("{rates: [6]}", "{rates: 6}", "argument 'rates' of block 'b' must be like a list of 1, got 6"),
        ("{n: int}", "{n: [6]}", "argument 'n' of block 'b' must be int, got a list of 1"),
        ("{n: 3}", "{n: [6]}", "argument 'n' of block 'b' must be like 3, got a list of 1"),
        ("{out: int, mid: $out / 4}", "{out: 64, mid: x}", "argument 'mid' of block 'b' must be like 16, got 'x'"),
        ("{out: int, mid: $out / 4}", "{out: 6}", "'$out / 4': 6 / 4 is not a whole number"),
        ("{mid: $wid}", "{}", "nothing defines '$wid'"),
        ("{mid: $mid}", "{}", "the default of argument 'mid' uses itself"),
        ("{mid: $out, out: 3}", "{}", "the default of argument 'mid' uses 'out', which comes after it"),
        ("{mid: [1, $out], out: 3}", "{}", "the default of argument 'mid' uses 'out', which comes after it"),
        (
            "{mid: {a: 1}}",
            "{}",
            "argument 'mid' needs a kind (int, float, bool, str, ref, list) or a default value",
        ),
    ],
)
def test_mistakes_in_arguments(args: str, use: str, message: str) -> None:
    _, problems = grow(args, use, "{}", "{wide: 7}")
    assert [found.message for found in problems.found] == [message]


def test_a_default_that_comes_too_early_says_what_to_do() -> None:
    _, problems = grow("{mid: $out, out: 3}", "{}", "{}", "{out: 9}")
    assert problems.found[0].hint == "a default may use the arguments before it"


def test_a_mistake_in_a_default_shows_where_the_block_was_used() -> None:
    _, problems = grow("{mid: $wid}", "{}", "{n: $mid}", "{wide: 7}")
    rendered = problems.found[0].render()
    assert rendered.startswith("x.yaml:4:")
    assert "did you mean 'wide'?" in rendered
    assert "used at x.yaml:8: - b" in rendered


def test_a_default_hands_on_the_scope_of_a_name() -> None:
    text = (
        "blocks:\n"
        "  inner: {args: {of: ref, like: $of}, layers: [A: {size_of: $like}]}\n"
        "  outer: {args: {of: ref}, layers: [inner: {of: $of, name: i}]}\n"
        "layers: [outer: {name: o, of: e1}]\n"
    )
    root = parse_yaml(Source("x.yaml", text))
    assert isinstance(root, Mapping)
    problems = Problems()
    blocks, layers = root.get("blocks"), root.get("layers")
    assert blocks is not None and layers is not None
    (outer,) = expand(layers, read_blocks(blocks, problems), {}, problems)
    assert isinstance(outer, Scope)
    (inner,) = outer.body
    assert isinstance(inner, Scope)
    (use,) = inner.body
    assert isinstance(use, Use)
    name = use.fields.get("size_of")
    assert isinstance(name, Scalar)
    assert (name.value, name.scope) == ("e1", ())
    assert not problems.found
