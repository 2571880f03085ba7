"""Which layers of zeros are told of before a training, and which are right as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source
from segspec.graph.nominal import nominal_graph
from segspec.net import init
from segspec.spec.net import read_net
from segspec.train.stuck import find_stuck

ZERO = "weight_filler: {type: constant}"
FROZEN = "param: {lr_mult: 0}"


def found(*layers: str) -> list[str]:
    lines = "".join(f"  - {layer}\n" for layer in (*layers, "SoftmaxWithLoss"))
    text = f"segspec: 1\nclasses: 2\ninput: {{height: 8, width: 8}}\nlayers:\n{lines}"
    graph = nominal_graph(read_net(Source("x.yaml", text), Path()))
    return [diagnostic.message for diagnostic in find_stuck(graph, init(graph, 0)[0], "x.yaml")]


def conv(name: str, more: str = ZERO, kind: str = "Convolution") -> str:
    return f"{kind}: {{name: {name}, num_output: 2, kernel_size: 1, {more}}}"


@pytest.mark.parametrize(
    "layers",
    [
        (conv("score", "stride: 1"),),
        (conv("score"),),
        (conv("a", "stride: 1"), "ReLU", conv("score")),
        (conv("a"), "ReLU", conv("score", "stride: 1")),
        (conv("a", f"{ZERO}, bias_filler: {{type: constant, value: 1}}"), conv("score")),
        (conv("a"), "Sigmoid", conv("score")),
        (conv("a"), "Concat: {with: data}", conv("score")),
        (conv("a", FROZEN), conv("score")),
        (conv("a"), conv("b", f"{ZERO}, bottom: data"), "Eltwise: {with: a}"),
    ],
)
def test_what_learns_is_not_told(layers: tuple[str, ...]) -> None:
    assert found(*layers) == []


@pytest.mark.parametrize(
    "between", [(), ("ReLU", "Dropout", "Pooling: {kernel_size: 2, stride: 2}"), ("Eltwise: {with: a}",)]
)
def test_zeros_behind_zeros_are_told(between: tuple[str, ...]) -> None:
    assert found(conv("a"), *between, conv("score")) == [
        "weights start at 0 behind layers that start at 0, so that neither learns: score"
    ]


def test_of_many_some_are_named() -> None:
    (message,) = found(*(conv(f"c{number}") for number in range(6)))
    assert message.endswith(": c1, c2, c3 and 2 more")


def test_frozen_zeros_are_told() -> None:
    frozen = conv("up", f"bias_term: false, {ZERO}, {FROZEN}", "Deconvolution")
    assert found(conv("score", "stride: 1"), frozen) == [
        "weights are 0 and frozen by lr_mult 0, so that nothing passes: up"
    ]


def test_weights_that_another_layer_holds_are_looked_up_there() -> None:
    shared = "bias_term: false, param: [{name: w}]"
    first = f"Convolution: {{name: a, num_output: 3, kernel_size: 1, {shared}, {ZERO}}}"
    second = f"Convolution: {{name: b, num_output: 3, kernel_size: 1, {shared}}}"
    assert found(first, second, conv("score", "stride: 1")) == [
        "weights start at 0 behind layers that start at 0, so that neither learns: b"
    ]
