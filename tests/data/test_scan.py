from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segspec.data import scan as scanning
from segspec.data.sample import ImageSource
from segspec.data.scan import scan
from segspec.data.sources import open_source
from segspec.data.synthetic import SQUARES_TABLE, STREET_TABLE, draw
from segspec.errors import DataError
from segspec.layers.data import DenseImageData, SyntheticSquares
from segspec.spec.classes import ClassTable

TABLE = ClassTable(("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), 255)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(14):
        label = np.full((4, 5), index % 2, np.uint8)
        label[0, 0] = 255
        Image.fromarray(np.full((4, 5, 3), index, np.uint8)).save(tmp_path / f"{index}.png")
        Image.fromarray(label).save(tmp_path / f"label{index}.png")
    (tmp_path / "list.txt").write_text("".join(f"{index}.png label{index}.png\n" for index in range(14)))
    return tmp_path


def opened(folder: Path, table: ClassTable = TABLE) -> ImageSource:
    return open_source(DenseImageData(source="list.txt"), table, folder)


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The samples that are decoded from now on."""
    seen: list[int] = []
    count = scanning._count

    def note(source: ImageSource, table: ClassTable, index: int, images: bool) -> list[int]:
        seen.append(index)
        return count(source, table, index, images)

    monkeypatch.setattr(scanning, "_count", note)
    return seen


def test_counts_the_pixels_of_every_class_in_every_label(folder: Path) -> None:
    counts = scan(opened(folder), TABLE, cache=folder / "cache")
    np.testing.assert_array_equal(counts.pixels[:2], [[19, 0, 0], [0, 19, 0]])
    np.testing.assert_array_equal(counts.ignored, [1] * 14)
    np.testing.assert_array_equal(counts.totals, [133, 133, 0])
    np.testing.assert_array_equal(counts.sizes, [[4, 5]] * 14)


def test_reports_progress(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    scan(opened(folder), TABLE, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (14, 14)


def test_all_bad_files_are_one_error(folder: Path) -> None:
    for index in range(12):
        Image.fromarray(np.full((4, 5), 9, np.uint8)).save(folder / f"label{index}.png")
    with pytest.raises(DataError) as caught:
        scan(opened(folder), TABLE)
    assert len(caught.value.diagnostics) == 11
    assert "label0.png" in str(caught.value) and "label10.png" not in str(caught.value)
    assert "12 of 14 samples cannot be used" in str(caught.value)


def test_images_are_decoded_too_unless_told_otherwise(folder: Path) -> None:
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:-20])
    assert scan(opened(folder), TABLE, images=False).pixels.shape == (14, 3)
    with pytest.raises(DataError, match=r"3.png \(.*list.txt:4\): damaged picture"):
        scan(opened(folder), TABLE)


def test_unchanged_files_are_not_decoded_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSPEC_CACHE", str(folder / "cache"))
    first = scan(opened(folder), TABLE)
    seen = decoded(monkeypatch)
    np.testing.assert_array_equal(scan(opened(folder), TABLE).pixels, first.pixels)
    assert seen == []
    changed = np.full((4, 5), 2, np.uint8)
    Image.fromarray(changed).save(folder / "label5.png")
    os.utime(folder / "label5.png", ns=(1, 1))
    assert scan(opened(folder), TABLE).pixels[5].tolist() == [0, 0, 20]
    assert seen == [5]


def test_nothing_is_kept_where_the_user_wants_no_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSPEC_CACHE", "")
    seen = decoded(monkeypatch)
    for _ in range(2):
        scan(opened(folder), TABLE)
    assert len(seen) == 28


def test_another_class_table_means_another_check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSPEC_CACHE", str(folder / "cache"))
    scan(opened(folder), TABLE)
    seen = decoded(monkeypatch)
    smaller = ClassTable(("a",), ((1, 1, 1),), 255)
    with pytest.raises(DataError, match="outside the 1 classes"):
        scan(opened(folder, smaller), smaller)
    assert len(seen) == 14


def test_an_error_is_not_remembered_as_good(folder: Path) -> None:
    Image.fromarray(np.full((4, 5), 9, np.uint8)).save(folder / "label5.png")
    for _ in range(2):
        with pytest.raises(DataError, match=r"label5\.png"):
            scan(opened(folder), TABLE)


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", '{"0.png\\nlabel0.png": 3}', '{"0.png\\nlabel0.png": [[], [], [1]]}']
)
def test_a_damaged_cache_is_ignored(folder: Path, text: str) -> None:
    cache = folder / "cache"
    first = scan(opened(folder), TABLE, cache=cache)
    (book,) = cache.iterdir()
    book.write_text(text)
    np.testing.assert_array_equal(scan(opened(folder), TABLE, cache=cache).pixels, first.pixels)


def test_where_nothing_can_be_kept_the_scan_still_works(folder: Path) -> None:
    (folder / "cache").touch()
    assert scan(opened(folder), TABLE, cache=folder / "cache").pixels.shape == (14, 3)


def test_drawings_are_counted(tmp_path: Path) -> None:
    layer = SyntheticSquares(count=3, height=20, width=20)
    counts = scan(open_source(layer, SQUARES_TABLE, tmp_path), SQUARES_TABLE)
    assert counts.pixels[2, 1] == draw(layer, 2)[1].sum()


def test_a_list_without_labels_is_an_error(folder: Path) -> None:
    (folder / "list.txt").write_text("0.png\n")
    with pytest.raises(DataError, match="no labels to count"):
        scan(opened(folder), TABLE)


def test_camvid_has_the_published_number_of_pixels(shared: Path, tmp_path: Path) -> None:
    layer = DenseImageData(source="train.txt")
    counts = scan(
        open_source(layer, STREET_TABLE, shared / "data" / "camvid"), STREET_TABLE, images=False, cache=tmp_path
    )
    expected = [10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967]
    assert counts.totals.tolist() == expected and counts.ignored.sum() == 2503995
