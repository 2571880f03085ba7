from __future__ import annotations

import fcntl
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segspec.errors import RunError
from segspec.run.folder import RunFolder, open_run, require_space, resume_run, run_name, start_run

HOLD = """
import sys, time
from pathlib import Path
from segspec.run.folder import start_run
with start_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def make_run(path: Path) -> RunFolder:
    with start_run(path) as run:
        run.spec.write_text("segspec: 1\n")
        run.solver.write_text("base_lr: 0.1\n")
    return run


def test_a_run_is_made_and_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "net")
    with resume_run(run.path) as again:
        assert again == run
    assert open_run(run.path) == run


def test_an_empty_folder_is_taken_even_after_a_start_that_failed(tmp_path: Path) -> None:
    with start_run(tmp_path):
        pass
    make_run(tmp_path)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (["spec.yaml", "snapshots/000000000/"], "go on with it by --resume {path}, replace it by --overwrite, or name"),
        (["spec.yaml", "snapshots/.writing-000000000/"], "it has no snapshot to go on from: replace it by --overwrite"),
        (["spec.yaml"], "it has no snapshot to go on from: replace it by --overwrite, or name another folder"),
        (["thesis.tex"], "\n  name another folder with --run"),
    ],
)
def test_a_folder_with_something_in_it_is_refused_with_what_can_be_done(
    content: list[str], hint: str, tmp_path: Path
) -> None:
    for name in content:
        (tmp_path / name).mkdir(parents=True) if name.endswith("/") else (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match=r"not empty, and nothing in it is overwritten") as caught, start_run(tmp_path):
        pass
    assert hint.format(path=tmp_path) in str(caught.value)
    assert (tmp_path / content[0]).read_text() == "mine"


def test_a_second_trainer_is_refused_and_told_who_is_at_work(tmp_path: Path) -> None:
    with start_run(tmp_path) as run:
        run.spec.touch()
        run.solver.touch()
        with (
            pytest.raises(RunError, match=f"at work in this run folder: process {os.getpid()} on "),
            start_run(tmp_path),
        ):
            pass
        with pytest.raises(RunError, match="at work in this run folder"), resume_run(tmp_path):
            pass
    with resume_run(tmp_path):
        pass


def test_a_killed_trainer_holds_nothing(tmp_path: Path) -> None:
    trainer = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    with trainer:
        assert trainer.stdout is not None and trainer.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"process {trainer.pid} on "), start_run(tmp_path):
            pass
        trainer.kill()
    with start_run(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["missing", "file", "other"])
def test_what_is_no_run_folder_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    if kind == "file":
        path.touch()
    if kind == "other":
        path.mkdir()
        (path / "spec.yaml").touch()
    expected = "has no solver.yaml" if kind == "other" else "there is no such run folder"
    with pytest.raises(RunError, match=expected), resume_run(path):
        pass
    assert not path.is_dir() or not (path / ".lock").exists()


def test_a_file_in_the_place_of_a_run_folder_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=str(tmp_path / "file")), start_run(path):
            pass


def test_a_folder_that_cannot_be_made_is_one_message_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot make the run folder: Not a directory\n  name another with --run"):
        start_run(tmp_path / "file" / "run").__enter__()


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(RunError, match=f"^{tmp_path}: cannot write to the run folder: "), start_run(tmp_path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_locks_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match="cannot lock the run folder: No locks available"), start_run(tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("segnet_basic-2.0", "segnet_basic-2.0"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("", "%"),
        ("é", "%C3%A9"),
    ],
)
def test_a_name_becomes_one_plain_file_name(name: str, expected: str) -> None:
    assert run_name(name) == expected


@given(st.text(max_size=60), st.text(max_size=60))
@example("x" * 300, "x" * 299 + "y")
@example("\udcff", "\udcfe")
def test_different_names_never_meet_nor_leave_the_folder(first: str, second: str) -> None:
    for name in (first, second):
        path = Path("folder") / run_name(name)
        assert path.parent == Path("folder") and path.name not in ("", ".", "..") and len(path.name.encode()) <= 255
    assert (run_name(first) == run_name(second)) == (first == second)


def test_too_little_space_names_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(2_000_000))
    require_space(tmp_path, 2_000_000)
    with pytest.raises(RunError, match=r"has 2.0 MB free, and the snapshots need 1,500.0 MB"):
        require_space(tmp_path, 1_500_000_000)
