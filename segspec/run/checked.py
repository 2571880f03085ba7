"""Folders whose files are written through to the disk and listed with their SHA-256, so that damage shows when read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

MANIFEST = "manifest.json"
WRITING = ".writing-"


class DamagedError(Exception):
    """A file is not what was written; the message says where it differs."""


def write_file(path: Path, chunks: Iterable[bytes | memoryview]) -> str:
    """Writes a new file through to the disk; returns the SHA-256 of what it holds."""
    digest = hashlib.sha256()
    with open(path, "xb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def write_manifest(folder: Path, sums: Mapping[str, str]) -> None:
    """Writes the list of a folder's files, by name with their SHA-256."""
    write_file(folder / MANIFEST, [_manifest_text(sums)])


def add_file(folder: Path, name: str, content: bytes) -> None:
    """Adds a file to a folder that has its manifest; until the manifest lists it, it does not count.

    Raises:
        DamagedError: the manifest cannot be read.
        OSError: the disk fails; the folder then is as it was.
    """
    sums = read_sums(folder)
    sums[name] = _write_over(folder / name, content)
    _write_over(folder / MANIFEST, _manifest_text(sums))
    flush_to_disk(folder)


def read_sums(folder: Path) -> dict[str, str]:
    """The checksums by file name. Raises DamagedError where they cannot be read."""
    try:
        sums = json.loads((folder / MANIFEST).read_bytes())["sha256"]
    except OSError as error:
        raise DamagedError(f"{MANIFEST}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError):
        raise DamagedError(f"{MANIFEST} cannot be read") from None
    if not isinstance(sums, dict):
        raise DamagedError(f"{MANIFEST} cannot be read")
    return sums


def read_checked(folder: Path, name: str, sums: Mapping[str, str]) -> bytes:
    """The content of a file whose checksum is right. Raises DamagedError where it is not."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise DamagedError(f"{name}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != sums.get(name):
        raise DamagedError(f"{name} is not what was written (its SHA-256 differs)")
    return content


def is_intact(folder: Path) -> bool:
    """Whether a folder has every file as it was written."""
    try:
        sums = read_sums(folder)
        for name in sums:
            read_checked(folder, name, sums)
    except DamagedError:
        return False
    return True


def flush_to_disk(path: Path) -> None:
    """Has the disk know a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest_text(sums: Mapping[str, str]) -> bytes:
    return json.dumps({"sha256": sums}, indent=1).encode()


def _write_over(path: Path, content: bytes) -> str:
    """Writes a file in one step, in place of what may be there; returns the SHA-256 of what it holds."""
    temporary = path.with_name(WRITING + path.name)
    temporary.unlink(missing_ok=True)
    digest = write_file(temporary, [content])
    os.rename(temporary, path)
    return digest
