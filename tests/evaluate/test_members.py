"""`segspec test --ensemble` and `--tta`, as a user calls them, and the choice of the nets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segspec.cli import main
from segspec.evaluate.model import Model
from segspec.run.folder import RunFolder
from segspec.spec.flatten import flat_text
from segspec.spec.net import load_net
from segspec.weights.files import write_weights

LAYERS = """\
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
  - SoftmaxWithLoss
"""
MakeRun = Callable[..., RunFolder]


@pytest.fixture
def runs(project: Any, make_model: Any, make_run: Any) -> MakeRun:
    """Makes runs of nets that call a pixel a thing where its mean is above a threshold, the surer the farther."""

    def make(name: str, threshold: float, *, classes: str = "[ground, thing]", sure: float = 1.0) -> RunFolder:
        text = flat_text(load_net(project.write_spec(LAYERS, classes=classes)))
        model = make_model(text.split("\n", 2)[2])
        width = model.params["score"]["bias"].size
        weight = jnp.zeros((1, 1, 3, width)).at[..., 1].set(sure / 3)
        params = {"score": {"weight": weight, "bias": jnp.zeros(width).at[0].set(sure * threshold)}}
        return make_run(project.folder / name, text, Model(model.spec, params, {}))

    return make


def add(folder: Path, name: str, seed: int = 0) -> np.ndarray:
    """Writes a picture of an odd size; returns the mean of its channels."""
    folder.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(image).save(folder / name)
    return np.asarray(image.astype(float).mean(-1))


def mask(out: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(out / "masks" / f"{name}.png"))


@pytest.mark.parametrize("order", [["--ensemble", "A", "B", "photos"], ["A", "photos", "B", "--ensemble"]])
def test_run_folders_are_nets_and_all_else_is_images(
    order: list[str], runs: MakeRun, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """The surer net counts for more: the mean of the two logistic curves is one half at 90, not at 80."""
    means = add(tmp_path / "photos", "a.png")
    nets = {"A": runs("a", 60.0, sure=0.02), "B": runs("b", 100.0, sure=0.06)}
    paths = {"photos": str(tmp_path / "photos"), **{name: str(run.path) for name, run in nets.items()}}
    monkeypatch.chdir(tmp_path)
    assert main(["test", *(paths.get(word, word) for word in order)]) == 0
    odds = [1 / (1 + np.exp(-sure * (means - at))) for sure, at in ((0.02, 60.0), (0.06, 100.0))]
    expected = np.mean(odds, axis=0) > 0.5
    np.testing.assert_array_equal(mask(tmp_path / "test", "a"), expected)
    assert (expected != (means > 80)).any(), "or the nets counted alike"
    told = capsys.readouterr().err
    assert "weights: mean of 2 nets: a, iteration 1 (best and last); b, iteration 1 (best and last)\n" in told
    assert not (nets["A"].test).exists()


def test_each_net_is_scored_beside_the_ensemble(runs: MakeRun, project: Any, tmp_path: Path, capsys: Any) -> None:
    first, second = runs("first", 127.0), runs("second", 250.0)
    out = tmp_path / "both"
    assert main(["test", "--ensemble", str(first.path), str(second.path), "--out", str(out), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["iteration"] is None
    for part, run in zip(table["parts"], (first, second), strict=True):
        assert main(["test", str(run.path), "--json"]) == 0
        alone = json.loads(capsys.readouterr().out)
        assert part == {"name": run.path.name, **alone["totals"]}
        assert alone["parts"] == []
    assert table["parts"][0]["mean_iou"] != table["parts"][1]["mean_iou"]
    assert "| % | ensemble | first | second | always" in (out / "table.md").read_text()
    assert main(["test", "--ensemble", str(first.path), str(second.path), "--out", str(out)]) == 0
    heads = [line.split() for line in capsys.readouterr().out.splitlines() if "ensemble" in line]
    assert heads[0][:3] == ["ensemble", "first", "second"]


def test_views_are_told_and_scored_beside_the_plain_image(runs: MakeRun, tmp_path: Path, capsys: Any) -> None:
    run = runs("run", 127.0)
    assert main(["test", str(run.path), "--tta", "flip,0.5", "--json"]) == 0
    out, told = capsys.readouterr()
    assert "each image in 4 views: scales 1 and 0.5, each mirrored too\n" in told
    table = json.loads(out)
    assert table["views"] == "4 views: scales 1 and 0.5, each mirrored too"
    assert main(["test", str(run.path), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert table["parts"] == [{"name": "1 view", **plain["totals"]}]
    assert plain["views"] == "1 view"
    assert table["totals"]["mean_iou"] != plain["totals"]["mean_iou"]


def test_photos_without_labels_and_a_spec_with_weights(runs: MakeRun, tmp_path: Path, capsys: Any) -> None:
    means = add(tmp_path / "photos", "a.png")
    run, weights, out = runs("run", 120.0), tmp_path / "w.safetensors", tmp_path / "out"
    weight = np.zeros((1, 1, 3, 2), np.float32)
    weight[..., 1] = 1 / 3
    write_weights(weights, {"score": {"weight": weight, "bias": np.float32([100, 0])}})
    arguments = [str(run.spec), "--weights", str(weights), "--ensemble", str(run.path), str(tmp_path / "photos")]
    assert main(["test", *arguments, "--tta", "flip", "--out", str(out)]) == 0
    np.testing.assert_array_equal(mask(out, "a"), means > 110)
    assert not (out / "table.json").exists()
    assert "spec.yaml, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("classes", "difference"),
    [
        ("[ground, thing, sky]", "2 and 3 of them"),
        ("[ground, car]", "class 1 is 'thing' in the one and 'car' in the other"),
        (
            "{classes: [ground, thing], ignore: {label: 255}}",
            "no label is ignored in the one and label 255 in the other",
        ),
    ],
)
def test_other_classes_are_refused_with_both_names(
    classes: str, difference: str, runs: MakeRun, tmp_path: Path, capsys: Any
) -> None:
    first, second = runs("first", 100.0), runs("second", 150.0, classes=classes)
    assert main(["test", "--ensemble", str(first.path), str(second.path)]) == 2
    told = capsys.readouterr().err
    assert f"first and second have different classes: {difference}\n" in told
    assert "--classes TABLE" in told


def test_one_table_for_all_makes_names_agree(runs: MakeRun, tmp_path: Path, capsys: Any) -> None:
    first, second = runs("first", 100.0), runs("second", 150.0, classes="[road, car]")
    arguments = ["test", "--ensemble", str(first.path), str(second.path), "--out", str(tmp_path / "out"), "--json"]
    assert main([*arguments, "--classes", "[a, b]"]) == 0
    assert [own["name"] for own in json.loads(capsys.readouterr().out)["classes"]] == ["a", "b"]


def test_mistakes_in_naming_nets_are_told(runs: MakeRun, tmp_path: Path, capsys: Any) -> None:
    first, second = runs("first", 100.0).path, runs("second", 150.0).path
    add(tmp_path / "photos", "a.png")
    nowhere = tmp_path / "nowhere"
    for words, message in (
        (["--ensemble", first, tmp_path / "photos"], f"{first}: --ensemble averages two runs or more; only one is"),
        (["--ensemble", first, second, first], f"{first}: is named twice, and would count twice"),
        (["--ensemble", first, nowhere], f"{nowhere}: there is no such run, image, folder or list"),
        ([first, second], f"{second}: is a run, not images\n  to average the nets of several runs: segspec test --ens"),
        ([first, "--tta", "flop"], "--tta takes flip and scales; got 'flop'\n  did you mean 'flip'?"),
    ):
        assert main(["test", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
    assert not (first / "test").exists()


def test_two_runs_of_one_name_are_told_apart_by_their_folders(runs: MakeRun, tmp_path: Path, capsys: Any) -> None:
    first, second = runs("one/net", 100.0).path, runs("two/net", 150.0).path
    out = ["--out", str(tmp_path / "out"), "--json"]
    assert main(["test", "--ensemble", str(first), str(second), *out]) == 0
    assert [part["name"] for part in json.loads(capsys.readouterr().out)["parts"]] == [str(first), str(second)]
