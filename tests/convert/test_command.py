"""`segspec convert` from files to files: both ways, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from segspec.cli import main
from segspec.evaluate.load import load_weighted
from segspec.graph.nominal import nominal_graph
from segspec.net import apply, init
from segspec.run.folder import RunFolder
from segspec.run.snapshots import save_snapshot
from segspec.spec.net import load_net
from segspec.weights.caffe_blobs import number_blobs
from segspec.weights.caffemodel import CaffeLayer, read_caffemodel, write_caffemodel
from segspec.weights.files import read_weights, write_weights

NET = """
name: "small"
input: "data" input_shape { dim: 1 dim: 3 dim: 12 dim: 16 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "fc" type: "InnerProduct" bottom: "conv1" top: "fc" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    return tmp_path


def run(*words: str) -> int:
    return main(["convert", *words])


def scores(net: str, weights: str) -> np.ndarray:
    model = load_weighted(Path(net), Path(weights)).model

    graph = nominal_graph(model.spec)
    top = graph.layers[-1].tops[0]
    image = jax.random.normal(jax.random.key(3), (1, 12, 16, 3))
    return np.asarray(apply(graph, model.params, model.state, {"data": image}, want=(top,)).blobs[top])


def test_there_and_back_a_net_computes_the_same(folder: Path) -> None:

    graph = nominal_graph(load_net(Path("net.prototxt")))
    params, state = init(graph, 5)
    state = jax.tree.map(lambda leaf: leaf + 0.25, state)
    write_caffemodel(Path("w.caffemodel"), "small", number_blobs(graph, params, state))
    assert run("net.prototxt", "net.yaml") == 0
    assert run("w.caffemodel", "w.safetensors", "--net", "net.yaml") == 0
    assert run("net.yaml", "again.prototxt", "--deploy") == 0
    assert run("w.safetensors", "again.caffemodel", "--net", "net.yaml") == 0
    first = scores("net.prototxt", "w.caffemodel")
    np.testing.assert_allclose(scores("net.yaml", "w.safetensors"), first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores("net.yaml", "w.caffemodel"), first, rtol=1e-5, atol=1e-6)
    again = scores("again.prototxt", "again.caffemodel")
    np.testing.assert_allclose(again, np.asarray(jax.nn.softmax(first)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.prototxt", "x.yaml"], "nowhere.prototxt: there is no such file"),
        (["net.prototxt", "x.json"], "a file to make ends in"),
        (["net.prototxt", "x.safetensors"], "net.prototxt is a net and x.safetensors would be weights"),
        (["net.prototxt.in", "x.safetensors"], "net.prototxt.in is a net and x.safetensors would be weights"),
        (["w.solverstate", "x.yaml"], "w.solverstate is weights and x.yaml would be a net"),
        (["w.solverstate", "x.caffemodel", "--net", "net.prototxt"], "this is the state of a solver, not weights"),
        (["w.pth", "x.caffemodel", "--net", "net.prototxt"], "segspec does not open .pth files"),
        (["w.caffemodel.h5", "x.yaml"], "w.caffemodel.h5 is weights and x.yaml would be a net"),
        (["net.prototxt", "net.prototxt"], "exists already"),
        (["empty", "x.yaml"], "empty: is not the folder of a run: it has no spec.yaml and no solver.yaml"),
    ],
)
def test_what_cannot_be_is_one_clear_message(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    for name in ("net.prototxt.in", "w.solverstate", "w.pth", "w.caffemodel.h5"):
        Path(name).write_bytes(b"x")
    assert run(*words) != 0
    assert message in capsys.readouterr().err


def test_weights_need_their_net(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("w.safetensors").touch()
    assert run("w.safetensors", "w.caffemodel") == 2
    assert "--net NET" in capsys.readouterr().err


def test_weights_in_hdf5_are_converted(folder: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File("w.caffemodel.h5", "w") as file:
        layer = file.create_group("data").create_group("fc")
        layer["0"], layer["1"] = np.ones((3, 768), np.float32), np.arange(3, dtype=np.float32)
    assert run("w.caffemodel.h5", "w.safetensors", "--net", "net.prototxt") == 0
    (blobs, _) = read_weights(Path("w.safetensors"))
    assert blobs["fc"]["bias"].tolist() == [0, 1, 2]


def test_what_the_source_lacks_stays_out(folder: Path) -> None:
    fc = CaffeLayer("fc", "InnerProduct", (np.ones((3, 768), np.float32), np.arange(3, dtype=np.float32)))
    write_caffemodel(Path("w.caffemodel"), "small", [fc])
    assert run("w.caffemodel", "w.safetensors", "--net", "net.prototxt") == 0
    assert {layer for layer, own in read_weights(Path("w.safetensors"))[0].items() if own} == {"fc"}
    assert run("w.safetensors", "again.caffemodel", "--net", "net.prototxt") == 0
    assert [layer.name for layer in read_caffemodel(Path("again.caffemodel")) if layer.blobs] == ["fc"]


def test_a_damaged_snapshot_is_passed_over_with_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "segspec: 1\nlayers: [Convolution: {name: a, num_output: 2, kernel_size: 1}]\n"
    made = RunFolder(Path("run"))
    made.path.mkdir()
    made.spec.write_text(text)
    made.solver.write_text("base_lr: 1.0\nmax_iter: 1\n")
    for iteration in (1, 2):
        params = {"a": {"weight": np.full((1, 1, 3, 2), iteration, np.float32), "bias": np.zeros(2, np.float32)}}
        save_snapshot(made, iteration, {"params": params, "state": {}}, {}, keep=9)
    newest = made.snapshots / "000000002"
    (newest / "params.safetensors").write_bytes(b"")
    assert run("run", "w.safetensors") == 0
    assert f"{newest}: warning: damaged snapshot passed over: params.safetensors" in capsys.readouterr().err
    assert read_weights(Path("w.safetensors"))[0]["a"]["weight"].max() == 1


def test_weights_that_do_not_fit_are_refused_with_a_remedy_that_convert_has(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_weights(Path("w.safetensors"), {"fc": {"weight": np.ones((5, 4)), "bias": np.full(3, np.nan)}})
    assert run("w.safetensors", "w.caffemodel", "--net", "net.prototxt") == 1
    told = capsys.readouterr().err
    assert "blobs of another shape" in told and "name the net that they were trained with" in told
    write_weights(Path("w.safetensors"), {"fc": {"bias": np.full(3, np.nan, np.float32)}})
    assert run("w.safetensors", "w.caffemodel", "--net", "net.prototxt") == 1
    told += capsys.readouterr().err
    assert "NaN or Inf in fc.bias" in told and "take earlier ones" in told
    assert "--skip" not in told
