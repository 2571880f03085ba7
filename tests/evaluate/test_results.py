"""The folder of results: one call's results, no file of a user's lost."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from segspec.errors import RunError
from segspec.evaluate.results import NOTES, open_results


def write(folder: Path, *names: str, inputs: tuple[str, ...] = ()) -> None:
    with open_results(folder, names, inputs) as results:
        for name in names:
            results.save(name, os.fsencode(name))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {NOTES}


def test_results_of_an_earlier_test_are_removed_with_the_folders_they_leave_empty(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png", "sheets/a.png", "table.md")
    write(tmp_path, "masks/b.png")
    assert files(tmp_path) == {"masks/b.png"}
    assert not (tmp_path / "sheets").exists()


def test_a_users_files_stay(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png", "table.md")
    (tmp_path / "masks" / "mine.png").write_bytes(b"mine")
    (tmp_path / "table.md").write_bytes(b"with my remarks")
    write(tmp_path, "masks/b.png")
    assert files(tmp_path) == {"masks/b.png", "masks/mine.png", "table.md"}


def test_a_users_file_in_the_way_is_one_error_and_nothing_is_changed(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png")
    for name in ("b", "c"):
        (tmp_path / "masks" / f"{name}.png").write_bytes(b"a label")
    with pytest.raises(RunError, match=r"masks/b\.png: is in the way .* \(and 1 more like it\)(.|\n)*--out"):
        write(tmp_path, "masks/a.png", "masks/b.png", "masks/c.png")
    assert files(tmp_path) == {"masks/a.png", "masks/b.png", "masks/c.png"}
    assert (tmp_path / "masks" / "b.png").read_bytes() == b"a label"


def test_results_that_are_to_be_read_are_not_removed(tmp_path: Path) -> None:
    write(tmp_path, "masks/a.png")
    with pytest.raises(RunError, match=r"masks/a\.png: is a result of an earlier test, which this one would remove"):
        write(tmp_path, "masks/b.png", inputs=(str(tmp_path / "masks" / ".." / "masks" / "a.png"),))
    assert files(tmp_path) == {"masks/a.png"}


def test_a_test_that_was_killed_leaves_nothing_behind_for_long(tmp_path: Path) -> None:
    with open_results(tmp_path, ()) as results:
        results.save("masks/a.png", b"")
    with (tmp_path / NOTES).open("a") as notes:
        notes.write('["masks/b.pn')
    write(tmp_path, "table.md")
    assert files(tmp_path) == {"table.md"}


def test_notes_reach_no_file_outside(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "a.png")
    folder = tmp_path / "results"
    folder.mkdir()
    note = (tmp_path / "elsewhere" / NOTES).read_text().replace("a.png", "../elsewhere/a.png")
    (folder / NOTES).write_text(note)
    write(folder, "b.png")
    assert files(tmp_path / "elsewhere") == {"a.png"}


def test_two_tests_at_once_are_refused(tmp_path: Path) -> None:
    with open_results(tmp_path, ()), pytest.raises(RunError, match="another test is writing"):
        write(tmp_path, "a.png")


def test_a_name_of_any_bytes_is_noted(tmp_path: Path) -> None:
    name = "masks/\udcff\n写.png"
    write(tmp_path, name)
    write(tmp_path)
    assert files(tmp_path) == set()


def test_an_impossible_folder_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file: cannot make the folder of results"):
        write(tmp_path / "file", "a.png")


def save_on_a_full_disk(folder: Path) -> None:
    """Saves where files may not grow any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with open_results(folder, ["a.png"]) as results:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
            results.save("a.png", b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"^{tmp_path}: cannot write to the folder of results: "):
        save_on_a_full_disk(tmp_path)
