"""The size a trained net is opened at, and what is said where it can be opened at none."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.graph.nominal import nominal_graph
from segspec.spec.net import read_net
from segspec.spec.netspec import NetSpec

SCORE = "  - Convolution: {name: score, num_output: 2, kernel_size: 3}\n"
DATA = "data: {train: {type: SyntheticSquares, height: 8, width: 9, batch_size: 4}}\n"


def net(layers: str, top: str = "") -> NetSpec:
    return read_net(Source("x.yaml", f"segspec: 1\n{top}layers:\n{layers}"), Path("nowhere"))


@pytest.mark.parametrize(
    ("top", "size"), [("", (64, 64)), (DATA, (8, 9)), ("input: {height: 5, width: 6}\n" + DATA, (8, 9))]
)
def test_one_image_of_the_declared_size_or_a_small_one(top: str, size: tuple[int, int]) -> None:
    assert nominal_graph(net(SCORE, top)).inputs["data"].shape == (1, *size, 3)


def test_a_net_that_takes_batches_only_says_so() -> None:
    halves = "  - Slice: {axis: 0, top: [a, b]}\n  - Concat: {axis: 0, bottom: [a, b]}\n"
    with pytest.raises(SpecError, match="takes 4 images at once but not one, so") as caught:
        nominal_graph(net(SCORE + halves, DATA))
    assert "warning" not in str(caught.value)


def test_another_mistake_is_told_as_it_is() -> None:
    with pytest.raises(SpecError, match="the filter covers 2000x2000 pixels"):
        nominal_graph(net(SCORE.replace("kernel_size: 3", "kernel_size: 2000"), DATA))
