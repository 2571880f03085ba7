"""Where class tables and block libraries are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import SpecError
from segspec.spec import library
from segspec.spec.net import load_net
from segspec.spec.solver_file import load_solver


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("specs/unet.yaml", "specs"),
        ("unet", "specs"),
        ("segnet_paper/fcn_basic", "specs"),
        ("solvers/sgd.yaml", "solvers"),
    ],
)
def test_a_missing_file_is_told_with_the_shipped_one_of_its_name(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hint = library.shipped_hint(Path(name))
    assert hint.startswith(f"the shipped one is {library.shipped(kind)}")
    assert Path(hint.removeprefix("the shipped one is ")).is_file()
    with pytest.raises(SpecError, match="there is no such file") as caught:
        (load_net if kind == "specs" else load_solver)(Path(name))
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["vgg.yaml", "camvid", "mine.yaml", "unet.prototxt", "a\0b", "x" * 300])
def test_what_is_not_shipped_as_a_net_or_solver_is_not_offered(name: str) -> None:
    assert library.shipped_hint(Path(name)) == ""


def test_what_is_there_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "unet.yaml").write_text("x")
    (tmp_path / "unet").mkdir()
    assert (library.shipped_hint(tmp_path / "unet.yaml"), library.shipped_hint(tmp_path / "unet")) == ("", "")
