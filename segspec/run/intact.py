"""Which snapshot of a run is taken: the newest or the best, and where that is damaged another, with a warning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from segspec.errors import Diagnostic, RunError
from segspec.run import arrays
from segspec.run.checked import DamagedError
from segspec.run.folder import RunFolder
from segspec.run.snapshots import Snapshot, Trees, best_snapshot, list_snapshots, read_snapshot, read_trees

_Read = TypeVar("_Read")


def load_newest(run: RunFolder, like: Trees) -> Snapshot:
    """The newest snapshot that is what was written.

    Args:
        run: a run folder.
        like: as `load_snapshot` takes it.

    Raises:
        RunError: there is none, all are damaged, or it is of another net or solver.
    """
    snapshot, damaged = _first_intact(run, reversed(list_snapshots(run)), lambda path: read_snapshot(path, like))
    return snapshot._replace(damaged=damaged)


def load_best(run: RunFolder, like: Trees) -> Snapshot:
    """The best snapshot, or the newest where none was tested; where that is damaged, the newest that is not.

    Arguments and errors are those of `load_newest`.
    """
    snapshot, damaged = _first_intact(run, _best_first(run), lambda path: read_snapshot(path, like))
    return snapshot._replace(damaged=damaged)


def read_best(run: RunFolder) -> tuple[Path, dict[str, arrays.Flat], tuple[Diagnostic, ...]]:
    """The folder that `load_best` would take, its arrays by tree and name, and a warning for each one passed over.

    Raises:
        RunError: there is none, or all are damaged.
    """
    (path, trees), damaged = _first_intact(run, _best_first(run), lambda path: (path, read_trees(path)))
    return path, trees, damaged


def _best_first(run: RunFolder) -> list[Path]:
    """All snapshots, the best and then the newest first."""
    best = best_snapshot(run)
    return [*([best] if best else []), *(path for path in reversed(list_snapshots(run)) if path != best)]


def _first_intact(
    run: RunFolder, paths: Iterable[Path], read: Callable[[Path], _Read]
) -> tuple[_Read, tuple[Diagnostic, ...]]:
    """What the first snapshot that is what was written holds, and a warning for each that was passed over.

    Raises:
        RunError: there is none, or all are damaged.
    """
    damaged: list[Diagnostic] = []
    for path in paths:
        try:
            return read(path), tuple(damaged)
        except DamagedError as fault:
            damaged.append(Diagnostic(f"damaged snapshot passed over: {fault}", place=str(path), severity="warning"))
    if damaged:
        faults = [Diagnostic(each.message, place=each.place) for each in damaged]
        raise RunError([*faults, Diagnostic("every snapshot of this run is damaged", place=str(run.path))])
    raise RunError("the run has no snapshot yet", hint="train it again from the start", place=str(run.path))
