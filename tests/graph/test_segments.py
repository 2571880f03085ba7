"""What is computed twice: which layers are light, how they are grouped, where blocks are cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.graph.segments import Segment, find_moving, is_light, plan_segments, read_outside
from segspec.spec.net import read_net

NET = """
  - Convolution: {name: a, num_output: 4, kernel_size: 3, pad: same}
  - BatchNorm: {name: abn}
  - ReLU: {name: arelu}
  - PoolingMask: {name: pool, kernel_size: 2, stride: 2}
  - Convolution: {name: b, num_output: 4, kernel_size: 3, pad: same}
  - ReLU: {name: brelu}
  - Upsample: {name: up, mask: pool}
  - Convolution: {name: score, num_output: 2, kernel_size: 1}
  - SoftmaxWithLoss: {name: loss}
"""


def graph(layers: str = NET, size: int = 8) -> Graph:
    text = f"segspec: 1\nclasses: 2\nlayers:{layers}"
    return build(read_net(Source("x.yaml", text), Path("nowhere")), "TRAIN", image_inputs(2, size, size, 3))


def names(segments: tuple[Segment, ...], *, recomputed: bool) -> list[list[str]]:
    return [[layer.name for layer in each.layers] for each in segments if each.recomputed == recomputed]


def test_light_layers_multiply_nothing_and_shrink_nothing() -> None:
    assert [layer.name for layer in graph().layers if is_light(layer)] == ["abn", "arelu", "brelu", "up"]


def test_nothing_is_recomputed_where_nobody_asks_for_it() -> None:
    assert [(each.recomputed, each.layers) for each in plan_segments(graph(), "none")] == [(False, graph().layers)]


def test_light_layers_run_with_the_convolution_that_reads_them() -> None:
    segments = plan_segments(graph(), "light")
    assert names(segments, recomputed=True) == [["abn", "arelu"], ["brelu", "up", "score"]]
    assert names(segments, recomputed=False) == [["a"], ["pool"], ["b"], ["loss"]]


@pytest.mark.parametrize("remat", ["none", "light", "blocks"])
def test_every_layer_runs_once_and_in_order(remat: str) -> None:
    net = graph()
    assert tuple(layer for each in plan_segments(net, remat) for layer in each.layers) == net.layers  # type: ignore[arg-type]


def test_blocks_cut_a_deep_chain_into_parts_of_about_its_root() -> None:
    layers = "".join(f"\n  - Convolution: {{name: c{n}, num_output: 2, kernel_size: 1}}" for n in range(36))
    segments = plan_segments(graph(layers + "\n  - SoftmaxWithLoss: {name: loss}\n"), "blocks")
    lengths = [len(each.layers) for each in segments if each.recomputed]
    assert 4 <= len(lengths) <= 8 and max(lengths) <= 8


def test_the_last_block_is_not_computed_again() -> None:
    segments = plan_segments(graph(), "blocks")
    assert "loss" not in [layer.name for each in segments if each.recomputed for layer in each.layers]


def test_gradients_reach_what_depends_on_something_learned() -> None:
    assert find_moving(graph()) == {"a", "abn", "arelu", "pool", "b", "brelu", "up", "score", "loss"}
    frozen = NET.replace("name: a, ", "name: a, param: [{lr_mult: 0}, {lr_mult: 0}], ")
    frozen = frozen.replace("name: abn", "name: abn, param: [{lr_mult: 0}, {lr_mult: 0}]")
    assert find_moving(graph(frozen)) == {"b", "brelu", "up", "score", "loss"}


def test_what_is_read_outside() -> None:
    assert read_outside(graph(), {"up", "score"}) >= {"score", "pool", "brelu", "label"} - {"brelu"}
    assert "up" not in read_outside(graph(), {"up", "score"})
