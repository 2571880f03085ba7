"""The folder of one training: what lies where, who may write to it, and that nothing in it is lost by mistake."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segspec.errors import RunError

_LOCK = ".lock"
_LONGEST = 150


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run lie: spec and solver as used, the log, its curves, snapshots and results."""

    path: Path

    @property
    def spec(self) -> Path:
        return self.path / "spec.yaml"

    @property
    def solver(self) -> Path:
        return self.path / "solver.yaml"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    @property
    def statistics(self) -> Path:
        """Statistics for inference, from `compute-bn-stats`."""
        return self.path / "bn"

    @property
    def test(self) -> Path:
        return self.path / "test"


@contextmanager
def start_run(path: Path) -> Iterator[RunFolder]:
    """Makes a run folder and holds its lock; an empty folder is taken as it is.

    Raises:
        RunError: something is in the folder already, another trainer holds it, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RunError("is a file, not a folder for a run", hint="name another with --run", place=str(path)) from None
    except OSError as error:
        message, hint = f"cannot make the run folder: {error.strerror}", "name another with --run"
        raise RunError(message, place=str(path), hint=hint) from error
    with hold(path):
        if any(entry.name != _LOCK for entry in path.iterdir()):
            message = "the run folder is not empty, and nothing in it is overwritten"
            raise RunError(message, hint=_ways_on(path), place=str(path))
        yield RunFolder(path)


@contextmanager
def resume_run(path: Path) -> Iterator[RunFolder]:
    """Opens the folder of an earlier training and holds its lock.

    Raises:
        RunError: it is no run folder, or another trainer holds it.
    """
    run = open_run(path)
    with hold(path):
        yield run


def _ways_on(path: Path) -> str:
    """What can be done where a run cannot be started because of what is in its folder."""
    run, other = RunFolder(path), "or name another folder with --run"
    if snapshot_iterations(run):
        return f"go on with it by --resume {path}, replace it by --overwrite, {other}"
    if run.spec.is_file():
        return f"it has no snapshot to go on from: replace it by --overwrite, {other}"
    return "name another folder with --run"


def snapshot_iterations(run: RunFolder) -> list[int]:
    """The iterations that a run has snapshots of, in ascending order; they are not checked."""
    found = run.snapshots.iterdir() if run.snapshots.is_dir() else ()
    return sorted(int(path.name) for path in found if re.fullmatch(r"\d{9,}", path.name))


def is_run(path: Path) -> bool:
    """Whether a path leads to a run folder."""
    run = RunFolder(path)
    return run.spec.is_file() and run.solver.is_file()


def open_run(path: Path) -> RunFolder:
    """A run folder to read from; it may be in use by a trainer.

    Raises:
        RunError: it is no run folder.
    """
    run = RunFolder(path)
    if not path.is_dir():
        raise RunError("there is no such run folder", place=str(path))
    missing = [part.name for part in (run.spec, run.solver) if not part.is_file()]
    if missing:
        raise RunError(f"is not the folder of a run: it has no {' and no '.join(missing)}", place=str(path))
    return run


def run_name(name: str) -> str:
    """A net's, layer's or picture's name as the name of one file or folder.

    Letters, digits, `.`, `_` and `-` stay, except a leading dot; every other byte becomes `%` and two hexadecimal
    digits, so different names never meet. A long name is cut, and ends in part of its SHA-256.
    """
    raw = name.encode(errors="surrogatepass")
    escaped = re.sub(rb"[^A-Za-z0-9._-]|^\.", lambda match: b"%%%02X" % match[0][0], raw).decode()
    if len(escaped) > _LONGEST:
        escaped = f"{escaped[:_LONGEST]}%{hashlib.sha256(raw).hexdigest()[:16]}"
    return escaped or "%"


def require_space(folder: Path, needed: int) -> None:
    """Raises RunError when the disk of an existing folder has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = f"the disk has {_megabytes(free)} free, and the snapshots need {_megabytes(needed)}"
        raise RunError(message, hint="make room, lower 'keep', or name another folder with --run", place=str(folder))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Holds a folder against other trainers. The system lets go of a lock when its holder ends, in whatever way."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunError(f"cannot write to the run folder: {error.strerror}", place=str(path)) from error
    try:
        _acquire(descriptor, path)
        _sign(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int, path: Path) -> None:
    """Writes into the lock who holds it."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
    except OSError as error:
        raise RunError(f"cannot write to the run folder: {error.strerror}", place=str(path)) from error


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        hint = "wait for it to end, or name another folder with --run"
        raise RunError(f"a trainer is at work in this run folder: {holder}", hint=hint, place=str(path)) from None
    except OSError as error:
        hint = "use a folder on a disk that can lock files"
        raise RunError(f"cannot lock the run folder: {error.strerror}", hint=hint, place=str(path)) from error
