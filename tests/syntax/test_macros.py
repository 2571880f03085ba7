"""Blocks, repeat, foreach, when, branches and arithmetic, as text in and structure out."""

from __future__ import annotations

import pytest

from segspec.errors import Source, SpecError
from segspec.syntax.arithmetic import ArithmeticMistake, UnknownName, substitute
from segspec.syntax.blocks import read_blocks
from segspec.syntax.items import Branches, Item, Scope, Use
from segspec.syntax.macros import expand
from segspec.syntax.tree import Mapping, Problems, to_python
from segspec.syntax.yaml import parse_yaml


def grow(text: str) -> tuple[tuple[Item, ...], Problems]:
    root = parse_yaml(Source("x.yaml", text))
    assert isinstance(root, Mapping)
    problems = Problems()
    blocks = root.get("blocks")
    params = root.get("params")
    values = {key.text: value for key, value in params} if isinstance(params, Mapping) else {}
    layers = root.get("layers")
    assert layers is not None
    return expand(layers, read_blocks(blocks, problems) if blocks else {}, values, problems), problems


def flat(items: tuple[Item, ...]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for item in items:
        match item:
            case Use(type=kind, fields=fields):
                found.append((kind.text, to_python(fields)))
            case Scope(body=body):
                found += flat(body)
            case Branches(branches=branches):
                for branch in branches:
                    found += flat(branch)
    return found


CBR = "blocks:\n  cbr:\n    args: {out: int, k: 3}\n    layers:\n      - Conv: {n: $out, k: $k}\n      - ReLU\n"


def test_a_block_takes_arguments_and_defaults() -> None:
    items, problems = grow(CBR + "layers:\n  - cbr: {out: 8}\n  - cbr: {out: 4, k: 1}\n")
    assert not problems.found
    assert flat(items) == [("Conv", {"n": 8, "k": 3}), ("ReLU", {}), ("Conv", {"n": 4, "k": 1}), ("ReLU", {})]


def test_unnamed_blocks_at_the_top_are_numbered_and_inner_ones_add_no_scope() -> None:
    text = (
        CBR + "  pair:\n    layers: [cbr: {out: 1}, cbr: {out: 2}]\nlayers:\n  - pair\n  - pair\n  - pair: {name: x}\n"
    )
    items, problems = grow(text)
    assert not problems.found
    assert [item.name for item in items if isinstance(item, Scope)] == ["pair1", "pair2", "x"]
    assert all(isinstance(part, Use) for item in items if isinstance(item, Scope) for part in item.body)


def test_a_block_without_scope_is_none_unless_it_is_named() -> None:
    plain = CBR.replace("    args", "    scope: false\n    args", 1)
    items, problems = grow(plain + "layers:\n  - cbr: {out: 8}\n  - cbr: {name: x, out: 4}\n")
    assert not problems.found
    assert [item.name if isinstance(item, Scope) else item.type.text for item in items] == ["Conv", "ReLU", "x"]


def test_whether_a_block_is_a_scope_is_a_truth_value() -> None:
    _, problems = grow(CBR.replace("    args", "    scope: maybe\n    args", 1) + "layers: []\n")
    assert "'scope' must be true or false" in problems.found[0].message


def test_repeat_and_when() -> None:
    items, _ = grow(
        "params: {n: 3, on: false}\nlayers:\n  - A: {repeat: $n - 1}\n  - B: {repeat: 0}\n  - C: {when: $on}\n"
    )
    assert [name for name, _ in flat(items)] == ["A", "A"]


def test_foreach_runs_its_lists_side_by_side() -> None:
    items, problems = grow(
        "layers:\n  - foreach: {i: [1, 2], w: [64, 128]}\n    do:\n      - A: {name: e$i, n: 2 * $w}\n"
    )
    assert not problems.found
    assert flat(items) == [("A", {"name": "e1", "n": 128}), ("A", {"name": "e2", "n": 256})]


def test_branches_keep_an_empty_branch() -> None:
    items, problems = grow("layers:\n  - sum:\n      - [A, B]\n      - []\n    name: joined\n")
    assert not problems.found
    (branches,) = items
    assert isinstance(branches, Branches)
    assert [len(branch) for branch in branches.branches] == [2, 0]
    assert branches.name is not None
    assert branches.name.text == "joined"


def test_a_loop_in_the_list_of_branches_makes_one_branch_a_row() -> None:
    loop = "- foreach: {i: [1, 2, 3], w: $widths}\n        do: [A: {n: $i}, B: {n: $w}]\n"
    items, problems = grow(f"params: {{widths: [4, 5, 6]}}\nlayers:\n  - concat:\n      - X\n      {loop}      - []\n")
    assert not problems.found
    (branches,) = items
    assert isinstance(branches, Branches)
    assert [flat(branch) for branch in branches.branches] == [
        [("X", {})],
        [("A", {"n": 1}), ("B", {"n": 4})],
        [("A", {"n": 2}), ("B", {"n": 5})],
        [("A", {"n": 3}), ("B", {"n": 6})],
        [],
    ]


def test_a_loop_inside_a_branch_is_a_chain() -> None:
    inner = "foreach: {i: [1, 2]}, do: [A: {n: $i}]"
    items, problems = grow(f"layers:\n  - sum: [[{{{inner}}}], {{foreach: {{j: [3]}}, do: [{{{inner}}}]}}]\n")
    assert not problems.found
    (branches,) = items
    assert isinstance(branches, Branches)
    assert [flat(branch) for branch in branches.branches] == [[("A", {"n": 1}), ("A", {"n": 2})]] * 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$n", 4),
        ("$n - 1", 3),
        ("2 * ($n + 1)", 10),
        ("$n / 2", 2),
        ("$n % 3", 1),
        ("-$n", -4),
        ("$n == 4", True),
        ("$n != 4", False),
        ("not $on", False),
        ("not ($n == 3)", True),
        ("not $n == 4", False),
        ("not not ($n > 2)", True),
        ("($n > 2) == $on", True),
        ("e$n", "e4"),
        ("${n}x", "4x"),
        ("$path/train.txt", "data/train.txt"),
        ("$$5", "$5"),
        ("$n$n", "44"),
        ("$n-$n", 0),
        ("$rate", "0.5"),
        ("r$rate", "r0.5"),
        ("$path/$rate", "data/0.5"),
        ("$n$$", "4$"),
        ("$$$$", "$$"),
        ("$ n", "$ n"),
        ("$n > 3", True),
        ("($n)", 4),
        ("$n-x", "4-x"),
        ("7 % $n * 2", 6),
        ("2 - -$n", 6),
        ("-7 / -7 * $n", 4),
    ],
)
def test_arithmetic_and_interpolation(text: str, value: object) -> None:
    assert substitute(text, {"n": 4, "on": True, "path": "data", "rate": 0.5}) == value


@pytest.mark.parametrize(
    "text", ["$n / 3", "$n / 0", "($n", "$n +", "$n * * 2", "10 * " * 30 + "10", "$rate * 2", "$n - $rate", "$big" * 2]
)
def test_wrong_arithmetic_is_said(text: str) -> None:
    with pytest.raises(ArithmeticMistake):
        substitute(text, {"n": 4, "rate": 0.5, "big": "x" * 6000})


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(UnknownName, match="m"):
        substitute("$m + 1", {"n": 4})


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("- cbr: {k: 3}", "block 'cbr' needs 'out' (int)"),
        ("- cbr: {out: 3, kk: 3}", "block 'cbr' has no argument 'kk'"),
        ("- cbr: {out: wide}", "argument 'out' of block 'cbr' must be int, got 'wide'"),
        ("- cbr: {out: true}", "argument 'out' of block 'cbr' must be int, got true"),
        ("- cbr: {out: $width}", "nothing defines '$width'"),
        ("- A: {repeat: many}", "'repeat' must be a whole number from 0 to 5000, got 'many'"),
        ("- A: {when: 3}", "'when' must be true or false, got 3"),
        ("- A: {name: x, repeat: 2}", "a repeated layer cannot have one name"),
        ("- A: 3", "'A' takes its fields as a mapping, got 3"),
        ("- [A]", "a layer is written '- Type: {...}', got a list of 1"),
        ("- A: {}\n    B: {}", "a layer has one type with its fields inside"),
        ("- foreach: {i: [1], j: [1, 2]}\n    do: []", "the lists of a foreach must have equal lengths"),
        ("- foreach: {i: 3}\n    do: []", "'i' of a foreach must be a list, such as [64, 128]"),
        ("- foreach: {i: [1], j: null}\n    do: []", "'j' of a foreach must be a list, such as [64, 128]"),
        ("- foreach: [1]\n    do: []", "foreach is written 'foreach: {i: [1, 2], w: [64, 128]}' with 'do: [...]'"),
        ("- sum: [[A]]", "'sum' needs a list of at least two branches"),
        ("- sum: []", "'sum' needs a list of at least two branches"),
        ("- sum: A", "'sum' needs a list of at least two branches"),
        ("- sum: [{foreach: {i: [1]}, do: [A]}]", "'sum' needs a list of at least two branches"),
        ("- sum: [{foreach: {i: []}, do: [A]}, []]", "'sum' needs a list of at least two branches"),
        ("- sum: [{foreach: {i: [1, 2]}, do: A}]", "layers are a list, one '- Type: {...}' each, got 'A'"),
        ("- sum: [{foreach: {i: [1, 2], j: [1]}, do: [A]}]", "the lists of a foreach must have equal lengths"),
        ("- sum: [{foreach: {i: [1, 2]}, do: [A], name: x}]", "beside 'foreach' only 'do' may stand"),
        ("- sum: [{foreach: {i: [1, 2]}, do: [A: {n: $j}]}]", "nothing defines '$j'"),
    ],
)
def test_mistakes_in_macros(layers: str, message: str) -> None:
    _, problems = grow(CBR + f"layers:\n  {layers}\n")
    assert [found.message for found in problems.found][:1] == [message]


def test_a_mistake_inside_a_block_shows_where_the_block_was_used() -> None:
    _, problems = grow("blocks:\n  b:\n    layers: [A: {repeat: x}]\nlayers:\n  - b\n")
    rendered = problems.found[0].render()
    assert rendered.splitlines()[0].startswith("x.yaml:3:")
    assert "used at x.yaml:5: - b" in rendered


def test_a_block_that_contains_itself_is_refused() -> None:
    with pytest.raises(SpecError, match=r"block 'a' contains itself \(a -> b -> a\)"):
        grow("blocks:\n  a: {layers: [b]}\n  b: {layers: [a]}\nlayers: [a]\n")


def test_an_explosion_is_refused_quickly() -> None:
    blocks = "".join(f"  b{i}: {{layers: [b{i + 1}: {{repeat: 100}}]}}\n" for i in range(9))
    with pytest.raises(SpecError, match="more than 5000 layers"):
        grow(f"blocks:\n{blocks}  b9: {{layers: [A]}}\nlayers: [b0]\n")
