"""Caffe's numbered blobs under the names of a net, and into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from segspec.errors import Source, WeightsError
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.layers.base import Blob
from segspec.net import Tree, apply, init
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.net import read_net
from segspec.syntax.tree import read_source
from segspec.weights.caffe_blobs import name_blobs, number_blobs
from segspec.weights.caffemodel import CaffeLayer, read_caffemodel, write_caffemodel
from segspec.weights.fit import Transfer, fit


def graph_of(*layers: str, inputs: dict[str, Blob] | None = None) -> Graph:
    text = "segspec: 1\nlayers:\n" + "".join(f"  - {layer}\n" for layer in layers)
    spec = read_net(Source("net.yaml", text), Path())
    return build(spec, "DEPLOY", inputs or image_inputs(1, 6, 5, 3, labels=False))


def numbered(*shape: int, first: float = 1.0) -> np.ndarray:
    return np.arange(first, first + np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def loaded(graph: Graph, *layers: CaffeLayer, skip: tuple[str, ...] = ()) -> tuple[Tree, Tree, Transfer]:
    return fit(graph, *init(graph, 0), name_blobs(graph, layers, "w.caffemodel"), skip=skip)


def drawn(graph: Graph) -> tuple[Tree, Tree]:
    """Random parameters, and statistics above 1."""
    rng = np.random.default_rng(1)
    params, state = init(graph, 0)
    params = jax.tree.map(lambda leaf: jax.numpy.asarray(rng.normal(size=leaf.shape), "float32"), params)
    return params, jax.tree.map(lambda leaf: jax.numpy.asarray(rng.uniform(1, 2, leaf.shape), "float32"), state)


CONV = graph_of("Convolution: {name: a, num_output: 4, kernel_size: [2, 3]}")


def test_a_convolution_finds_its_filters_and_biases() -> None:
    weight = numbered(4, 3, 2, 3)
    params, _, transfer = loaded(CONV, CaffeLayer("a", "Convolution", (weight, numbered(1, 1, 1, 4))))
    np.testing.assert_array_equal(params["a"]["weight"], weight.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(params["a"]["bias"], [1, 2, 3, 4])
    assert transfer.as_text() == "loaded      2 blobs"


def test_a_fully_connected_layer_becomes_a_convolution() -> None:
    blobs = (numbered(4, 3 * 2 * 3), numbered(4))
    params, _, _ = loaded(CONV, CaffeLayer("a", "InnerProduct", blobs))
    np.testing.assert_array_equal(params["a"]["weight"], blobs[0].reshape(4, 3, 2, 3).transpose(2, 3, 1, 0))


def test_of_two_layers_of_a_name_the_last_counts() -> None:
    first, last = (CaffeLayer("a", "", (numbered(4, 3, 2, 3), numbered(4, first=each))) for each in (1, 9))
    params, _, _ = loaded(CONV, first, last, CaffeLayer("a", "ReLU", ()))
    assert params["a"]["bias"].tolist() == [9, 10, 11, 12]


BARE = ("Convolution: {name: a, num_output: 4, kernel_size: 1, bias_term: false}", "BatchNorm: {name: n}")


def test_a_bias_before_a_normalisation_goes_into_its_mean() -> None:
    weight, bias = numbered(4, 3, 1, 1), numbered(4, first=5)
    norm = CaffeLayer("n", "BatchNorm", (numbered(4), numbered(4), np.float32([2])), ("a",), ("a",))
    conv = CaffeLayer("a", "Convolution", (weight, bias), ("data",), ("a",))
    graph, biased = graph_of(*BARE), graph_of(BARE[0].replace(", bias_term: false", ""), BARE[1])
    image = jax.random.normal(jax.random.key(0), (1, 6, 5, 3))
    outputs = []
    for net in (graph, biased):
        params, state, _ = loaded(net, conv, norm)
        outputs.append(apply(net, params, state, {"data": image}, want=("n",)).blobs["n"])
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    params, state, transfer = loaded(graph, conv, norm)
    assert list(params["a"]) == ["weight"]
    np.testing.assert_array_equal(state["n"]["mean"], numbered(4) / 2 - bias)
    assert not transfer.unused


@pytest.mark.parametrize("reader", ["ReLU", "Scale"])
def test_a_bias_that_nothing_takes_away_is_refused(reader: str) -> None:
    conv = CaffeLayer("a", "Convolution", (numbered(4, 3, 1, 1), numbered(4)), ("data",), ("a",))
    with pytest.raises(WeightsError, match=r"a: the net has 1 blob \(weight\), the file 2"):
        loaded(graph_of(*BARE), conv, CaffeLayer("r", reader, (), ("a",), ("a",)))


def test_what_does_not_fit_is_told_at_once_with_both_sides() -> None:
    graph = graph_of(
        "Convolution: {name: a, num_output: 4, kernel_size: 1}",
        "Convolution: {name: b, num_output: 4, kernel_size: 1, bias_term: false}",
        "BatchNorm: {name: c, scale_bias: false}",
    )
    layers = (
        CaffeLayer("a", "", (numbered(5, 3, 1, 1), numbered(5))),
        CaffeLayer("b", "", (numbered(4, 4, 1, 1), numbered(4))),
        CaffeLayer("c", "", (numbered(4), numbered(4), numbered(3))),
        CaffeLayer("d", "", (numbered(1),)),
    )
    with pytest.raises(WeightsError) as caught:
        loaded(graph, *layers)
    text = str(caught.value)
    assert "mismatched  b: the net has 1 blob (weight), the file 2" in text
    assert "mismatched  a.weight: the net has 4x3x1x1, the file 5x3x1x1" in text
    assert "mismatched  a.bias: the net has 4, the file 5" in text
    assert "mismatched  c.factor: the net has scalar, the file 3" in text
    assert text.endswith("--skip a --skip b --skip c")
    with pytest.raises(WeightsError, match="no layer of the file is in the net"):
        loaded(graph, *layers, skip=("a", "b", "c"))


NORMS = {
    "bvlc": (numbered(3), numbered(3, first=4), np.float32([2])),
    "pspnet": tuple(numbered(1, 3, 1, 1, first=each) for each in (7, 10, 1, 4)),
    "nvidia": (numbered(3), numbered(3, first=4), np.float32([0]), numbered(3, first=7), numbered(3, first=10)),
    "dividing": (numbered(3), numbered(3, first=4), np.float32([2]), numbered(3, first=7), numbered(3, first=10)),
}


@pytest.mark.parametrize(("kind", "divisor", "factor"), [("pspnet", 1, 10), ("nvidia", 1, 10), ("dividing", 2, 2)])
def test_batch_normalisations_with_scale_and_shift(kind: str, divisor: float, factor: float) -> None:
    params, state, _ = loaded(graph_of("BatchNorm: {name: n}"), CaffeLayer("n", "BatchNorm", NORMS[kind]))
    assert params["n"]["scale"].tolist() == [7, 8, 9]
    assert params["n"]["shift"].tolist() == [10, 11, 12]
    np.testing.assert_allclose(state["n"]["mean"], np.float32([1, 2, 3]) / divisor)
    np.testing.assert_allclose(state["n"]["variance"], np.float32([4, 5, 6]) / divisor)
    assert float(state["n"]["factor"]) == pytest.approx(factor)


def test_segnets_has_two_blobs() -> None:
    blobs = (numbered(1, 3, 1, 1), numbered(1, 3, 1, 1, first=4))
    for layer in ("BN: {name: n}", "BatchNorm: {name: n}"):
        params, _, transfer = loaded(graph_of(layer), CaffeLayer("n", "BN", blobs))
        assert [params["n"][name].tolist() for name in ("scale", "shift")] == [[1, 2, 3], [4, 5, 6]]
        assert transfer.initial == ("n.mean", "n.variance", "n.factor")


def test_the_pair_of_bvlc_is_one_layer_where_the_net_has_one() -> None:
    norm = CaffeLayer("n", "BatchNorm", NORMS["bvlc"])
    scale = CaffeLayer("s", "Scale", (numbered(3, first=7), numbered(3, first=10)))
    params, state, transfer = loaded(graph_of("BatchNorm: {name: n}"), norm, scale)
    assert params["n"]["scale"].tolist() == [7, 8, 9]
    assert state["n"]["mean"].tolist() == [0.5, 1, 1.5]
    assert transfer.as_text() == "loaded      5 blobs"
    pair = graph_of("BatchNorm: {name: n, scale_bias: false}", "Scale: {name: s, bias_term: true}")
    params, state, transfer = loaded(pair, norm, scale)
    assert params["s"]["bias"].tolist() == [10, 11, 12]
    assert transfer.as_text() == "loaded      5 blobs"


def test_a_pair_is_told_by_what_it_reads() -> None:
    graph = graph_of("BatchNorm: {name: n}", "BatchNorm: {name: m}")
    blobs = numbered(3, first=7), numbered(3, first=10)
    layers = (
        CaffeLayer("n", "BatchNorm", NORMS["bvlc"], ("data",), ("x",)),
        CaffeLayer("m", "BatchNorm", NORMS["bvlc"], ("data",), ("y",)),
        CaffeLayer("other", "Scale", (numbered(3), numbered(3)), ("z",), ("z",)),
        CaffeLayer("scale_m", "Scale", tuple(-blob for blob in blobs), ("y",), ("y",)),
        CaffeLayer("scale_n", "Scale", blobs, ("x",), ("x",)),
    )
    params, _, transfer = loaded(graph, *layers)
    assert [params[name]["scale"].tolist() for name in ("n", "m")] == [[7, 8, 9], [-7, -8, -9]]
    assert transfer.unused == ("other.0", "other.1")
    alone = (layers[0], replace(layers[4], blobs=blobs[:1]))
    assert loaded(graph, *alone)[0]["n"]["shift"].tolist() == [0, 0, 0]
    between = (layers[0], CaffeLayer("r", "ReLU", (), ("x",), ("x",)), layers[4])
    assert loaded(graph, *between)[2].initial[:2] == ("n.scale", "n.shift")


@pytest.mark.parametrize("count", [1, 6])
def test_a_batch_normalisation_of_another_number_of_blobs_is_refused(count: int) -> None:
    with pytest.raises(
        WeightsError, match=f"n: the net has 5 blobs .scale, shift, mean, variance, factor., the file {count}"
    ):
        loaded(graph_of("BatchNorm: {name: n}"), CaffeLayer("n", "", (numbered(3),) * count))


def test_other_layers() -> None:
    graph = graph_of(
        "Deconvolution: {name: d, num_output: 4, kernel_size: 2, group: 1}",
        "PReLU: {name: own}",
        "PReLU: {name: all, channel_shared: true}",
        "Scale: {name: s, bias_term: true}",
        "Bias: {name: b}",
        "InnerProduct: {name: i, num_output: 2}",
        "InnerProduct: {name: t, num_output: 5, transpose: true, bias_term: false}",
    )
    blobs = {
        "d": (numbered(3, 4, 2, 2), numbered(4)),
        "own": (numbered(4),),
        "all": (np.float32(0.25).reshape(()),),
        "s": (numbered(4), numbered(4, first=5)),
        "b": (numbered(4),),
        "i": (numbered(1, 1, 2, 4 * 7 * 6), numbered(2)),
        "t": (numbered(2, 5),),
    }
    params, _, transfer = loaded(graph, *(CaffeLayer(name, "", own) for name, own in blobs.items()))
    assert len(transfer.loaded) == 10 and not transfer.initial
    assert params["d"]["weight"][1, 0, 3, 2] == blobs["d"][0][2, 3, 1, 0]
    np.testing.assert_array_equal(params["i"]["weight"], blobs["i"][0][0, 0].T)
    np.testing.assert_array_equal(params["t"]["weight"], blobs["t"][0])
    assert float(params["all"]["slope"]) == 0.25


def test_a_shared_blob_is_found_under_its_owner() -> None:
    shared = "num_output: 3, kernel_size: 1, param: [{name: w}, {name: v}]"
    graph = graph_of(f"Convolution: {{name: a, {shared}}}", f"Convolution: {{name: b, {shared}}}")
    blobs = (numbered(3, 3, 1, 1), numbered(3))
    for names in ("a", "b", "ab"):
        params, _, transfer = loaded(graph, *(CaffeLayer(name, "", blobs) for name in names))
        assert params["a"]["bias"].tolist() == [1, 2, 3]
        assert transfer.as_text() == "loaded      2 blobs"


@pytest.mark.parametrize("name", ["small_segnet_basic", "small_segnet"])
def test_a_net_that_caffe_trained_gives_its_scores(name: str, shared: Path) -> None:
    nets = shared / "golden" / "nets"
    spec = read_caffe_net(read_source(nets / f"{name}.prototxt"), phase="TRAIN")
    golden = dict(np.load(nets / f"{name}.npz"))
    images = golden["data/data"].astype(np.float32).transpose(0, 2, 3, 1)
    graph = build(spec, "DEPLOY", image_inputs(*images.shape, labels=False))
    layers = read_caffemodel(nets / f"{name}.caffemodel")
    params, state, transfer = fit(graph, *init(graph, 0), name_blobs(graph, layers, "w.caffemodel"))
    assert {blob.rpartition(".")[2] for blob in transfer.initial} == {"mean", "variance", "factor"}
    scores = jax.jit(lambda params: apply(graph, params, state, {"data": images}, want=(graph.prediction,)).blobs)(
        params
    )
    last = next(key for key in golden if key.endswith(f"/{graph.prediction}"))
    expected = golden[last].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(scores[graph.prediction], expected, atol=2e-4 * np.abs(expected).max())


def test_a_net_written_for_caffe_comes_back(tmp_path: Path) -> None:
    shared = "num_output: 3, kernel_size: 3, pad: same, param: [{name: w}, {name: v}]"
    graph = graph_of(
        f"Convolution: {{name: a, {shared}}}",
        f"Convolution: {{name: b, {shared}}}",
        "BatchNorm: {name: n}",
        "BN: {name: segnet}",
        "BatchNorm: {name: plain, scale_bias: false}",
        "PReLU: {name: p, channel_shared: true}",
        "Deconvolution: {name: d, num_output: 6, kernel_size: 2, group: 3}",
        "InnerProduct: {name: i, num_output: 2}",
    )
    params, state = drawn(graph)
    path = tmp_path / "net.caffemodel"
    write_caffemodel(path, "net", number_blobs(graph, params, state))
    layers = read_caffemodel(path)
    assert [(layer.name, layer.type, len(layer.blobs)) for layer in layers] == [
        ("a", "Convolution", 2),
        ("b", "Convolution", 2),
        ("n", "BatchNorm", 3),
        ("n/scale", "Scale", 2),
        ("segnet", "BN", 2),
        ("plain", "BatchNorm", 3),
        ("p", "PReLU", 1),
        ("d", "Deconvolution", 2),
        ("i", "InnerProduct", 2),
    ]
    again, after, transfer = fit(graph, *init(graph, 0), name_blobs(graph, layers, "w.caffemodel"))
    assert transfer.initial == ("segnet.mean", "segnet.variance", "segnet.factor") and not transfer.unused
    jax.tree.map(np.testing.assert_array_equal, again, params)
    del state["segnet"], after["segnet"]
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-6), after, state)


@pytest.mark.oracle
def test_opencv_computes_the_same_with_what_is_written(tmp_path: Path) -> None:
    import cv2

    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("OpenCV 5 has no reader of Caffe's files")
    graph = graph_of(
        "Convolution: {name: a, num_output: 6, kernel_size: [3, 5], pad: [1, 2], group: 3}",
        "BatchNorm: {name: n}",
        "PReLU: {name: p}",
        "Deconvolution: {name: d, num_output: 4, kernel_size: 4, stride: 2, pad: 1}",
        "InnerProduct: {name: i, num_output: 5}",
    )
    params, state = drawn(graph)
    write_caffemodel(tmp_path / "net.caffemodel", "net", number_blobs(graph, params, state))
    (tmp_path / "net.prototxt").write_text(CAFFE_NET)
    net = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
    images = np.asarray(jax.random.normal(jax.random.key(2), (1, 6, 5, 3)))
    net.setInput(images.transpose(0, 3, 1, 2))
    ours = apply(graph, params, state, {"data": images}, statistics="running", want=("i",)).blobs["i"]
    np.testing.assert_allclose(net.forward("i"), ours, rtol=1e-4, atol=1e-4)


CAFFE_NET = """
input: "data" input_shape { dim: 1 dim: 3 dim: 6 dim: 5 }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 2 group: 3 } }
layer { name: "n" type: "BatchNorm" bottom: "a" top: "n" batch_norm_param { eps: 1e-5 } }
layer { name: "n/scale" type: "Scale" bottom: "n" top: "n/scale" scale_param { bias_term: true } }
layer { name: "p" type: "PReLU" bottom: "n/scale" top: "p" }
layer { name: "d" type: "Deconvolution" bottom: "p" top: "d"
  convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 } }
layer { name: "i" type: "InnerProduct" bottom: "d" top: "i" inner_product_param { num_output: 5 } }
"""
