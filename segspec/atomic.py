"""Files that are either the old one or the new one, never half of one, and never one that a user wanted to keep."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from segspec.errors import RunError, UsageError


def refuse_taken(path: Path, *, overwrite: bool, rename: str = "another name", read: Path | None = None) -> None:
    """Refuses to make a file that is there, before anything is computed for it.

    Args:
        path: the file to be made.
        overwrite: whether the user allows it.
        rename: how to name another, in words.
        read: a file that is read, which may never be replaced.

    Raises:
        UsageError: the file exists.
    """
    if not path.exists():
        return
    needed = read is not None and path.samefile(read)
    if needed or not overwrite:
        raise UsageError("exists already", place=str(path), hint=rename + ("" if needed else ", or --overwrite"))


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name in its own folder, then renames it over `path`.

    A reader, or a program killed in between, sees the old content or the new, never a part. Nothing is flushed to the
    disk: this is for pictures and tables that can be made again, not for snapshots.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunError(f"cannot write this file: {error.strerror or error}", place=str(path)) from error


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
