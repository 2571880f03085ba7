"""The log of a training: one JSON object a line, one line a display or test."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from segspec.errors import RunError

Record = dict[str, Any]
"""What one line holds: `iteration`, and numbers by name; null stands for a number that was not finite."""


class Log:
    """Appends records to a log file, each handed to the system before `append` returns; a context manager.

    Opening repairs what a killed trainer left: lines that are no records are removed, as are the records of iterations
    after `done`, which a resumed training is about to write again.

    Args:
        path: the log file, made when it is missing.
        done: iterations made when training starts or resumes; a record's `iteration` counts the same way.

    Raises:
        RunError: the file cannot be read or written.
    """

    def __init__(self, path: Path, done: int = 0):
        self.path = path
        try:
            _repair(path, done)
            self._file = FileIO(path, "a")
        except OSError as error:
            raise _unusable(path, error) from error

    def append(self, record: Mapping[str, Any]) -> None:
        """Writes one line. Raises RunError when it cannot be written; then no part of it stays in the file."""
        line = memoryview(_line(record))
        end = self._file.seek(0, 2)
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            self._file.truncate(end)
            raise _unusable(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_log(path: Path) -> list[Record]:
    """The records of a log in order. Lines that are no records, such as a last one half written, are passed over.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        return [record for _, record in _records(path.read_bytes())]
    except OSError as error:
        raise _unusable(path, error) from error


def finite_or_null(value: Any) -> Any:
    """A number as JSON knows it: scalars of arrays become numbers, and what is not finite becomes null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _repair(path: Path, done: int) -> None:
    """Leaves only whole records of iterations up to `done`; a log that has only those is not touched."""
    content = path.read_bytes() if path.exists() else b""
    good = b"".join(line for line, record in _records(content) if record["iteration"] <= done)
    if good == content[: len(good)]:
        with open(path, "ab") as file:
            file.truncate(len(good))
    else:
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_bytes(good)
        temporary.replace(path)


def _records(content: bytes) -> list[tuple[bytes, Record]]:
    """The lines that are records, each with what it says."""
    found = []
    for line in content.splitlines(keepends=True):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if line.endswith(b"\n") and isinstance(record, dict) and isinstance(record.get("iteration"), int):
            found.append((line, record))
    return found


def _line(record: Mapping[str, Any]) -> bytes:
    return (json.dumps({key: finite_or_null(value) for key, value in record.items()}, allow_nan=False) + "\n").encode()


def _unusable(path: Path, error: OSError) -> RunError:
    return RunError(f"cannot keep the log: {error.strerror or error}", place=str(path))
