"""Training as a user starts, stops and resumes it, in this process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from segspec.cli import main
from segspec.run.log import Log
from segspec.run.snapshots import read_arrays
from segspec.train import curves, sizes
from segspec.weights.files import write_weights

Hook = Callable[[dict[str, Any]], None]
TESTED = ("--solver-set", "test_interval=3")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(autouse=True)
def _quick(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same small net is trained again and again: it is compiled once, and no curves are drawn."""
    monkeypatch.setenv("SEGSPEC_CACHE", str(cache))
    monkeypatch.setattr(curves, "draw_curves", lambda records, path: path.write_text(str(len(records))))


@pytest.fixture
def on_display(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hook], None]:
    """Calls a function with each record that a training is about to log."""

    def install(hook: Hook) -> None:
        append = Log.append

        def hooked(self: Log, record: dict[str, Any]) -> None:
            hook(record)
            append(self, record)

        monkeypatch.setattr(Log, "append", hooked)

    return install


def train(project: Any, run: Path, *more: str) -> int:
    return main(["train", str(project.spec), str(project.solver), "--run", str(run), *more])


def resume(run: Path, *more: str) -> int:
    return main(["train", "--resume", str(run), *more])


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[tuple[int, float]]:
    return [(record["iteration"], record["loss"]) for record in records(run) if "rate" in record]


def scores(run: Path) -> list[tuple[int, float, float]]:
    return [(each["iteration"], each["loss"], each["miou"]) for each in records(run) if "miou" in each]


def snapshots(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "snapshots").iterdir())


def metrics(run: Path, iteration: int) -> dict[str, float]:
    """What is kept of a test with the snapshot of an iteration."""
    folder = run / "snapshots" / f"{iteration:09d}"
    added = folder / "metrics.json"
    kept = (
        json.loads(added.read_text()) if added.exists() else json.loads((folder / "meta.json").read_text())["metrics"]
    )
    return dict(kept)


def digest(run: Path, iteration: int = 6) -> str:
    """Of every array of a snapshot: parameters, running averages and the optimizer's."""
    trees = read_arrays(run / "snapshots" / f"{iteration:09d}")
    text = [(tree, name, array.tobytes()) for tree in sorted(trees) for name, array in sorted(trees[tree].items())]
    return hashlib.sha256(repr(text).encode()).hexdigest()


def send(number: int, at: int) -> Hook:
    def hook(record: dict[str, Any]) -> None:
        if record["iteration"] == at and "rate" in record:
            os.kill(os.getpid(), number)

    return hook


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


def test_a_run_that_a_killed_start_set_aside_is_back_at_the_next_one(
    project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=2") == 0
    run.rename(tmp_path / "run.before-overwrite")
    assert train(project, run) == 1
    told = capsys.readouterr().err
    assert f"the start that was to replace {run} was killed before its first iteration; the earlier run is back" in told
    assert snapshots(run) == [0, 2]
    run.rename(tmp_path / "run.before-overwrite")
    assert resume(run) == 0, "it is put back to go on with, too"
    assert snapshots(run) == [0, 2]


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


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    number: int,
    status: int,
    project: Any,
    tmp_path: Path,
    on_display: Callable[[Hook], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(project, whole, "--workers", "0", *TESTED) == 0
    on_display(send(number, at=3))
    assert train(project, run, "--workers", "4", *TESTED) == status
    assert snapshots(run) == [0, 2, 3]
    assert f"go on with: segspec train --resume {run}" in capsys.readouterr().err
    on_display(lambda record: None)
    assert resume(run, "--workers", "1") == 0
    assert losses(run) == losses(whole)
    assert scores(run) == scores(whole), "the test that the signal cut short is made up for"
    assert metrics(run, 3)["miou"] == scores(whole)[1][2], "and kept with the snapshot it is of"
    assert digest(run) == digest(whole)


def test_a_hangup_takes_a_snapshot_and_training_goes_on(
    project: Any, tmp_path: Path, on_display: Callable[[Hook], None]
) -> None:
    on_display(send(signal.SIGHUP, at=3))
    assert train(project, tmp_path / "run", "--solver-set", "snapshot=100", "--solver-set", "max_iter=5") == 0
    assert snapshots(tmp_path / "run") in ([0, 3, 5], [0, 4, 5]), "the next one may compute while one is displayed"


def test_an_override_that_does_not_fit_leaves_the_run_as_it_was(
    project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=2") == 0
    before = {path.name: path.read_bytes() for path in run.glob("*.yaml")}
    assert resume(run, "--solver-set", "type=Adam") == 1
    assert "the snapshot is of another net or solver" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.glob("*.yaml")} == before
    assert resume(run, "--solver-set", "max_iter=3", "--solver-set", "base_lr=0.01") == 0
    assert "changed from here on: max_iter=3 base_lr=0.01" in capsys.readouterr().err
    assert "base_lr: 0.01" in (run / "solver.yaml").read_text()
    assert [record["rate"] for record in records(run) if "rate" in record] == pytest.approx([0.05, 0.05, 0.01])


def test_a_list_that_starts_where_caffe_runs_is_found_there_and_from_elsewhere_again(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = project.folder / "lists"
    lists.mkdir()
    for name in ("train.txt", "val.txt"):
        (project.folder / name).rename(lists / name)
    project.spec.write_text(project.spec.read_text().replace(f"{project.folder}/", f"{lists}/"))
    monkeypatch.chdir(project.folder)
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=1") == 0
    told = capsys.readouterr().err
    start = f"they start from the working directory, {project.folder}"
    assert f"{lists}/train.txt: warning: its paths lead nowhere from its own folder; {start}\n" in told
    assert (
        train(project, tmp_path / "same", "--solver-set", "max_iter=1", "--set", f"data.test.source={lists}/train.txt")
        == 0
    )
    assert capsys.readouterr().err.count("its paths lead nowhere") == 1
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume", str(run), "--solver-set", "max_iter=2"]) == 0
    assert "working directory" not in capsys.readouterr().err


def test_what_cannot_be_resumed_says_why(project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(tmp_path / "none") == 1
    assert "there is no such run folder" in capsys.readouterr().err
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=1", "--solver-set", "snapshot=0") == 0
    assert snapshots(run) == [1]
    for file in (run / "snapshots" / "000000001").iterdir():
        file.unlink()
    (run / "snapshots" / "000000001").rmdir()
    capsys.readouterr()
    assert resume(run) == 1
    assert f"start it again: segspec train SPEC SOLVER --run {run} --overwrite" in capsys.readouterr().err


def test_a_run_at_its_end_says_how_it_is_prolonged(
    project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "max_iter=2") == 0
    assert resume(run) == 0
    assert "already at 2 of 2; --solver-set max_iter=M prolongs the training\n" in capsys.readouterr().err
    texts = {path: path.read_bytes() for path in run.glob("*.yaml")}
    assert resume(run, "--solver-set", "max_iter=1") == 1
    assert "the run is at iteration 2, and max_iter is 1\n  --solver-set max_iter=M with M" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.glob("*.yaml")} == texts
    assert resume(run, "--solver-set", "max_iter=3") == 0
    assert "already at" not in capsys.readouterr().err
    assert [iteration for iteration, _ in losses(run)] == [1, 2, 3]


def test_divergence_is_one_message_with_iteration_layer_and_files(
    project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(project, run, "--solver-set", "base_lr=1e30") == 1
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


class TestWeights:
    """`--weights` from a run, a snapshot or a file."""

    @pytest.fixture
    def source(self, project: Any, tmp_path: Path) -> Path:
        run = tmp_path / "source"
        assert train(project, run, "--solver-set", "max_iter=4") == 0
        return run

    def started(self, run: Path) -> dict[str, Any]:
        """The parameters that a run started from."""
        return read_arrays(run / "snapshots" / "000000000")["params"]

    @pytest.mark.parametrize(("part", "iteration"), [("", 4), ("snapshots/000000002", 2)])
    def test_a_run_or_a_snapshot_hands_its_weights_on(
        self, part: str, iteration: int, project: Any, source: Path, tmp_path: Path, capsys: Any
    ) -> None:
        capsys.readouterr()
        run = tmp_path / "run"
        more = ("--solver-set", "max_iter=1", "--skip", "bn")
        assert train(project, run, "--weights", str(source / part), *more) == 0
        told = capsys.readouterr().err
        assert f"weights from {source}/snapshots/{iteration:09d}" in told
        assert "loaded      4 blobs" in told
        assert "initial     5 blobs: bn.scale" in told
        theirs = read_arrays(source / "snapshots" / f"{iteration:09d}")["params"]
        for name, array in self.started(run).items():
            assert np.array_equal(array, theirs[name]) == (not name.startswith("bn"))

    def test_a_file_hands_its_weights_on(self, project: Any, tmp_path: Path, capsys: Any) -> None:
        rng = np.random.default_rng(0)
        weight = rng.normal(size=(1, 1, 4, 2)).astype(np.float32)
        write_weights(tmp_path / "w.safetensors", {"score": {"weight": weight}, "extra": {"bias": np.zeros(3)}})
        run = tmp_path / "run"
        assert train(project, run, "--weights", str(tmp_path / "w.safetensors"), "--solver-set", "max_iter=1") == 0
        told = capsys.readouterr().err
        assert "loaded      1 blobs" in told
        assert "unused      1 blobs: extra.bias" in told
        np.testing.assert_array_equal(self.started(run)["score/weight"], weight)

    def test_another_number_of_classes_names_the_layer_to_skip(
        self, project: Any, source: Path, tmp_path: Path, capsys: Any
    ) -> None:
        spec = ("--set", "classes=[a, b, c]")
        assert train(project, tmp_path / "run", "--weights", str(source), *spec) == 1
        told = capsys.readouterr().err
        assert "mismatched  score.weight: the net has 1x1x4x3, the file 1x1x4x2" in told
        assert "--skip score" in told
        assert not (tmp_path / "run").exists()
        more = ("--skip", "score", "--solver-set", "max_iter=1")
        assert train(project, tmp_path / "run", "--weights", str(source), *spec, *more) == 0

    def test_names_that_lead_nowhere_are_refused(self, project: Any, source: Path, tmp_path: Path, capsys: Any) -> None:
        run = tmp_path / "run"
        assert train(project, run, "--weights", str(source), "--skip", "scor") == 1
        assert "no layer 'scor' to skip\n  did you mean 'score'?" in capsys.readouterr().err
        assert train(project, run, "--weights", str(project.folder)) == 1
        assert "neither a run nor a snapshot" in capsys.readouterr().err
        for params in source.glob("snapshots/*/params.safetensors"):
            params.write_bytes(params.read_bytes()[:-1])
        assert train(project, run, "--weights", str(source)) == 1
        told = capsys.readouterr().err
        assert "damaged snapshot passed over: params.safetensors" in told
        assert "every snapshot of this run is damaged" in told
        assert not run.exists()


class TestSizes:
    """Images that are neither resized nor cropped."""

    def shrink(self, project: Any, size: tuple[int, int]) -> None:
        for name in ("train1.png", "train1_label.png"):
            path = project.folder / name
            Image.open(path).crop((0, 0, *size)).save(path)

    def test_are_trained_on_one_by_one_each_at_its_own(self, project: Any, tmp_path: Path) -> None:
        self.shrink(project, (17, 11))
        more = ("--set", "data.train.batch_size=1", "--solver-set", "iter_size=1")
        assert train(project, tmp_path / "run", *more) == 0

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ((), "images of one batch differ in size"),
            (("--set", "data.train.batch_size=1"), "images of one iteration differ in size"),
        ],
    )
    def test_cannot_share_an_iteration(
        self, more: tuple[str, ...], message: str, project: Any, tmp_path: Path, capsys: Any
    ) -> None:
        self.shrink(project, (17, 11))
        assert train(project, tmp_path / "run", *more) == 1
        told = capsys.readouterr().err
        assert message in told
        assert "set new_height and new_width" in told
        assert not (tmp_path / "run").exists(), "told before anything is made"

    def test_that_the_net_does_not_allow_are_named(self, project: Any, tmp_path: Path, capsys: Any) -> None:
        self.shrink(project, (17, 11))
        project.write_spec(
            "  - InnerProduct: {name: fc, num_output: 1152}\n"
            "  - Reshape: {shape: [0, 2, 24, 24]}\n"
            "  - SoftmaxWithLoss\n"
        )
        more = ("--set", "data.train.batch_size=1", "--solver-set", "iter_size=1")
        assert train(project, tmp_path / "run", *more) == 1
        assert "train1.png: the net does not fit this image: " in capsys.readouterr().err


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
