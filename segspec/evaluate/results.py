"""The folder of a test's results: always those of one call, and never at the cost of a file that a user put there.

Each file is noted with the SHA-256 of its content before it is written. The next test into the same folder removes what
is noted and unchanged, so masks of other images or a table of other weights never lie beside new ones.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from segspec.atomic import write_atomically
from segspec.errors import RunError

NOTES = ".results.jsonl"
"""One `["masks/a.png", SHA-256]` a line."""


class Results:
    """A folder that one test writes to."""

    def __init__(self, folder: Path, notes: IO[str]):
        self.folder = folder
        self.written: dict[str, None] = {}
        """What was written, in order: files, and folders with a slash."""
        self._notes = notes

    def save(self, name: str, content: bytes) -> None:
        """Writes a file, whole or not at all.

        Args:
            name: its path in the folder.
            content: its bytes.

        Raises:
            RunError: it cannot be written.
        """
        try:
            self._note(json.dumps([name, _digest(content)]) + "\n")
        except OSError as error:
            raise RunError(f"cannot write to the folder of results: {error.strerror}", place=str(self.folder)) from None
        write_atomically(self.folder / name, content)
        first, slash, _ = name.partition("/")
        self.written[first + slash] = None

    def _note(self, line: str) -> None:
        """Writes past the buffer, whose content would fail once more when the notes are closed."""
        whole = line.encode("ascii")
        if os.write(self._notes.fileno(), whole) < len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def open_results(folder: Path, names: Collection[str], inputs: Collection[str] = ()) -> Iterator[Results]:
    """Removes the results of an earlier test and holds the folder against other tests. All is checked beforehand.

    Args:
        folder: made if it is not there.
        names: every file that may be written, as a path in the folder.
        inputs: paths of files that are going to be read.

    Raises:
        RunError: a file of a user's is in the way, an earlier result is to be read, another test writes here, or the
            folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        notes = (folder / NOTES).open("a+", encoding="ascii")
    except OSError as error:
        raise RunError(f"cannot make the folder of results: {error.strerror}", place=str(folder)) from None
    with notes:
        _hold(notes, folder)
        earlier = _read_notes(notes, folder)
        _refuse_inputs(earlier, inputs)
        _refuse_strangers(folder, names, earlier)
        _remove(earlier, folder, notes)
        yield Results(folder, notes)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hold(notes: IO[str], folder: Path) -> None:
    """Locks the notes; the system lets go when they are closed, in whatever way."""
    try:
        fcntl.flock(notes, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        hint = "wait for it to end, or name another folder with --out"
        raise RunError("another test is writing its results here", place=str(folder), hint=hint) from None
    except OSError as error:
        hint = "name a folder on a disk that can lock files with --out"
        raise RunError(f"cannot lock the folder: {error.strerror}", place=str(folder), hint=hint) from None


def _read_notes(notes: IO[str], folder: Path) -> list[Path]:
    """The noted files that are still what was written; a file changed since then is its changer's."""
    notes.seek(0)
    noted: dict[str, str] = {}
    for line in notes:
        try:
            name, digest = json.loads(line)
        except ValueError:  # the last line of a test that was killed while it wrote it
            continue
        noted[str(name)] = str(digest)
    return [path for name, digest in noted.items() if _holds(path := folder / name, digest, folder)]


def _holds(path: Path, digest: str, folder: Path) -> bool:
    """Whether a file inside the folder has this content."""
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        return inside and path.is_file() and _digest(path.read_bytes()) == digest
    except (OSError, ValueError):
        return False


def _refuse_inputs(earlier: list[Path], inputs: Collection[str]) -> None:
    lost = {path.resolve() for path in earlier}.intersection(Path(path).resolve() for path in inputs)
    if lost:
        hint = "name another folder for the new results with --out"
        raise RunError("is a result of an earlier test, which this one would remove", place=str(min(lost)), hint=hint)


def _refuse_strangers(folder: Path, names: Collection[str], earlier: list[Path]) -> None:
    known = set(earlier)
    strange = [path for name in names if (path := folder / name) not in known and path.exists()]
    if strange:
        more = f" (and {len(strange) - 1} more like it)" if len(strange) > 1 else ""
        hint = "move it away, or name another folder with --out"
        message = f"is in the way and was not written by an earlier test{more}, so it is not overwritten"
        raise RunError(message, place=str(strange[0]), hint=hint)


def _remove(earlier: list[Path], folder: Path, notes: IO[str]) -> None:
    """Removes the files, the folders that become empty, and last the notes of them."""
    try:
        for path in earlier:
            path.unlink()
        for parent in {path.parent for path in earlier} - {folder}:
            if not any(parent.iterdir()):
                parent.rmdir()
        notes.truncate(0)
    except OSError as error:
        raise RunError(f"cannot remove the results of an earlier test: {error.strerror}", place=str(folder)) from None
