from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segspec.data.loader import evaluation_batches
from segspec.data.sources import open_source
from segspec.data.synthetic import SQUARES_TABLE, STREET_TABLE, draw, synthetic_layer, write_dataset, write_parts
from segspec.errors import UsageError
from segspec.layers.data import DenseImageData, SyntheticSquares, SyntheticStreet
from segspec.spec.classes import ClassTable, load_classes

Layer = SyntheticSquares | SyntheticStreet
LAYERS = [SyntheticSquares(squares=3), SyntheticStreet(height=60, width=80)]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_drawing_is_a_function_of_seed_and_number(layer: Layer) -> None:
    image, label = draw(layer, 5)
    again = draw(layer, 5)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(label, again[1])
    assert not np.array_equal(image, draw(layer, 6)[0])
    assert not np.array_equal(image, draw(layer.model_copy(update={"seed": 1}), 5)[0])


@pytest.mark.parametrize("kind", ["squares", "street"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 200), (200, 7), (33, 47), (120, 160)])
def test_any_size_can_be_drawn(kind: str, size: tuple[int, int]) -> None:
    layer = synthetic_layer(kind, height=size[0], width=size[1])
    for index in range(3):
        image, label = draw(layer, index)
        assert image.shape == (*size, 3) and label.shape == size
        assert image.dtype == label.dtype == np.uint8
        assert label.max() < (2 if kind == "squares" else 12)


def test_squares_are_squares_that_stand_out() -> None:
    layer = SyntheticSquares(squares=1, noise=0.0, height=64, width=80)
    for index in range(50):
        image, label = draw(layer, index)
        rows, columns = np.nonzero(label)
        assert np.ptp(rows) == np.ptp(columns) and len(rows) == (np.ptp(rows) + 1) ** 2
        inside = image[label == 1].astype(float)
        assert np.ptp(inside, axis=0).max() <= 1
        assert np.abs(inside.mean(axis=0) - image[label == 0].mean(axis=0)).mean() > 35


def test_the_number_of_squares_varies() -> None:
    layer = SyntheticSquares(squares=4)
    shares = [draw(layer, index)[1].mean() for index in range(60)]
    assert min(shares) > 0 and max(shares) > 4 * min(shares)


def test_streets_hold_every_class_often_and_in_its_place() -> None:
    layer = SyntheticStreet(height=120, width=160)
    labels = np.stack([draw(layer, index)[1] for index in range(40)])
    counts = np.stack([np.bincount(label.ravel(), minlength=12) for label in labels])
    assert ((counts > 0).mean(axis=0)[:11] > 0.75).all() and (counts[:, 11] > 0).mean() > 0.3
    assert (counts.sum(axis=0) / counts.sum() > 0.003).all()
    rows = np.arange(120)[None, :, None] * np.ones_like(labels)
    assert rows[labels == 0].mean() < 40 < 80 < rows[labels == 3].mean()
    assert ((labels[:, -8:] == 3) | (labels[:, -8:] == 11)).mean() > 0.6 and (labels[:, :8] == 3).mean() == 0


def test_streets_differ_in_light() -> None:
    layer = SyntheticStreet(height=60, width=80)
    means = [draw(layer, index)[0].mean() for index in range(20)]
    assert np.ptp(means) > 25


@pytest.mark.parametrize(("name", "table"), [("squares", SQUARES_TABLE), ("camvid", STREET_TABLE)])
def test_the_classes_that_are_drawn_are_those_of_a_shipped_table(name: str, table: ClassTable) -> None:
    assert load_classes(name) == table


@pytest.mark.parametrize(("kind", "table"), [("squares", SQUARES_TABLE), ("street", STREET_TABLE)])
def test_a_written_data_set_is_read_back_exactly(tmp_path: Path, kind: str, table: object) -> None:
    layer = synthetic_layer(kind, height=24, width=32, seed=4)
    lists = write_parts(layer, tmp_path / "set", {"train": 3, "val": 2, "test": 1})
    assert [path.name for path in lists] == ["train.txt", "val.txt", "test.txt"]
    assert (tmp_path / "set" / "val.txt").read_text().splitlines()[0] == "val/0000.png valannot/0000.png"
    source = open_source(DenseImageData(source="val.txt"), layer and table, tmp_path / "set")
    for index in range(2):
        image, label = draw(layer, 3 + index)
        sample = source.load(index)
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.label, label)
    with evaluation_batches(source, 2) as loader:
        assert next(loader).data.shape == (2, 24, 32, 3)


def test_validation_and_test_are_a_fifth_each(tmp_path: Path) -> None:
    lists = write_dataset("squares", tmp_path, 10, (12, 14), seed=2)
    assert [len(path.read_text().splitlines()) for path in lists] == [10, 2, 2]
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "testannot" / "0001.png")),
        draw(SyntheticSquares(height=12, width=14, seed=2), 13)[1],
    )


@pytest.mark.parametrize(("count", "size", "seed"), [(0, (9, 9), 0), (1, (0, 9), 0), (1, (9, -1), 0), (1, None, -1)])
def test_numbers_out_of_range_are_refused(tmp_path: Path, count: int, size: tuple[int, int] | None, seed: int) -> None:
    with pytest.raises(UsageError, match="cannot draw"):
        write_dataset("street", tmp_path, count, size, seed)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(100_000, 100_000), (8193, 1), (1, 8193)])
def test_a_size_that_would_take_for_ever_is_refused_at_once(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"at most 8192 a side\n  draw smaller images"):
        write_dataset("street", tmp_path, 1, size)
    assert not list(tmp_path.iterdir())


def test_labels_are_written_in_the_classes_colours(tmp_path: Path) -> None:
    layer = synthetic_layer("street", height=24, width=32)
    write_parts(layer, tmp_path, {"train": 1})
    picture = Image.open(tmp_path / "trainannot" / "0000.png")
    assert picture.mode == "P"
    colors = np.array([*STREET_TABLE.colors, STREET_TABLE.ignore_color], np.uint8)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colors[draw(layer, 0)[1]])


def test_parts_share_no_picture(tmp_path: Path) -> None:
    write_parts(synthetic_layer("squares", height=16, width=16), tmp_path, {"train": 4, "val": 4})
    digests = {
        hashlib.sha256(path.read_bytes()).digest() for part in ("train", "val") for path in tmp_path.glob(f"{part}/*")
    }
    assert len(digests) == 8


def test_an_existing_data_set_is_not_overwritten(tmp_path: Path) -> None:
    layer = synthetic_layer("squares", height=16, width=16)
    write_parts(layer, tmp_path, {"train": 1})
    before = (tmp_path / "train" / "0000.png").read_bytes()
    with pytest.raises(UsageError, match=r"train.txt: the data set exists already"):
        write_parts(layer.model_copy(update={"seed": 9}), tmp_path, {"train": 1})
    assert (tmp_path / "train" / "0000.png").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write the data set"):
        write_parts(synthetic_layer("squares"), tmp_path / "file", {"train": 1})


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        synthetic_layer("squars")
    assert caught.value.diagnostics[0].hint == "did you mean 'squares'?"
    with pytest.raises(UsageError, match="choose one of squares, street"):
        synthetic_layer("x")
