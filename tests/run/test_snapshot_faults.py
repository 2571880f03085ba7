"""Disks that fail and trainers that are killed while a snapshot is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from snapshot_runs import LIKE, content, save, saved, trees_of

from segspec.errors import RunError
from segspec.run import checked
from segspec.run.folder import RunFolder
from segspec.run.intact import load_newest
from segspec.run.snapshots import (
    remove_unfinished,
)


class Killed(BaseException):
    """The trainer is gone: nothing after this runs, nothing is tidied."""


@contextmanager
def fault(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> Iterator[list[str]]:
    """Fails the operation number `at` of those that change the disk; yields the names of all that were called."""
    calls: list[str] = []

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operate(*args: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == at:
                raise error
            return real(*args, **options)

        return operate

    def open_counted(path: Path, mode: str) -> Any:
        return type("Counted", (FileIO,), {"write": failing("write", FileIO.write)})(path, mode)

    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "fsync"):
            patch.setattr(os, name, failing(name, getattr(os, name)))
        patch.setattr(checked, "open", failing("open", open_counted), raising=False)
        yield calls


def failure_of(action: Callable[[], object]) -> str:
    """The message of what went wrong, or nothing."""
    try:
        action()
    except RunError as error:
        return str(error)
    return ""


def test_a_trainer_killed_while_metrics_are_added_loses_no_snapshot(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(1, 100):
        path = save(run, 3)
        with fault(monkeypatch, at, Killed()) as calls:
            try:
                save(run, 3, miou=0.5)
            except Killed:
                assert load_newest(run, LIKE).meta["metrics"] in ({}, {"miou": 0.5})
        remove_unfinished(run)
        assert not list(run.snapshots.rglob(".*"))
        save(run, 3, miou=0.5)
        assert load_newest(run, LIKE).meta["metrics"] == {"miou": 0.5}
        assert load_newest(run, LIKE).damaged == ()
        if len(calls) < at:
            break
        shutil.rmtree(path)
    assert at > 5 and calls.count("rename") == 2


@pytest.mark.parametrize("number", [28, 5], ids=["ENOSPC", "EIO"])
def test_a_disk_that_fails_at_any_operation_leaves_the_older_snapshots(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = content(save(run, 3))
    expected = f"{run.snapshots}: cannot write the snapshot of iteration 7: {os.strerror(number)}"
    expected += "\n  earlier snapshots are as they were"
    for at in range(1, 100):
        with fault(monkeypatch, at, OSError(number, os.strerror(number))) as calls:
            message = failure_of(lambda: save(run, 7))
        assert message == ("" if len(calls) < at else expected)
        assert content(run.snapshots / "000000003") == before
        assert load_newest(run, LIKE).damaged == ()
        assert not list(run.snapshots.glob(".*"))
        if len(calls) < at:
            break
        shutil.rmtree(run.snapshots / "000000007", ignore_errors=True)
    assert at > 20 and set(calls) == {"open", "write", "fsync", "mkdir", "rename"}
    assert saved(run) == [3, 7]


def test_a_trainer_killed_at_any_operation_leaves_a_snapshot_to_go_on_with(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 3)
    for at in range(1, 100):
        with fault(monkeypatch, at, Killed()) as calls:
            try:
                save(run, 7, keep=1)
                acknowledged = 7
            except Killed:
                acknowledged = 3
        remove_unfinished(run)
        found = load_newest(run, LIKE)
        assert found.iteration >= acknowledged and found.damaged == ()
        jax.tree.map(np.testing.assert_array_equal, found.trees, trees_of(found.iteration))
        assert not list(run.snapshots.glob(".*"))
        if len(calls) < at:
            break
        shutil.rmtree(run.snapshots)
        save(run, 3)
    assert at > 20 and calls.count("rename") == 2


def test_the_disk_knows_everything_before_a_snapshot_gets_its_name(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    renamed: list[int] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        assert {path.stat().st_ino for path in (source, *source.iterdir())} <= set(flushed)
        renamed.append(len(flushed))
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    save(run, 3)
    assert flushed[renamed[0] :] == [run.snapshots.stat().st_ino]
    assert {path.stat().st_ino for path in (run.spec, run.path, run.path.parent)} <= set(flushed)


KILL_TEN_TIMES = """
import os, random, signal, sys, time
from pathlib import Path
import jax, numpy as np
from segspec.run.folder import RunFolder
from segspec.run.snapshots import save_snapshot

def train(run):
    iteration = 0
    while True:
        iteration += 1
        tree = {"conv1": {"weight": np.full(200_000, iteration, np.float32)}}
        save_snapshot(run, iteration, {"params": tree}, {"metrics": {"loss": 1 / iteration}}, keep=2)
        with open(run.path / "acknowledged", "a") as file:
            file.write(f"{iteration}\\n")

random.seed(1)
for number in range(10):
    run = RunFolder(Path(sys.argv[1]) / str(number))
    run.path.mkdir()
    child = os.fork()
    if child == 0:
        train(run)
    while not (run.path / "acknowledged").exists():
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_sigkill_at_random_instants_loses_no_acknowledged_snapshot(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", KILL_TEN_TIMES, str(tmp_path)], check=True, timeout=120)
    for folder in sorted(tmp_path.iterdir()):
        run = RunFolder(folder)
        acknowledged = (folder / "acknowledged").read_text().splitlines()
        remove_unfinished(run)
        found = load_newest(run, {"params": {"conv1": {"weight": np.zeros(200_000, np.float32)}}})
        assert found.damaged == () and found.iteration >= int(acknowledged[-1] if acknowledged else 1)
        assert np.unique(found.trees["params"]["conv1"]["weight"]).tolist() == [found.iteration]
        assert not list(run.snapshots.glob(".*"))
    assert len(list(tmp_path.iterdir())) == 10
