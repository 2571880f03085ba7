"""Small texts that stand for endless work: each is refused, or done, at once and in little memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from segspec.errors import SegspecError, Source
from segspec.graph.check import check
from segspec.spec.net import read_net

SECONDS = 1.0
"""Ten times what a bomb may take on a machine that does nothing else; one that is not defused takes minutes."""

LEAF = "  b%d: {layers: [ReLU]}\nlayers: [b0]\n"


def chain(levels: int, inner: str, leaf: str = LEAF) -> str:
    """Blocks of which each uses the next, in a way that multiplies."""
    return (
        "blocks:\n"
        + "".join(f"  b{i}: {{layers: [{inner.replace('NEXT', f'b{i + 1}')}]}}\n" for i in range(levels))
        + leaf % levels
    )


def loops(depth: int, rows: int) -> str:
    text = "layers:\n"
    for level in range(depth):
        text += (
            " " * (2 + 4 * level) + f"- foreach: {{i{level}: {list(range(rows))}}}\n" + " " * (4 + 4 * level) + "do:\n"
        )
    return text + " " * (2 + 4 * depth) + "- ReLU\n"


def params(first: str, further: str, levels: int, use: str) -> str:
    lines = [f"  a0: {first}\n"] + [f"  a{i}: {further.replace('BEFORE', f'$a{i - 1}')}\n" for i in range(1, levels)]
    return "params:\n" + "".join(lines) + f"layers: [{use.replace('LAST', f'$a{levels - 1}')}]\n"


def branches(depth: int, inner: str) -> str:
    return "{sum: [[" * depth + inner + "], []]}" * depth


CONV = "layers: [Convolution: {num_output: %s, kernel_size: %s, stride: %s, pad: %s, dilation: %s, group: %s}]\n"
BIG = "999999999999999999"
BOMBS: dict[str, str] = {
    "a layer repeated beyond the limit": "layers: [ReLU: {repeat: 999999999999}]\n",
    "layers repeated below the limit": "layers: [" + "ReLU: {repeat: 4999}, " * 40 + "]\n",
    "blocks that repeat blocks": chain(9, "NEXT: {repeat: 100}"),
    "blocks that repeat blocks within the limit each": chain(28, "NEXT: {repeat: 2}"),
    "blocks that use blocks twice": chain(28, "NEXT, NEXT"),
    "empty blocks that are used twice": chain(28, "NEXT, NEXT", "  b%d: {layers: []}\nlayers: [b0]\n"),
    "blocks with a layer that is never there": chain(28, "NEXT, NEXT", "  b%d: {layers: [ReLU: {when: false}]}\nlayers: [b0]\n"),  # noqa: E501
    "blocks with a wrong layer": chain(28, "NEXT, NEXT", "  b%d: {layers: [Nope]}\nlayers: [b0]\n"),
    "blocks with a missing argument": chain(28, "NEXT, NEXT", "  b%d: {args: {k: int}, layers: [ReLU]}\nlayers: [b0]\n"),  # noqa: E501
    "named blocks": chain(28, "NEXT: {name: x}, NEXT: {name: y}"),
    "blocks too deep": chain(200, "NEXT"),
    "blocks that use themselves": "blocks: {a: {layers: [a, a]}}\nlayers: [a]\n",
    "blocks that use each other": "blocks: {a: {layers: [b, b]}, b: {layers: [a, a]}}\nlayers: [a]\n",
    "branches in blocks": chain(28, branches(11, "NEXT")),
    "branches that use blocks": chain(28, "{sum: [NEXT, NEXT, NEXT]}"),
    "loops in loops": loops(8, 10),
    "loops in loops with few rows": loops(8, 3),
    "a loop in a block in a loop": chain(20, "{foreach: {i: [1, 2, 3]}, do: [NEXT]}"),
    "a loop over a long list": "params: {a: [" + "1," * 500 + "]}\nlayers:\n" + "  - foreach: {i: $a}\n    do: [ReLU: {repeat: 100}]\n",  # noqa: E501
    "texts that grow": params("xxxxxxxxxx", "BEFORE" * 10, 30, "ReLU: {name: LAST}"),
    "lists that grow": params("[1]", "[" + "BEFORE, " * 10 + "]", 30, "Slice: {slice_point: LAST}"),
    "mappings that grow": params("{a: 1}", "{a: BEFORE, b: BEFORE, c: BEFORE}", 30, "Slice: {slice_point: LAST}"),
    "lists that deepen": params("[1]", "[BEFORE]", 300, "Slice: {slice_point: LAST}"),
    "a big list in every layer": params("[" + "1, " * 200 + "]", "BEFORE", 2, "Slice: {slice_point: LAST, repeat: 4000}"),  # noqa: E501
    "a big list in a block": "blocks: {b: {layers: [Slice: {slice_point: [" + "1," * 200 + "]}]}, c: {layers: [" + "b, " * 60 + "]}}\nlayers: [" + "c, " * 60 + "]\n",  # noqa: E501
    "numbers that grow": params("999999999", "BEFORE * 999999999", 30, "ReLU: {repeat: LAST}"),
    "a number of many digits": "layers: [ReLU: {repeat: " + "9" * 5000 + "}]\n",
    "an expression of many signs": "params: {n: 1}\nlayers: [ReLU: {repeat: " + "-" * 3000 + "$n}]\n",
    "an expression of many parentheses": "params: {n: 1}\nlayers: [ReLU: {repeat: " + "(" * 3000 + "$n}]\n",
    "an expression of many terms": "params: {n: 1}\nlayers: [ReLU: {repeat: " + "$n + " * 3000 + "$n}]\n",
    "brackets": "layers: " + "[" * 3000,
    "braces": "layers: " + "{a: " * 3000,
    "dashes": "layers:\n" + "- " * 3000,
    "questions": "? " * 3000,
    "aliases": "a: &a [x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)),  # noqa: E501
    "many anchors": "layers: [" + "&a x, " * 500 + "]\n",
    "a long word": "layers: [" + "a" * 20_000 + "]\n",
    "a long reference": "layers: [ReLU: {bottom: " + "a" * 20_000 + "}]\n",
    "a long name of a class table": "classes: " + "a" * 20_000 + "\nlayers: [ReLU]\n",
    "a long line": "layers: [" + "ReLU, " * 500 + "]\n",
    "many wrong references": "layers: [" + "ReLU: {repeat: 1000}, " * 4 + "ReLU: {bottom: rulu, repeat: 900}]\n",
    "a huge number of filters": CONV % (BIG, 1, 1, 0, 1, 1),
    "a huge kernel": CONV % (1, BIG, 1, 0, 1, 1),
    "a huge kernel that fits": CONV % (1, "999999999999999", 1, "same", 1, 1),
    "a huge stride": CONV % (1, 1, BIG, 0, 1, 1),
    "huge padding": CONV % (1, 1, 1, BIG, 1, 1),
    "a huge dilation": CONV % (1, 3, 1, 0, BIG, 1),
    "huge groups": CONV % (BIG, 1, 1, 0, 1, BIG),
    "a huge pooling": f"layers: [Pooling: {{kernel_size: {BIG}, stride: {BIG}}}]\n",
    "huge strides one after the other": f"layers: [Pooling: {{kernel_size: 1, stride: {BIG}, repeat: 900}}]\n",
    "a huge enlargement": "layers: [PoolingMask, Upsample: {mask: pool1, scale: " + BIG + "}]\n",
    "a huge interpolation": f"layers: [Interp: {{height: {BIG}, width: {BIG}}}]\n",
    "a huge deconvolution": f"layers: [Deconvolution: {{num_output: 1, kernel_size: 1, stride: {BIG}}}]\n",
    "huge tiles": f"layers: [Tile: {{tiles: {BIG}}}]\n",
    "a doubling of channels": "layers: [Concat: {bottom: [data, data]}, " + "".join(f"Concat: {{bottom: [concat{i}, concat{i}]}}, " for i in range(1, 80)) + "]\n",  # noqa: E501
    "a huge product": f"layers: [InnerProduct: {{num_output: {BIG}}}]\n",
    "a huge neighbourhood": f"layers: [LRN: {{local_size: {BIG}}}]\n",
    "a huge embedding": f"layers: [Embed: {{num_output: {BIG}, input_dim: {BIG}}}]\n",
    "a huge batch": f"data: {{train: {{type: SyntheticSquares, batch_size: {BIG}}}}}\nlayers: [ReLU]\n",
    "a huge image": f"input: {{height: {BIG}, width: {BIG}}}\nlayers: [ReLU]\n",
    "many classes": "classes: 999999\nlayers: [ReLU]\n",
    "a net of the greatest length": "layers: [ReLU: {repeat: 1300}]\n",
}  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def attempt(text: str) -> SegspecError | None:
    size = None if "input:" in text else (64, 64)
    try:
        check(read_net(Source("x.yaml", "segspec: 1\n" + text), Path("nowhere")), size)
    except SegspecError as error:
        return error
    return None


def test_there_are_enough_bombs() -> None:
    attempt("layers: [ReLU]\n")
    assert len(BOMBS) >= 30


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_defused(text: str) -> None:
    assert len(text) < 25_000
    error = attempt(text)
    assert error is None or all(found.span or found.place for found in error.diagnostics)
    assert len(str(error)) < 100_000
    assert seconds(lambda: attempt(text)) < SECONDS
