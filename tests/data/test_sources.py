from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segspec.data.loader import training_batches
from segspec.data.sources import open_images, open_source
from segspec.data.synthetic import SQUARES_TABLE, STREET_TABLE
from segspec.errors import DataError
from segspec.layers.data import DenseImageData, SyntheticSquares, SyntheticStreet
from segspec.spec.classes import ClassTable

TABLE = ClassTable(("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), 255)


def save(folder: Path, name: str, height: int, width: int, value: int = 1) -> None:
    Image.fromarray(np.full((height, width, 3), 9, np.uint8)).save(folder / f"{name}.png")
    Image.fromarray(np.full((height, width), value, np.uint8)).save(folder / f"{name}_label.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path, "first", 6, 8)
    save(tmp_path, "second", 6, 8, 2)
    (tmp_path / "list.txt").write_text("first.png first_label.png\nsecond.png second_label.png\n")
    return tmp_path


def test_files_become_samples(folder: Path) -> None:
    source = open_source(DenseImageData(source="list.txt"), TABLE, folder)
    assert (len(source), list(source.names), source.size, source.has_labels) == (
        2,
        ["first.png", "second.png"],
        (6, 8),
        True,
    )
    sample = source.load(1)
    assert sample.name == "second.png" and sample.image.shape == (6, 8, 3)
    np.testing.assert_array_equal(sample.label, np.full((6, 8), 2))


def test_size_is_what_is_delivered(folder: Path) -> None:
    resized = DenseImageData(source="list.txt", new_height=12, new_width=10)
    assert open_source(resized, TABLE, folder).size == (12, 10)
    cropped = DenseImageData(source="list.txt", new_height=12, new_width=10, crop_size=(4, 5))
    assert open_source(cropped, TABLE, folder).size == (4, 5)
    assert open_source(cropped, TABLE, folder).load(0).image.shape == (4, 5, 3)
    assert open_source(SyntheticSquares(height=20, crop_size=(8, 9)), None, folder).size == (8, 9)


def test_root_folder_is_relative_to_the_same_folder(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "list.txt").rename(folder / "lists" / "list.txt")
    (folder / "pictures").mkdir()
    for name in ("first", "second"):
        for kind in ("", "_label"):
            (folder / f"{name}{kind}.png").rename(folder / "pictures" / f"{name}{kind}.png")
    layer = DenseImageData(source="lists/list.txt", root_folder="pictures")
    assert len(open_source(layer, TABLE, folder)) == 2


def test_without_classes_images_come_alone(folder: Path) -> None:
    source = open_source(DenseImageData(source="list.txt", color=False), None, folder)
    sample = source.load(0)
    assert sample.label is None and sample.image.shape == (6, 8, 1) and not source.has_labels


def test_images_named_directly(folder: Path) -> None:
    layer = DenseImageData(source="unused", new_height=3, new_width=4)
    assert open_images([str(folder / "first.png")], layer).load(0).image.shape == (3, 4, 3)


def test_sizes_of_image_and_label_must_agree(folder: Path) -> None:
    save(folder, "other", 6, 9)
    (folder / "list.txt").write_text("first.png other_label.png\n")
    with pytest.raises(DataError) as caught:
        open_source(DenseImageData(source="list.txt"), TABLE, folder).load(0)
    text = str(caught.value)
    assert "label is 6 x 9 pixels" in text and "is 6 x 8" in text and "list.txt:1)" in text


def test_a_turned_photograph_is_recognised(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(folder / "first.png").save(folder / "turned.jpg", exif=exif)
    (folder / "list.txt").write_text("turned.jpg first_label.png\n")
    with pytest.raises(DataError, match=r"label is 6 x 8 .* is 8 x 6") as caught:
        open_source(DenseImageData(source="list.txt"), TABLE, folder).load(0)
    assert "EXIF" in caught.value.diagnostics[0].hint


@pytest.mark.parametrize("method", ["raw", "load", "label"])
def test_an_error_names_the_line_of_the_list(folder: Path, method: str) -> None:
    save(folder, "second", 6, 8, 77)
    source = open_source(DenseImageData(source="list.txt"), TABLE, folder)
    with pytest.raises(DataError, match=r"second_label.png \(.*list.txt:2\): label values outside"):
        getattr(source, method)(1)


def test_a_crop_that_does_not_fit_names_the_image(folder: Path) -> None:
    source = open_source(DenseImageData(source="list.txt", crop_size=(7, 7)), TABLE, folder)
    with pytest.raises(DataError, match=r"first.png \(.*list.txt:1\): .*smaller than crop_size"):
        source.load(0)


@pytest.mark.parametrize(
    ("layer", "table", "message"),
    [
        (SyntheticSquares(), TABLE, "draws 2 classes, but the class table has 3"),
        (SyntheticStreet(), TABLE, "draws 11 classes"),
        (SyntheticStreet(), ClassTable.numbered(11), "draws label 11 where no class belongs"),
    ],
)
def test_drawings_need_their_classes(
    layer: SyntheticSquares | SyntheticStreet, table: ClassTable, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_source(layer, table, tmp_path)
    assert caught.value.diagnostics[0].hint


@pytest.mark.parametrize(
    ("layer", "table"), [(SyntheticSquares(height=9), SQUARES_TABLE), (SyntheticStreet(height=9), STREET_TABLE)]
)
def test_drawings_are_sources(layer: SyntheticSquares | SyntheticStreet, table: ClassTable, tmp_path: Path) -> None:
    source = open_source(layer, table, tmp_path)
    sample = source.load(3)
    assert source.names[3] == sample.name == f"{layer.type} 3"
    np.testing.assert_array_equal(sample.label, source.label(3))


@pytest.mark.parametrize(
    ("name", "batch_size", "fields"),
    [
        ("plain", 5, {}),
        ("resize_up", 2, {"new_height": 53, "new_width": 71}),
        ("resize_down", 2, {"new_height": 17, "new_width": 23}),
        ("gray", 2, {"color": False}),
        ("meanscale", 2, {"mean_value": (104.0, 117.0, 123.0), "scale": 0.00390625}),
    ],
)
def test_batches_equal_caffes(shared: Path, name: str, batch_size: int, fields: dict[str, object]) -> None:
    layer = DenseImageData(source="data/40x48/list.txt", root_folder=".", batch_size=batch_size, **fields)
    golden = np.load(shared / "golden" / "data" / f"dense_{name}.npz")
    with training_batches(open_source(layer, STREET_TABLE, shared / "golden"), batch_size) as loader:
        for number in range(len(golden.files) // 2):
            batch = next(loader)
            assert batch.label is not None
            data = np.asarray(layer.normalize(batch.data)).transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(data, golden[f"data_{number}"])
            np.testing.assert_array_equal(batch.label.transpose(0, 3, 1, 2), golden[f"label_{number}"])
