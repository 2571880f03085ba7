"""Trainings that were stopped, and go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_runs import TESTED, Hook, digest, losses, metrics, records, resume, scores, snapshots, train

from segspec.cli import main

pytestmark = pytest.mark.usefixtures("quick")


def send(number: int, at: int) -> Hook:
    def hook(record: dict[str, Any]) -> None:
        if record["iteration"] == at and "rate" in record:
            os.kill(os.getpid(), number)

    return hook


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
