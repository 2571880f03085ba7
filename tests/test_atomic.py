from __future__ import annotations

import os
from pathlib import Path

import pytest

from segspec.atomic import refuse_taken, write_atomically
from segspec.errors import RunError, UsageError


def test_replaces_the_old_content_and_makes_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in path.parent.iterdir()] == ["table.json"]


def test_other_people_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fail(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RunError, match=r"curves.png: cannot write this file: No space left on device"):
        write_atomically(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"] and path.read_bytes() == b"old"


def test_a_folder_that_is_a_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "test").write_bytes(b"")
    with pytest.raises(RunError, match="cannot write this file"):
        write_atomically(tmp_path / "test" / "mask.png", b"")


def test_a_file_that_is_there_is_made_only_where_the_user_says_so(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    refuse_taken(path, overwrite=False)
    path.write_text("mine")
    refuse_taken(path, overwrite=True)
    with pytest.raises(UsageError, match=r"net\.yaml: exists already\n  another name, or --overwrite$"):
        refuse_taken(path, overwrite=False)
    with pytest.raises(UsageError, match=r"exists already\n  another name with --out$"):
        refuse_taken(path, overwrite=True, rename="another name with --out", read=path)
