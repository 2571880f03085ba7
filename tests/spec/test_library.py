"""Where class tables and block libraries are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.spec import library


def test_shipped_folders_are_there() -> None:
    assert (library.shipped("specs") / "segnet_camvid.yaml").is_file()
    assert (library.shipped("solvers") / "sgd.yaml").is_file()


def test_the_nearest_wins(tmp_path: Path) -> None:
    beside = tmp_path / "nets"
    for folder in (tmp_path / "classes", beside / "classes"):
        assert library.find("classes", "camvid", beside) != folder / "camvid.yaml"
        folder.mkdir(parents=True)
        (folder / "camvid.yaml").write_text("x")
        assert library.find("classes", "camvid", beside) == folder / "camvid.yaml"


def test_a_name_with_an_ending_is_a_path_from_the_spec(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("x")
    assert library.find("classes", "t.yaml", tmp_path) == tmp_path / "t.yaml"
    assert library.find("classes", "../t.yaml", tmp_path / "..") is None


@pytest.mark.parametrize(
    "name", ["", "none", "a" * 5000, "a" * 5000 + ".yaml", "x\0y", "x\0y.yaml", "\ud800", ".", ".."]
)
def test_what_cannot_be_a_file_is_not_found(name: str, tmp_path: Path) -> None:
    assert library.find("blocks", name, tmp_path) is None


def test_names_offer_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "mine.yaml").write_text("x")
    assert {"mine", "camvid", "squares"} <= set(library.names("classes", tmp_path))
