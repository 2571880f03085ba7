"""A run that is to be replaced: kept until the new one has proven itself, whenever the trainer ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segspec.errors import RunError
from segspec.run.folder import RunFolder, start_run
from segspec.run.replace import forget_replaced, is_replacing, replace_run, restore_run


class Killed(BaseException):
    """Stands for SIGKILL: nothing that the code does about exceptions may matter."""


def make_run(path: Path, text: str, iterations: int = 0) -> Path:
    with start_run(path) as run:
        run.spec.write_text(text)
        run.solver.write_text("base_lr: 0.1\n")
        (run.snapshots / f"{iterations:09d}").mkdir(parents=True)
    return path


def text_of(path: Path) -> str:
    return RunFolder(path).spec.read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_run(tmp_path / "net", "old", 500)


def test_the_old_run_is_removed_when_the_new_one_has_begun(old: Path) -> None:
    with replace_run(old):
        make_run(old, "new")
        assert is_replacing(old)
        assert names(old.parent) == ["net", "net.before-overwrite"]
        forget_replaced(old)
        assert not is_replacing(old)
    assert (text_of(old), names(old.parent)) == ("new", ["net"])


@pytest.mark.parametrize("begun", [False, True])
def test_a_start_that_fails_leaves_the_old_run(old: Path, begun: bool) -> None:
    def start() -> None:
        with replace_run(old):
            if begun:
                make_run(old, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start()
    assert (text_of(old), names(old.parent)) == ("old", ["net"])


def leave_as_killed(old: Path, iterations: int | None) -> Path:
    """What a trainer leaves that was killed while it replaced a run, having come to a snapshot or not."""
    aside = old.rename(old.with_name("net.before-overwrite"))
    if iterations is not None:
        make_run(old, "new", iterations)
    return aside


@pytest.mark.parametrize("iterations", [None, 0])
def test_what_a_killed_start_set_aside_is_put_back(old: Path, iterations: int | None) -> None:
    leave_as_killed(old, iterations)
    assert restore_run(old)
    assert (text_of(old), names(old.parent)) == ("old", ["net"])
    assert not restore_run(old)


def test_nothing_that_may_be_wanted_is_removed(old: Path) -> None:
    leave_as_killed(old, 7)
    with pytest.raises(RunError, match=r"another run that was to be replaced by this one: .*net\.before-overwrite\n"):
        restore_run(old)
    assert (text_of(old), names(old.parent)) == ("new", ["net", "net.before-overwrite"])


def test_a_folder_that_is_no_run_is_not_removed(old: Path) -> None:
    leave_as_killed(old, None)
    old.mkdir()
    (old / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="move or remove the one that is not needed"):
        restore_run(old)
    assert (old / "thesis.tex").read_text() == "mine"


def test_a_trainer_at_work_is_left_alone(old: Path) -> None:
    with replace_run(old), start_run(old):
        with pytest.raises(RunError, match="at work in this run folder"):
            restore_run(old)
        with pytest.raises(RunError, match="at work in this run folder"), replace_run(old):
            pass
    assert names(old.parent) == ["net"]


def test_killed_at_any_rename_either_run_is_whole(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, done = os.rename, 0
    for at in range(1, 10):
        done = 0

        def rename(source: Path, target: Path, at: int = at) -> None:
            nonlocal done
            done += 1
            if done >= at:
                raise Killed
            real(source, target)

        monkeypatch.setattr(os, "rename", rename)
        try:
            with replace_run(old):
                make_run(old, "new")
                forget_replaced(old)
        except Killed:
            pass
        monkeypatch.setattr(os, "rename", real)
        restored = restore_run(old)
        forget_replaced(old)
        assert text_of(old) == ("new" if done < at else "old")
        assert restored == (done >= at > 1)
        assert names(old.parent) == ["net"]
        if done < at:
            break
    assert at == 3


def test_a_folder_that_cannot_be_renamed_is_one_message(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(RunError, match="cannot be set aside: Device or resource busy"), replace_run(old):
        pass
    assert text_of(old) == "old"
