from __future__ import annotations

import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from segspec.data.listing import Listing, listing_of, read_listing, starts_here
from segspec.errors import DataError


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def written(folder: Path, text: str | bytes, name: str = "list.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def pairs(listing: Listing) -> list[tuple[str, str | None]]:
    labels = listing.labels or [None] * len(listing)
    return list(zip(listing.images, labels, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.png b.png\n", [("a.png", "b.png")]),
        ("a.png b.png", [("a.png", "b.png")]),
        ("  a.png \t b.png  \r\nb.png a.png\r\n", [("a.png", "b.png"), ("b.png", "a.png")]),
        ("a.png b.png\rb.png a.png\r", [("a.png", "b.png"), ("b.png", "a.png")]),
        ("\n\n# first comes a\na.png b.png\n\n", [("a.png", "b.png")]),
        (b"\xef\xbb\xbfa.png b.png\n", [("a.png", "b.png")]),
        ("a.png\nb.png\n", [("a.png", None), ("b.png", None)]),
        ("my image.png my label.png\n", [("my image.png", "my label.png")]),
        ("my image.png a.png\n", [("my image.png", "a.png")]),
        ("a.png my label.png\n", [("a.png", "my label.png")]),
        ("my image.png\n", [("my image.png", None)]),
        ("x y z.png\n", [("x y z.png", None)]),
        ("my image.png\tmy label.png\n", [("my image.png", "my label.png")]),
        ('"my image.png" "my label.png"\n', [("my image.png", "my label.png")]),
        ('a.png "my label.png"\n', [("a.png", "my label.png")]),
        ("sub\\c.png b.png\n", [("sub/c.png", "b.png")]),
        ("größe.png 日本.png\n", [("größe.png", "日本.png")]),
        ("ideographic\u3000space.png b.png\n", [("ideographic\u3000space.png", "b.png")]),
        ("a.png b.png\na.png b.png\n", [("a.png", "b.png")] * 2),
    ],
)
def test_reads_every_way_to_write_a_list(
    tmp_path: Path, text: str | bytes, expected: list[tuple[str, str | None]]
) -> None:
    put(tmp_path, "a.png", "b.png", "sub/c.png", "my image.png", "my label.png", "x y z.png", "größe.png", "日本.png")
    put(tmp_path, "ideographic\u3000space.png")
    assert pairs(read_listing(written(tmp_path, text))) == expected


def test_a_name_in_another_unicode_form_is_found(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é.png")
    put(tmp_path, decomposed)
    listing = read_listing(written(tmp_path, unicodedata.normalize("NFC", "é.png")))
    assert Path(listing.image(0)).exists()


def test_line_numbers_count_skipped_lines(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    listing = read_listing(written(tmp_path, "\n# note\na.png\n\na.png\n"))
    assert [listing.place(index).rsplit(":")[-1] for index in range(2)] == ["3", "5"]


def test_paths_start_at_root_folder_then_the_list_then_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("root", "own", "here"):
        put(tmp_path / folder, "a.png")
    path = written(tmp_path / "own", "a.png\n")
    monkeypatch.chdir(tmp_path / "here")
    assert read_listing(path, str(tmp_path / "root")).image(0) == str(tmp_path / "root" / "a.png")
    assert read_listing(path).image(0) == str(tmp_path / "own" / "a.png")
    assert not starts_here(path)
    (tmp_path / "own" / "a.png").unlink()
    assert Path(read_listing(path).image(0)).resolve() == tmp_path / "here" / "a.png"
    assert starts_here(path)


def test_absolute_paths_stay(tmp_path: Path) -> None:
    put(tmp_path, "data/a.png")
    path = written(tmp_path, f"{tmp_path}/data/a.png\n")
    assert read_listing(path, "/nowhere").image(0) == f"{tmp_path}/data/a.png"


def test_all_missing_files_are_one_error(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    path = written(tmp_path, "a.png a.png\n" + "".join(f"i{n}.png l{n}.png\n" for n in range(20)))
    with pytest.raises(DataError) as caught:
        read_listing(path)
    text = str(caught.value)
    assert len(caught.value.diagnostics) == 1
    assert text.startswith(f"{path}:2: 40 files that the list names do not exist")
    assert f"{path}:6: {tmp_path / 'l4.png'}" in text and "l5.png" not in text
    assert "and 30 more" in text and "root_folder" in text


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "names no images", "one 'image label' a line"),
        ("# only a note\n\n", "names no images", "one 'image label' a line"),
        ("a.png b.png\na.png\n", "list.txt:2: the line has no label, but line 1 has one", "quote"),
        ("a.png\na.png b.png\n", "list.txt:2: the line has a label, but line 1 has none", "quote"),
        ("a.png\tb.png\tc.png\n", "list.txt:1: cannot tell image and label apart", '"image" "label"'),
        ('"a.png b.png\n', "list.txt:1: cannot tell image and label apart", '"image" "label"'),
        (b"a.png b.png\nb\xff.png a.png\n", "list.txt:2: the list is not UTF-8 text", "UTF-8"),
        ("a.png b.png\n".encode("utf-16"), "not UTF-8", "UTF-8"),
        ("a.png\0b.png\n", "zero bytes", "text file"),
        ("a.png c.png\n", "list.txt:1: no such file", "root_folder"),
        ("a.png 3\n", "list.txt:1: no such file", "picture of class numbers"),
        ("one two three.png\n", "files that the list names do not exist", "quotes"),
        (
            "/SegNet/CamVid/train/0.png b.png\n",
            "no such file: /SegNet",
            "leave '/SegNet/CamVid/' out of the list's paths",
        ),
    ],
)
def test_each_mistake_is_one_error_with_a_remedy(tmp_path: Path, text: str | bytes, message: str, hint: str) -> None:
    put(tmp_path, "a.png", "b.png", "train/0.png")
    with pytest.raises(DataError) as caught:
        read_listing(written(tmp_path, text))
    assert len(caught.value.diagnostics) == 1
    assert message in str(caught.value) and hint in caught.value.diagnostics[0].hint


def test_a_missing_file_is_looked_for_in_the_working_directory_too(tmp_path: Path, monkeypatch: Any) -> None:
    put(tmp_path / "here", "train/0.png")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError) as caught:
        read_listing(written(tmp_path, "/data/train/0.png\n"))
    hint = f"'train/0.png' exists in {tmp_path / 'here'}: leave '/data/' out of the list's paths"
    assert caught.value.diagnostics[0].hint == hint


@pytest.mark.parametrize(("name", "message"), [("none.txt", "no such list"), ("folder", "is a folder")])
def test_a_list_that_is_no_file(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=message):
        read_listing(tmp_path / name)


def test_a_loop_of_links_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "list.txt").symlink_to(tmp_path / "list.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_listing(tmp_path / "list.txt")


def test_long_lists_are_read_quickly(tmp_path: Path) -> None:
    put(tmp_path, "train/a.png", "trainannot/a.png")
    path = written(tmp_path, "train/a.png trainannot/a.png\n" * 50_000)
    start = time.perf_counter()
    assert len(read_listing(path)) == 50_000
    assert time.perf_counter() - start < 5


def test_files_named_directly_have_no_labels() -> None:
    listing = listing_of(["a.png", "/b.png"])
    assert (listing.image(1), listing.label(0), len(listing)) == ("/b.png", None, 2)
