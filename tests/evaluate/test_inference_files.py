"""What is written of a net and weights, read back and asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segspec.cli import main
from segspec.evaluate.fitting import fitting_graph
from segspec.evaluate.load import load_weighted, with_statistics
from segspec.evaluate.model import Model, empty_trees
from segspec.net import apply
from segspec.spec.net import load_net
from segspec.weights.caffe_blobs import number_blobs
from segspec.weights.caffemodel import read_caffemodel, write_caffemodel
from segspec.weights.files import read_weights, write_weights

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 24, 24, 3)).astype(np.float32)

SEGNET = """
layer {{ name: "data" type: "DenseImageData" top: "data" top: "label"
  dense_image_data_param {{ source: "{folder}/train.txt" batch_size: 4 shuffle: true }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "conv_bn" type: "BN" bottom: "conv" top: "conv"
  bn_param {{ {mode} scale_filler {{ type: "constant" value: 1 }} shift_filler {{ type: "constant" value: 0.1 }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score"
  convolution_param {{ num_output: 2 kernel_size: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }}
"""


@pytest.fixture
def nets(project: Any) -> tuple[Path, Path, Path]:
    """A net for training, the same one for inference, and raw weights for both."""
    paths = [project.folder / f"{name}.prototxt" for name in ("train", "inference")]
    for path, mode in zip(paths, ("", "bn_mode: INFERENCE"), strict=True):
        path.write_text(SEGNET.format(folder=project.folder, mode=mode))
    weights = project.folder / "iter_9.caffemodel"
    write_caffemodel(weights, "net", number_blobs(*empty_trees(load_net(paths[0]))))
    return paths[0], paths[1], weights


def scores(model: Model) -> np.ndarray:
    _, graph = fitting_graph(model, (24, 24))
    outputs = apply(graph, model.params, model.state, {"data": IMAGE}, statistics=model.statistics, want=("score",))
    return np.asarray(outputs.blobs["score"])


def loaded(net: Path, weights: Path) -> Model:
    found = load_weighted(net, weights)
    assert not [warning for warning in found.warnings if "initial values" in warning.message]
    return with_statistics(found, "auto").model


def test_a_caffemodel_holds_what_the_net_for_inference_needs(
    nets: tuple[Path, Path, Path], project: Any, capsys: Any
) -> None:
    net, inference, weights = nets
    out = project.folder / "Inference"
    assert main(["compute-bn-stats", str(net), "--weights", str(weights), "--out", str(out)]) == 0
    told = capsys.readouterr()
    written = out / "test_weights.caffemodel"
    assert told.out == f"{written}: exact statistics of 1 layers over 6 images, for {weights}\n"
    assert "folded into scale and shift: for the net whose BN say bn_mode: INFERENCE\n" in told.err
    assert "warning" not in told.err, "the file lacks nothing that caffe-segnet has"
    shapes = {layer.name: [blob.shape for blob in layer.blobs] for layer in read_caffemodel(written)}
    assert shapes["conv_bn"] == [(1, 3, 1, 1), (1, 3, 1, 1)]
    kept = project.folder / "kept.safetensors"
    assert main(["compute-bn-stats", str(net), "--weights", str(weights), "--out", str(kept)]) == 0
    folded, measured = loaded(inference, written), loaded(net, kept)
    assert (folded.origin, measured.origin) == (
        "expected in scale and shift (bn_mode: INFERENCE)",
        "kept in the weights",
    )
    np.testing.assert_allclose(scores(folded), scores(measured), rtol=1e-4, atol=1e-5)


def test_the_weights_of_a_spec_hold_its_statistics(project: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    _, *trees = empty_trees(load_net(project.spec))
    start = tmp_path / "start.safetensors"
    write_weights(start, *trees)
    monkeypatch.chdir(tmp_path)
    arguments = ["compute-bn-stats", str(project.spec), "--weights", str(start)]
    assert main([*arguments, "--mode", "tutorial", "--batch-size", "4"]) == 0
    told = capsys.readouterr()
    assert told.out == f"test_weights.safetensors: tutorial statistics of 1 layers over 12 images, for {start}\n"
    assert f"use: segspec test {project.spec} --weights test_weights.safetensors IMAGES\n" in told.err
    blobs, about = read_weights(Path("test_weights.safetensors"))
    assert (about["mode"], about["images"], about["batch_size"]) == ("tutorial", "12", "4")
    assert blobs["bn"].keys() == {"scale", "shift", "mean", "variance", "factor"}
    assert main([*arguments, "--out", "pair.caffemodel", "--mode", "tutorial", "--batch-size", "4"]) == 0
    ours = load_weighted(project.spec, Path("test_weights.safetensors")).model
    theirs = load_weighted(project.spec, Path("pair.caffemodel")).model
    for blob, value in ours.state["bn"].items():
        np.testing.assert_allclose(theirs.state["bn"][blob], value, rtol=1e-6)


def test_images_may_come_from_elsewhere(nets: tuple[Path, Path, Path], project: Any, capsys: Any) -> None:
    net, _, weights = nets
    arguments = ["compute-bn-stats", str(net), "--weights", str(weights), "--out", str(project.folder)]
    lost = ["--set", "data.dense_image_data_param.source=/nowhere/train.txt"]
    assert main([*arguments, *lost]) == 1
    assert "/nowhere/train.txt: no such list of images" in capsys.readouterr().err
    assert main([*arguments, *lost, "--images", str(project.folder / "val.txt")]) == 0
    assert "over 3 images" in capsys.readouterr().out
    bare = project.folder / "bare.prototxt"
    head = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 24 input_dim: 24'
    layers = net.read_text().strip().splitlines()[2:-1]  # without the source of images and the loss
    bare.write_text("\n".join([head, *layers]))
    arguments[1:2] = [str(bare), "--overwrite"]
    assert main(arguments) == 2
    assert "the spec names no training images\n  name some with --images" in capsys.readouterr().err
    assert main([*arguments, "--images", str(project.folder / "val.txt")]) == 0
    assert "over 3 images" in capsys.readouterr().out


def test_no_file_is_replaced_unasked(nets: tuple[Path, Path, Path], capsys: Any) -> None:
    net, _, weights = nets
    before = weights.read_bytes()
    arguments = ["compute-bn-stats", str(net), "--weights", str(weights), "--out"]
    for more in ([], ["--overwrite"]):
        assert main([*arguments, str(weights), *more]) == 2
        assert capsys.readouterr().err == f"{weights}: exists already\n  another name with --out\n"
    assert weights.read_bytes() == before
    out = weights.with_name("out.caffemodel")
    out.write_bytes(b"mine")
    assert main([*arguments, str(out)]) == 2
    assert "another name with --out, or --overwrite" in capsys.readouterr().err
    assert main([*arguments, str(out), "--overwrite"]) == 0
    assert main([*arguments, str(weights.with_name("out.txt"))]) == 2
    assert "a file of weights ends in .caffemodel or .safetensors" in capsys.readouterr().err
    assert main(["compute-bn-stats", str(net)]) == 2
    assert "add --weights FILE, or name a run folder" in capsys.readouterr().err


def test_a_net_for_inference_is_merged_without_images(nets: tuple[Path, Path, Path], capsys: Any) -> None:
    _, inference, weights = nets
    arguments = ["compute-bn-stats", str(inference), "--weights", str(weights), "--out", str(weights.parent / "m")]
    assert main(arguments) == 2
    assert "its BN say bn_mode: INFERENCE; give the net for training" in capsys.readouterr().err
    assert main([*arguments, "--fold"]) == 0
    path = weights.parent / "m" / "test_weights_folded.yaml"
    assert capsys.readouterr().out == f"{path}: 1 normalisations merged into their convolutions\n"
    merged = loaded(path, path.with_suffix(".safetensors"))
    assert "conv_bn" not in merged.params
    np.testing.assert_allclose(scores(merged), scores(loaded(inference, weights)), rtol=1e-4, atol=1e-4)


def test_the_merged_net_may_lie_beside_the_weights_it_is_made_of(nets: tuple[Path, Path, Path], capsys: Any) -> None:
    _, inference, weights = nets
    folded = weights.rename(weights.with_name("test_weights.caffemodel"))
    arguments = ["compute-bn-stats", str(inference), "--weights", str(folded), "--fold", "--out", str(folded.parent)]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert f"{folded.parent / 'test_weights_folded.yaml'}: exists already" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_the_script_of_the_tutorial_gives_the_same_file(shared: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Its weights before and after, on twelve pictures: each blob to 1e-4 of its greatest number."""
    golden = shared / "golden" / "bnstats"
    with np.load(golden / "segnet_basic_bn.npz") as file:
        trained = {key: file[key] for key in file if key.startswith(("gamma/", "beta/"))}
    expected = read_caffemodel(golden / "segnet_basic_test_weights.caffemodel")
    raw = tmp_path / "raw.caffemodel"
    pairs = {
        layer.name: tuple(trained[f"{what}/{layer.name}"].reshape(1, -1, 1, 1) for what in ("gamma", "beta"))
        for layer in expected
        if f"gamma/{layer.name}" in trained
    }
    write_caffemodel(raw, "segnet", [replace(layer, blobs=pairs.get(layer.name, layer.blobs)) for layer in expected])
    monkeypatch.chdir(golden.parent)
    net = "bnstats/segnet_basic_calc_bn.prototxt"
    arguments = ["--weights", str(raw), "--mode", "tutorial", "--out", str(tmp_path)]
    assert main(["compute-bn-stats", net, *arguments]) == 0
    found = {layer.name: layer.blobs for layer in read_caffemodel(tmp_path / "test_weights.caffemodel")}
    compared = [layer for layer in expected if layer.blobs]
    assert len(compared) == 17
    for layer in compared:
        for ours, theirs in zip(found[layer.name], layer.blobs, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
