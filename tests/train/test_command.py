"""Training as a user starts it, in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from training_runs import TESTED, Hook, digest, losses, records, resume, scores, snapshots, train

from segspec.cli import main
from segspec.train import sizes

pytestmark = pytest.mark.usefixtures("quick")


def test_a_run_folder_holds_what_it_takes_to_go_on_elsewhere(
    project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(project, run, *TESTED) == 0
    out, told = capsys.readouterr()
    assert {path.name for path in run.iterdir()} == {
        ".lock", "curves.png", "log.jsonl", "snapshots", "solver.yaml", "spec.yaml",
    }  # fmt: skip
    assert [iteration for iteration, _ in losses(run)] == [1, 2, 3, 4, 5, 6]
    assert [iteration for iteration, _, _ in scores(run)] == [0, 3, 6]
    assert snapshots(run) == [2, 4, 6]
    spec = (run / "spec.yaml").read_text()
    assert f"source: {project.folder}/train.txt" in spec
    assert "input: {height: 24, width: 24, channels: 3}" in spec
    assert main(["check", str(run / "spec.yaml")]) == 0
    meta = json.loads((run / "snapshots" / "000000006" / "meta.json").read_text())
    assert meta["spec"] == spec
    assert (meta["iteration"], meta["batches"]) == (6, 12)
    assert meta["metrics"]["miou"] == scores(run)[-1][2]
    assert out == "", "what happens is told on standard error"
    assert "training images of 24x24, batches of 2 x 2, iterations 0 to 6, float32 on CPU" in told
    assert "iteration 6/6  loss" in told
    assert told.rstrip().endswith("(log.jsonl, curves.png, snapshots/)")


def test_a_run_is_never_overwritten_unasked(project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=1") == 0
    log = (run / "log.jsonl").read_bytes()
    capsys.readouterr()
    assert train(project, run) == 1
    assert "nothing in it is overwritten" in capsys.readouterr().err
    assert (run / "log.jsonl").read_bytes() == log
    assert train(project, run, "--overwrite", "--solver-set", "max_iter=2") == 0
    assert [iteration for iteration, _ in losses(run)] == [1, 2]
    (run / "solver.yaml").unlink()  # what is left of a trainer killed in its first moments
    assert train(project, run, "--overwrite", "--solver-set", "max_iter=1") == 0


def test_a_mistake_costs_no_run(project: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=1") == 0
    (project.folder / "train0.png").unlink()
    assert train(project, run, "--overwrite") == 1
    assert snapshots(run) == [0, 1]
    assert train(project, tmp_path / "other") == 1
    assert not (tmp_path / "other").exists()


def full(*arguments: object) -> None:
    """A step on a device whose memory is full."""
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17592186044416 bytes.")


def test_a_start_that_fails_keeps_the_run_it_was_to_replace(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=1") == 0
    before = digest(run, 1)
    with monkeypatch.context() as patched:
        patched.setattr(sizes, "make_step", lambda *args, **kw: full)
        assert train(project, run, "--overwrite") == 1
    told = capsys.readouterr().err
    assert f"there was no first iteration: the run that was to be replaced is kept in {run}" in told
    assert "out of memory" in told
    assert snapshots(run) == [0, 1] and digest(run, 1) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project", "run"]


def test_a_link_to_a_run_is_a_name_of_it(project: Any, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    run, link = tmp_path / "disk" / "run", tmp_path / "link"
    link.symlink_to(run)
    for _ in range(2):
        assert train(project, link, "--overwrite", "--solver-set", "max_iter=1") == 0
    assert (link.is_symlink(), run.is_symlink()) == (True, False)
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["run"]


def test_overwrite_removes_nothing_but_runs(project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert train(project, file, "--overwrite") == 1
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    assert train(project, folder, "--overwrite") == 1
    assert "--overwrite removes runs only" in capsys.readouterr().err
    assert (file.read_text(), (folder / "thesis.tex").read_text()) == ("mine", "mine")


def test_divergence_is_one_message_with_iteration_layer_and_files(
    project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "base_lr=1e16") == 1
    told = capsys.readouterr().err
    assert re.search(r"^iteration 2: NaN or Inf, first in layer '\w+'; its images were$", told, re.MULTILINE)
    assert len(re.findall(r"^    train\d\.png$", told, re.MULTILINE)) == 4
    assert "lower base_lr" in told
    assert "Traceback" not in told
    assert snapshots(run) == [0]
    assert resume(run, "--solver-set", "base_lr=0.01", "--solver-set", "max_iter=2") == 0


def test_a_full_memory_is_one_message(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sizes, "make_step", lambda *args, **kw: full)
    assert train(project, tmp_path / "run") == 1
    told = capsys.readouterr().err
    assert "out of memory with a batch of 2 images, which asked for 17,592.2 GB" in told
    assert "--set data.train.batch_size=1" in told


def test_the_displayed_loss_is_averaged_over_a_window(project: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "average_loss=3", "--solver-set", "max_iter=5") == 0
    values = [loss for _, loss in losses(run)]
    smooth = [record["smoothed_loss"] for record in records(run) if "rate" in record]
    assert smooth == pytest.approx([np.mean(values[max(0, end - 3) : end]) for end in range(1, 6)])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "train.txt").unlink(), "no such list of images"),
        (lambda folder: (folder / "train3.png").write_bytes(b"GIF8"), "train3.png"),
        (
            lambda folder: Image.fromarray(np.full((24, 24), 7, np.uint8)).save(folder / "train2_label.png"),
            "train2_label.png",
        ),
    ],
)
def test_bad_material_ends_before_anything_is_made(
    damage: Callable[[Path], None],
    message: str,
    project: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(project.folder)
    assert train(project, tmp_path / "run") == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            "  - Convolution: {num_output: 2, kernel_size: 1}\n  - SoftmaxWithLoss: {loss_weight: 0}\n",
            "the net learns nothing: every loss has loss_weight 0",
        ),
        (
            "  - Convolution: {num_output: 2, kernel_size: 1}\n  - Slice: {axis: 0, top: [a, b]}\n"
            "  - Concat: {axis: 0, bottom: [a, b]}\n  - SoftmaxWithLoss\n",
            "the net takes 2 images at once but not one, so 'segspec test' cannot use it",
        ),
    ],
)
def test_what_will_be_of_no_use_is_warned_of(
    layers: str, message: str, project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write_spec(layers)
    assert train(project, tmp_path / "run", "--solver-set", "max_iter=1") == 0
    assert f"warning: {message}" in capsys.readouterr().err


def test_class_weights_are_told_and_kept_in_numbers(
    project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = project.spec.read_text()
    project.spec.write_text(text.replace("SoftmaxWithLoss", "SoftmaxWithLoss: {class_weights: median_frequency}"))
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=1") == 0
    assert re.search(r"class weights \(median_frequency\): ground 0\.\d+, thing \d", capsys.readouterr().err)
    assert re.search(r"class_weights: \[\d", (run / "spec.yaml").read_text())


def test_a_second_trainer_in_the_same_folder_is_refused(
    project: Any, tmp_path: Path, on_display: Callable[[Hook], None], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    second: list[int] = []

    def hook(record: dict[str, Any]) -> None:
        if not second:
            second.append(0)  # the trainers started here may log nothing, and must not start others
            second[:] = [resume(run), train(project, run, "--overwrite")]

    on_display(hook)
    assert train(project, run, "--solver-set", "max_iter=1") == 0
    assert second == [1, 1]
    assert "a trainer is at work in this run folder: process" in capsys.readouterr().err


def test_curves_are_drawn_at_the_end_however_short_the_training(project: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=3") == 0
    assert (run / "curves.png").read_text() == "3"


def test_caffes_solver_trains_alone(project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = [
        f'layer {{ type: "DenseImageData" top: "data" top: "label" include {{ phase: {phase} }} '
        f'dense_image_data_param {{ source: "{project.folder / name}" batch_size: 2 }} }}'
        for phase, name in (("TRAIN", "train.txt"), ("TEST", "val.txt"))
    ]
    net = """
    layer { name: "score" type: "Convolution" bottom: "data" top: "score"
      convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "msra" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" }"""
    (tmp_path / "net.prototxt").write_text("\n".join([*layers, net]))
    solver = tmp_path / "solver.prototxt"
    solver.write_text('net: "net.prototxt" base_lr: 1e-5 lr_policy: "fixed" max_iter: 2 display: 1 test_interval: 2')
    run = tmp_path / "run"
    assert main(["train", str(solver), "--run", str(run), "--workers", "0"]) == 0
    assert [iteration for iteration, _ in losses(run)] == [1, 2]
    assert [iteration for iteration, *_ in scores(run)] == [0, 2]
    assert "there is no 'net.prototxt' in the working directory" in capsys.readouterr().err
