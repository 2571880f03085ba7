"""The state of Caffe's solver: read, written, and its history by layer and blob."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segspec.errors import Source, WeightsError
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.net import read_net
from segspec.syntax.tree import read_source
from segspec.weights.layout import caffe_shape
from segspec.weights.solverstate import (
    SolverState,
    name_history,
    number_history,
    read_solverstate,
    write_solverstate,
)

SHARED = "num_output: 3, kernel_size: 1, param: [{name: w}, {name: v}]"


def graph_of(*layers: str) -> Graph:
    text = "segspec: 1\nlayers:\n" + "".join(f"  - {layer}\n" for layer in layers)
    return build(read_net(Source("net.yaml", text), Path()), "DEPLOY", image_inputs(1, 6, 5, 3, labels=False))


GRAPH = graph_of(
    "Convolution: {name: c, num_output: 4, kernel_size: [2, 3]}", "BatchNorm: {name: n}", "BN: {name: segnet}"
)


def numbered(*shape: int, first: float = 1.0) -> np.ndarray:
    return np.arange(first, first + np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def test_what_is_written_is_read_by_both(caffe: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "net.solverstate"
    state = SolverState(300, (numbered(2, 3), numbered(2)), "net_iter_300.caffemodel", 3)
    write_solverstate(path, state)
    google = caffe.SolverState.FromString(path.read_bytes())
    assert (google.iter, google.learned_net, google.current_step) == (300, "net_iter_300.caffemodel", 3)
    assert [list(blob.shape.dim) for blob in google.history] == [[2, 3], [2]]
    path.write_bytes(google.SerializeToString())
    again = read_solverstate(path)
    assert (again.iteration, again.learned_net, again.current_step) == (300, "net_iter_300.caffemodel", 3)
    for ours, theirs in zip(again.history, state.history, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_history_there_and_back() -> None:
    rng = np.random.default_rng(0)
    rounds = [
        {
            layer.name: {blob: rng.random(spec.shape, np.float32) for blob, spec in layer.params.items()}
            for layer in GRAPH.layers
        }
        for _ in range(2)
    ]
    history = number_history(GRAPH, rounds)
    shapes = [(4, 3, 2, 3), (4,), (4,), (4,), (1,), (4,), (4,), (1, 4, 1, 1), (1, 4, 1, 1)]
    assert [array.shape for array in history] == 2 * shapes
    assert not any(array.any() for array in history[2:5])
    np.testing.assert_array_equal(history[0], rounds[0]["c"]["weight"].transpose(3, 2, 0, 1))
    for ours, theirs in zip(name_history(GRAPH, history, 2, "x"), rounds, strict=True):
        assert ours.keys() == theirs.keys()
        for layer, own in theirs.items():
            for blob, array in own.items():
                np.testing.assert_array_equal(ours[layer][blob], array)


def test_pspnets_order_is_told_by_the_count() -> None:
    shapes = [caffe_shape(spec) for spec in GRAPH.layers[0].params.values()]
    norm = [numbered(4, first=first) for first in (7, 10, 1, 1)]
    history = [np.zeros(shape, np.float32) for shape in shapes] + norm + [np.zeros((1, 4, 1, 1), np.float32)] * 2
    (found,) = name_history(GRAPH, history, 1, "x")
    assert (found["n"]["scale"][0], found["n"]["shift"][0]) == (7, 10)


@pytest.mark.parametrize("copies", [1, 2])
def test_shared_blobs_stand_once_or_in_each_layer(copies: int) -> None:
    graph = graph_of(f"Convolution: {{name: a, {SHARED}}}", f"Convolution: {{name: b, {SHARED}}}")
    (found,) = name_history(graph, [numbered(3, 3, 1, 1), numbered(3)] * copies, 1, "x")
    assert list(found) == ["a"] and found["a"]["bias"].tolist() == [1, 2, 3]


def test_a_history_of_another_net_or_rule_is_refused() -> None:
    with pytest.raises(WeightsError) as caught:
        name_history(GRAPH, [numbered(4, 3, 2, 3), numbered(5)], 1, "x.solverstate")
    text = str(caught.value)
    assert text.startswith("x.solverstate: a history of another net or update rule: 2 arrays, the net has 9")
    assert "history 1, layer 'c', blob 'bias': the net has 4, the file 5" in text


@pytest.mark.parametrize("content", [b"", b"\x08\x05", b"\x08\x05\x1a\x06\x3a\x04\x0a\x02\x02\x02", b"\x1a\x05\x08"])
def test_damage_is_one_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.solverstate").write_bytes(content)
    with pytest.raises(WeightsError):
        read_solverstate(tmp_path / "x.solverstate")


def test_a_training_that_caffe_left(shared: Path) -> None:
    folder = shared / "corpus"
    state = read_solverstate(folder / "weights" / "manoj_basic_iter_100.solverstate")
    assert state.iteration == 100 and state.learned_net.endswith("manoj_basic_iter_100.caffemodel")
    net = folder / "manoj2312__deepLearning" / "Models" / "manoj_basic_train.prototxt"
    spec = read_caffe_net(read_source(net), phase="TRAIN")
    graph = build(spec, "DEPLOY", image_inputs(1, 512, 512, 3, labels=False))
    (found,) = name_history(graph, state.history, 1, "x")
    assert sum(array.size for own in found.values() for array in own.values()) == graph.parameters == 612_418
    for ours, theirs in zip(number_history(graph, [found]), state.history, strict=True):
        np.testing.assert_array_equal(ours, theirs.reshape(ours.shape))
