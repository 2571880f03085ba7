"""`segspec test`, as a user calls it: a net whose answer is known, and everything that is written and printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from segspec.cli import main
from segspec.evaluate.load import load_run
from segspec.evaluate.model import Model
from segspec.evaluate.results import NOTES
from segspec.run.folder import RunFolder
from segspec.run.snapshots import save_snapshot
from segspec.spec.flatten import flat_text
from segspec.spec.net import load_net
from segspec.weights.files import write_weights

LAYERS = """\
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
  - SoftmaxWithLoss
"""
CLASSES = "{classes: {ground: [10, 20, 30], thing: [200, 100, 0]}, ignore: {label: 255, name: void, color: [1, 2, 3]}}"


@pytest.fixture
def run(project: Any, make_model: Any, make_run: Any) -> RunFolder:
    """A run of a net that calls every pixel with a mean above 127 a thing."""
    text = flat_text(load_net(project.write_spec(LAYERS, classes=CLASSES)))
    model = make_model(text.split("\n", 2)[2])
    weight = jnp.zeros((1, 1, 3, 2)).at[..., 1].set(1 / 3)
    params = {"score": {"weight": weight, "bias": jnp.asarray([127.0, 0.0])}}
    return make_run(project.folder / "run", text, Model(model.spec, params, {}))


def add(folder: Path, name: str, *, size: tuple[int, int] = (9, 7), seed: int = 0) -> np.ndarray:
    """Writes a picture; returns the mask that the net gives."""
    folder.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(image).save(folder / name)
    return (image.astype(float).mean(-1) > 127).astype(np.uint8)


def add_label(folder: Path, name: str, size: tuple[int, int] = (9, 7), seed: int = 9) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    label = np.random.default_rng(seed).choice([0, 1, 255], size).astype(np.uint8)
    Image.fromarray(label).save(folder / name)
    return label


def mask(out: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(out / "masks" / f"{name}.png"))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {NOTES}


def test_the_runs_own_test_images(run: RunFolder, project: Any, capsys: Any) -> None:
    assert main(["test", str(run.path)]) == 0
    out, told = capsys.readouterr()
    names = [f"val{number}" for number in range(3)]
    assert files(run.test) == {
        *(f"{folder}/{name}.png" for folder in ("masks", "overlays", "sheets") for name in names),
        "overview.png", "table.md", "table.json", "confusion.png",
    }  # fmt: skip
    assert "thing" in out and "100.0" in out
    assert "batch normalisation statistics: none in this net" in told
    written = "masks/, overlays/, sheets/, overview.png, table.md, table.json, confusion.png"
    assert f"results: {run.test} ({written})\n" in told
    assert "thing" not in told
    table = json.loads((run.test / "table.json").read_text())
    assert (table["images"], table["pixels"]) == (3, 3 * 24 * 24)


def test_results_of_other_images_do_not_stay_beside_new_ones(run: RunFolder, tmp_path: Path) -> None:
    assert main(["test", str(run.path)]) == 0
    add(tmp_path, "a.png")
    assert main(["test", str(run.path), str(tmp_path / "a.png")]) == 0
    assert files(run.test) == {"masks/a.png", "overlays/a.png", "sheets/a.png", "overview.png"}


def test_a_users_file_is_not_overwritten(run: RunFolder, tmp_path: Path, capsys: Any) -> None:
    add(tmp_path / "photos", "a.png")
    label = add_label(tmp_path / "masks", "a.png")
    assert main(["test", str(run.path), str(tmp_path / "photos"), "--out", str(tmp_path)]) == 1
    assert f"{tmp_path}/masks/a.png: is in the way" in capsys.readouterr().err
    np.testing.assert_array_equal(mask(tmp_path, "a"), label)


def test_which_snapshot_was_used_is_told_everywhere(run: RunFolder, capsys: Any) -> None:
    model = load_run(run.path).model
    for iteration, miou in ((2, 0.9), (3, 0.5)):
        trees = {"params": model.params, "state": model.state, "optimizer": ()}
        save_snapshot(run, iteration, trees, {"metrics": {"miou": miou}}, keep=100)
    for wanted, words in (("best", "2 (best)"), ("last", "3 (last)"), ("2", "2 (best)"), ("1", "1")):
        assert main(["test", str(run.path), "--snapshot", wanted]) == 0
        out, told = capsys.readouterr()
        assert f"weights: iteration {words}\n" in told
        assert f"weights: iteration {words};" in out
        table = json.loads((run.test / "table.json").read_text())
        assert (table["iteration"], table["weights"]) == (int(words[0]), f"iteration {words}")


def test_masks_are_palette_pictures_of_the_labels(run: RunFolder, tmp_path: Path) -> None:
    expected = add(tmp_path, "a.png")
    assert main(["test", str(run.path), str(tmp_path / "a.png")]) == 0
    picture = Image.open(run.test / "masks" / "a.png")
    assert picture.mode == "P"
    assert picture.getpalette()[:6] == [10, 20, 30, 200, 100, 0]
    np.testing.assert_array_equal(np.asarray(picture), expected)


def test_images_without_labels_give_pictures_and_no_table(run: RunFolder, tmp_path: Path, capsys: Any) -> None:
    add(tmp_path / "photos", "a.png")
    assert main(["test", str(run.path), str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 0
    assert files(tmp_path / "out") == {"masks/a.png", "overlays/a.png", "sheets/a.png", "overview.png"}
    assert capsys.readouterr().out == ""
    assert main(["test", str(run.path), str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) is None


def test_files_folders_and_lists_of_any_name_and_size(run: RunFolder, tmp_path: Path) -> None:
    expected = {
        "写真 1": add(tmp_path / "photos", "写真 1.png", seed=1),
        "ü": add(tmp_path / "photos", "ü.png", size=(5, 21), seed=2),
        "listed": add(tmp_path, "listed.png", seed=3),
        "-dash": add(tmp_path, "-dash.png", seed=4),
    }
    (tmp_path / "list.txt").write_text("listed.png\n")
    paths = [str(tmp_path / name) for name in ("photos", "list.txt", "-dash.png")]
    assert main(["test", str(run.path), *paths]) == 0
    for name, labels in expected.items():
        np.testing.assert_array_equal(mask(run.test, name), labels)


def test_equal_names_in_two_folders_do_not_overwrite_each_other(run: RunFolder, tmp_path: Path) -> None:
    first, second = add(tmp_path / "one", "1.png", seed=1), add(tmp_path / "two", "1.png", seed=2)
    assert main(["test", str(run.path), str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    names = sorted(path.stem for path in (run.test / "masks").iterdir())
    assert len(names) == 2
    np.testing.assert_array_equal(mask(run.test, names[0]), first)
    np.testing.assert_array_equal(mask(run.test, names[1]), second)


def test_equal_names_in_the_runs_own_list_do_not_overwrite_each_other(run: RunFolder, project: Any) -> None:
    for folder in ("one", "two"):
        add(project.folder / folder, "1.png", seed=len(folder) + ord(folder[0]))
        add_label(project.folder / folder, "1_label.png")
    (project.folder / "val.txt").write_text("one/1.png one/1_label.png\ntwo/1.png two/1_label.png\n")
    assert main(["test", str(run.path)]) == 0
    assert len(list((run.test / "masks").iterdir())) == 2


def test_figures_are_those_of_the_masks(run: RunFolder, tmp_path: Path, capsys: Any) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, predicted = [], []
    for number in range(3):
        size = (9 + number, 7)
        predicted.append(add(tmp_path / "images", f"{number}.png", size=size, seed=number).ravel())
        truth.append(add_label(tmp_path / "labels", f"{number}.png", size, seed=10 + number).ravel())
    arguments = ["test", str(run.path), str(tmp_path / "images"), "--labels", str(tmp_path / "labels"), "--json"]
    assert main(arguments) == 0
    table = json.loads(capsys.readouterr().out)
    assert table == json.loads((run.test / "table.json").read_text())
    every = np.concatenate(truth)
    counted = every != 255
    true, found = every[counted], np.concatenate(predicted)[counted]
    iou = metrics.jaccard_score(true, found, average=None)
    assert [each["iou"] for each in table["classes"]] == pytest.approx(list(iou))
    assert [each["f1"] for each in table["classes"]] == pytest.approx(list(metrics.f1_score(true, found, average=None)))
    assert [each["precision"] for each in table["classes"]] == pytest.approx(
        list(metrics.precision_score(true, found, average=None))
    )
    assert table["confusion_matrix"] == metrics.confusion_matrix(true, found).tolist()
    assert table["totals"]["mean_iou"] == pytest.approx(iou.mean())
    assert table["totals"]["global_accuracy"] == pytest.approx(metrics.accuracy_score(true, found))
    assert table["pixels"] == counted.sum()
    assert f"{100 * iou[1]:.1f}" in (run.test / "table.md").read_text()


test_figures_are_those_of_the_masks = pytest.mark.oracle(test_figures_are_those_of_the_masks)


@pytest.mark.parametrize("listed", [True, False])
def test_a_label_of_another_size_is_one_error(listed: bool, run: RunFolder, tmp_path: Path, capsys: Any) -> None:
    add(tmp_path / "images", "a.png")
    add_label(tmp_path / "labels", "a.png", (7, 9))
    (tmp_path / "list.txt").write_text("images/a.png labels/a.png\n")
    paths = [tmp_path / "list.txt"] if listed else [tmp_path / "images", "--labels", tmp_path / "labels"]
    assert main(["test", str(run.path), *map(str, paths)]) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path}/labels/a.png: the label is 7 x 9 pixels (height x width), but its image" in told
    assert "is 9 x 7" in told


def test_a_broken_image_ends_the_test_and_what_was_done_stays(run: RunFolder, tmp_path: Path, capsys: Any) -> None:
    for name in ("a.png", "c.png"):
        add(tmp_path / "images", name)
    (tmp_path / "images" / "b.png").write_bytes(b"\x89PNG nothing behind")
    assert main(["test", str(run.path), str(tmp_path / "images")]) == 1
    out, told = capsys.readouterr()
    assert out == ""
    assert told.count("b.png: ") == 1
    assert "Traceback" not in told
    assert {path.name for path in (run.test / "masks").iterdir()} == {"a.png"}


def test_only_some_sheets_are_drawn_and_every_mask(run: RunFolder, tmp_path: Path) -> None:
    for number in range(3):
        add(tmp_path / "images", f"{number}.png")
    assert main(["test", str(run.path), str(tmp_path / "images"), "--sheets", "1"]) == 0
    assert {path.name for path in (run.test / "sheets").iterdir()} == {"0.png"}
    assert len(list((run.test / "masks").iterdir())) == 3
    assert main(["test", str(run.path), str(tmp_path / "images"), "--sheets", "0", "--out", str(tmp_path / "o")]) == 0
    assert not (tmp_path / "o" / "sheets").exists()


def test_grey_nets_take_colour_pictures(project: Any, make_model: Any, make_run: Any, tmp_path: Path) -> None:
    text = flat_text(load_net(project.write_spec(LAYERS, data=", color: false")))
    model = make_model(text.split("\n", 2)[2])
    params = {"score": {"weight": jnp.zeros((1, 1, 1, 2)).at[..., 1].set(1.0), "bias": jnp.asarray([127.0, 0.0])}}
    run = make_run(project.folder / "grey", text, Model(model.spec, params, {}))
    image = np.random.default_rng(0).integers(0, 256, (8, 9), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert main(["test", str(run.path), str(tmp_path / "a.png")]) == 0
    np.testing.assert_array_equal(mask(run.test, "a"), image > 127)


def test_a_net_that_is_random_says_where_it_is_uncertain(
    project: Any, make_model: Any, make_run: Any, tmp_path: Path, capsys: Any
) -> None:
    layers = LAYERS.replace("  - SoftmaxWithLoss", "  - Dropout: {sample_weights_test: true}\n  - SoftmaxWithLoss")
    text = flat_text(load_net(project.write_spec(layers, classes=CLASSES)))
    run = make_run(project.folder / "run", text, make_model(text.split("\n", 2)[2]))
    assert main(["test", str(run.path), "--samples", "4", "--out", str(tmp_path / "out")]) == 0
    doubt = Image.open(tmp_path / "out" / "uncertainty" / "val0.png")
    assert (doubt.mode, doubt.size) == ("I;16", (24, 24))
    assert np.asarray(doubt).max() > 0
    assert "mean uncertainty: " in capsys.readouterr().err
    assert main(["test", str(run.path), "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "uncertainty").exists()


def test_a_spec_with_weights_needs_no_run(run: RunFolder, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    expected = add(tmp_path, "a.png")
    weight = np.zeros((1, 1, 3, 2), np.float32)
    weight[..., 1] = 1 / 3
    write_weights(tmp_path / "w.safetensors", {"score": {"weight": weight, "bias": np.float32([127, 0])}})
    assert main(["test", str(run.spec), "--weights", "w.safetensors", "a.png"]) == 0
    np.testing.assert_array_equal(mask(tmp_path / "test", "a"), expected)
    assert main(["test", str(run.spec), "--weights", str(run.path), "a.png", "--out", "other"]) == 0
    np.testing.assert_array_equal(mask(tmp_path / "other", "a"), expected)
    assert main(["test", str(run.spec), "a.png"]) == 2
    assert "a spec needs --weights" in capsys.readouterr().err


def test_a_net_with_no_images_of_its_own_asks_for_some(
    make_run: Any, make_model: Any, tmp_path: Path, capsys: Any
) -> None:
    text = f"segspec: 1\nname: tiny\nclasses: 2\nlayers:\n{LAYERS}"
    model = make_model(f"classes: 2\nlayers:\n{LAYERS}")
    assert main(["test", str(make_run(tmp_path / "run", text, model).path)]) == 2
    assert "no images to test, and the spec names none\n  segspec test RUN IMAGES..." in capsys.readouterr().err


NUMBERED = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 7
layer {{ name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param {{ num_output: 2 kernel_size: 1 }} }}
layer {{ name: "out" type: "Softmax{loss}" bottom: "score" {label} top: "out" {ignore} }}
"""


def test_a_prototxt_takes_a_class_table_from_the_command_line(tmp_path: Path, make_model: Any, capsys: Any) -> None:
    weights, image = tmp_path / "w.safetensors", tmp_path / "val" / "a.png"
    write_weights(weights, make_model(f"layers:\n{LAYERS}").params)
    add(image.parent, image.name)
    add_label(tmp_path / "valannot", "a.png")
    net, table = tmp_path / "net.prototxt", tmp_path / "table.yaml"
    net.write_text(NUMBERED.format(loss="", label="", ignore=""))
    table.write_text(CLASSES[1:-1].replace("}, ", "}\n", 1))
    arguments = ["test", str(net), "--weights", str(weights), str(image.parent), "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "if 255 marks pixels to leave out, give the class table 'ignore: {label: 255}'" in capsys.readouterr().err
    assert main([*arguments, "--classes", str(table), "--json"]) == 0
    assert [own["name"] for own in json.loads(capsys.readouterr().out)["classes"]] == ["ground", "thing"]
    assert main([*arguments, "--classes", "camvid"]) == 2
    assert "the net tells 2 classes apart, but the class table has 11" in capsys.readouterr().err


def test_a_net_of_one_size_says_that_images_were_resized(tmp_path: Path, make_model: Any, capsys: Any) -> None:
    net = tmp_path / "net.yaml"
    pair = "  - PoolingMask: {name: p}\n  - Upsample: {mask: p, upsample_h: 12, upsample_w: 16}\n"
    net.write_text(f"segspec: 1\ninput: {{height: 12, width: 16}}\nclasses: 2\nlayers:\n{pair}{LAYERS}")
    weights, out = tmp_path / "w.safetensors", tmp_path / "out"
    write_weights(weights, make_model(f"layers:\n{LAYERS}").params)
    add(tmp_path / "photos", "a.png", size=(31, 25))
    assert main(["test", str(net), "--weights", str(weights), str(tmp_path / "photos"), "--out", str(out)]) == 0
    assert "images were resized to 12x16: the net takes no other size of theirs\n" in capsys.readouterr().err
    assert mask(out, "a").shape == (31, 25)


def test_what_the_loss_of_a_prototxt_ignores_does_not_count(tmp_path: Path, make_model: Any, capsys: Any) -> None:
    weights, image = tmp_path / "w.safetensors", tmp_path / "val" / "a.png"
    write_weights(weights, make_model(f"layers:\n{LAYERS}").params)
    add(image.parent, image.name)
    label = add_label(tmp_path / "valannot", "a.png")
    net = tmp_path / "net.prototxt"
    loss = NUMBERED.format(loss="WithLoss", label='bottom: "label"', ignore="loss_param { ignore_label: 255 }")
    source = 'layer { type: "DenseImageData" top: "data" top: "label" dense_image_data_param { source: "x" } }'
    net.write_text(source + loss.split("input_dim: 7")[1])
    arguments = ["test", str(net), "--weights", str(weights), str(image.parent), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pixels"] == int((label != 255).sum())


def test_what_a_prototxt_says_in_vain_is_told_once(tmp_path: Path, capsys: Any) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'name: "tiny" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
        'layer { name: "score" type: "Convolution" bottom: "data" top: "score"\n'
        "  convolution_param { num_output: 2 kernel_size: 1 nothing_known: 3 } }\n"
    )
    weights = {"score": {"weight": np.zeros((1, 1, 3, 2), np.float32), "bias": np.zeros(2, np.float32)}}
    write_weights(tmp_path / "w.safetensors", weights)
    add(tmp_path, "a.png", size=(8, 8))
    out = ["--out", str(tmp_path / "out")]
    for arguments in (["test", str(net), "--weights", str(tmp_path / "w.safetensors"), str(tmp_path / "a.png"), *out],
                      ["check", str(net)], ["expand", str(net)]):  # fmt: skip
        assert main(arguments) == 0
        assert capsys.readouterr().err.count("warning: ") == 1, arguments
