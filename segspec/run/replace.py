"""Replacing a run by a new one: the old run goes only when the new one has made its first iteration.

Until then its folder stands beside the new one under the name `RUN.before-overwrite`. Every step is one rename, so a
trainer that is killed leaves either the old run there, to be put back by `restore_run`, or nothing of it but what is
being removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segspec.errors import RunError
from segspec.run.folder import RunFolder, hold, snapshot_iterations

_ASIDE, _REMOVING = ".before-overwrite", ".before-overwrite.removing"


@contextmanager
def replace_run(path: Path) -> Iterator[None]:
    """Sets the run in a folder aside while its replacement starts there, and puts it back unless `forget_replaced` ran.

    Raises:
        RunError: a trainer is at work in the folder, or it cannot be renamed.
    """
    with hold(path):
        _rename(path, _beside(path, _ASIDE), "cannot be set aside")
        try:
            yield
        finally:
            if is_replacing(path):
                _put_back(path)


def is_replacing(path: Path) -> bool:
    """Whether the run that the one in this folder replaces still stands aside."""
    return _beside(path, _ASIDE).is_dir()


def forget_replaced(path: Path) -> None:
    """Removes the run that the one in this folder replaces, if there is one: the new run has proven itself."""
    removing = _beside(path, _REMOVING)
    if is_replacing(path):
        shutil.rmtree(removing, ignore_errors=True)
        _rename(_beside(path, _ASIDE), removing, "cannot be removed")
    shutil.rmtree(removing, ignore_errors=True)


def restore_run(path: Path) -> bool:
    """Puts back the run that a killed trainer had set aside, in place of what that trainer left in the folder.

    Returns:
        Whether there was one.

    Raises:
        RunError: a trainer is at work in one of the folders, or what is in the folder is more than a start that failed.
    """
    aside = _beside(path, _ASIDE)
    if not RunFolder(aside).spec.is_file():
        return False
    with hold(aside):
        if not path.exists():
            _put_back(path)
            return True
        _refuse_losing(path, aside)
        with hold(path):
            _put_back(path)
    return True


def _refuse_losing(path: Path, aside: Path) -> None:
    """Refuses to remove a folder with something in it that a start which failed does not leave."""
    foreign = not RunFolder(path).spec.is_file() and any(not each.name.startswith(".") for each in path.iterdir())
    if foreign or any(snapshot_iterations(RunFolder(path))):
        message = f"there is another run that was to be replaced by this one: {aside}"
        raise RunError(message, hint="move or remove the one that is not needed", place=str(path))


def _put_back(path: Path) -> None:
    """Renames the run that stands aside to its old place; what is there is removed."""
    removing = _beside(path, _REMOVING)
    shutil.rmtree(removing, ignore_errors=True)
    if path.exists():
        _rename(path, removing, "cannot be removed")
    _rename(_beside(path, _ASIDE), path, f"cannot be renamed to {path.name}")
    shutil.rmtree(removing, ignore_errors=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _rename(path: Path, target: Path, failure: str) -> None:
    try:
        os.rename(path, target)
    except OSError as error:
        raise RunError(f"{failure}: {error.strerror or error}", place=str(path)) from error
