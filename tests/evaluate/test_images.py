from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segspec.errors import DataError
from segspec.evaluate.images import collect, unique_names


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)


def test_files_folders_and_lists_follow_each_other(tmp_path: Path) -> None:
    touch(tmp_path / "one.png", tmp_path / "two" / "b.PNG", tmp_path / "two" / "a.png", tmp_path / "x.png")
    (tmp_path / "two" / "notes.md").write_text("")
    touch(tmp_path / "x_label.png")
    (tmp_path / "list.txt").write_text("x.png x_label.png\n")
    found = collect([str(tmp_path / part) for part in ("one.png", "two", "list.txt")])
    assert [entry.name for entry in found] == ["one", "a", "b", "x"]
    assert [entry.label for entry in found] == [None, None, None, str(tmp_path / "x_label.png")]


def test_a_list_without_labels(tmp_path: Path) -> None:
    touch(tmp_path / "x.png")
    (tmp_path / "list.lst").write_text("x.png\n")
    assert collect([str(tmp_path / "list.lst")])[0].label is None


def test_labels_lie_beside_a_folder_or_where_one_says(tmp_path: Path) -> None:
    touch(tmp_path / "val" / "ä b.jpg", tmp_path / "valannot" / "ä b.png", tmp_path / "own" / "ä b.png")
    assert collect([str(tmp_path / "val")])[0].label == str(tmp_path / "valannot" / "ä b.png")
    found = collect([str(tmp_path / "val")], tmp_path / "own")
    assert (found[0].label, found[0].name) == (str(tmp_path / "own" / "ä b.png"), "ä b")


def test_mistakes_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "1.png", tmp_path / "labels" / "1.png", tmp_path / "c" / "2.png")
    (tmp_path / "empty").mkdir()
    cases = {
        ("none.png",): "no such image, folder or list",
        ("empty",): "the folder holds no pictures",
    }
    for paths, message in cases.items():
        with pytest.raises(DataError, match=message):
            collect([str(tmp_path / path) for path in paths])
    with pytest.raises(DataError, match="no such folder of labels"):
        collect([str(tmp_path / "a")], tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no label for .*2\.png\n  a picture '2\.png' is needed there"):
        collect([str(tmp_path / "c")], tmp_path / "labels")
    with pytest.raises(DataError, match=r"a/1\.png and .*b/1\.png would share a label"):
        collect([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "labels")


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["a/1.png", "a/2.jpg"], ["1", "2"]),
        (["a/1.png", "b/1.png"], ["a_1", "b_1"]),
        (["/a/1.png", "/b/1.jpg", "/b/2.jpg"], ["a_1", "b_1", "b_2"]),
        (["写真.png", "caf\u00e9.png", "two words.png"], ["写真", "caf\u00e9", "two words"]),
        (["x/1.png", "x/1.jpg"], ["00000_1", "00001_1"]),
        (["archive.tar.png"], ["archive.tar"]),
        ([f"{'a' * 250}.png"], [f"00000_{'a' * 40}"]),
        ([f"{'写' * 90}.png"], [f"00000_{'写' * 40}"]),
    ],
)
def test_results_get_names_that_tell_them_apart(images: list[str], names: list[str]) -> None:
    assert unique_names(images) == names
