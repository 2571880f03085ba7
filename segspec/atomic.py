"""Files that are either the old one or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from segspec.errors import RunError


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
