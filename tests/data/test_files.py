from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segspec.data.loader import evaluation_batches
from segspec.data.scan import scan
from segspec.data.sources import open_source
from segspec.errors import DataError
from segspec.layers.data import DataLayer, DenseImageData
from segspec.layers.listed import ImageData, ImageLabelmapData, ImageSegData
from segspec.spec.classes import ClassTable

IGNORING = ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)), 255)
PICTURE = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
LABEL = (np.arange(24).reshape(4, 6) % 2).astype(np.uint8)
EDGES = np.array([[0, 127, 128], [255, 129, 1]], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a b").mkdir()
    Image.fromarray(PICTURE[..., ::-1]).save(tmp_path / "a b" / "x.png")
    Image.fromarray(LABEL).save(tmp_path / "a b" / "l.png")
    Image.fromarray(EDGES).save(tmp_path / "a b" / "e.png")
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "a b" / "z.png")
    (tmp_path / "pixels.txt").write_text("/x.png /l.png\n")
    (tmp_path / "edges.txt").write_text("/z.png /e.png\n")
    (tmp_path / "numbers.txt").write_text("x.png 1\nx.png 0\n")
    (tmp_path / "spaced.txt").write_text("a b/x.png 1\n")
    (tmp_path / "images.txt").write_text("x.png gone.png\n")
    return tmp_path


def layer(kind: type[DataLayer], **fields: object) -> DataLayer:
    return kind.model_validate({"root_folder": "a b", **fields})


def test_paths_may_begin_with_a_slash_below_the_root_folder(folder: Path) -> None:
    for kind in (DenseImageData, ImageSegData):
        sample = open_source(layer(kind, source="pixels.txt"), IGNORING, folder).load(0)
        np.testing.assert_array_equal(sample.image, PICTURE)
        np.testing.assert_array_equal(sample.label, LABEL)


def test_what_is_smaller_than_the_crop_is_padded_below_and_to_the_right(folder: Path) -> None:
    padded = layer(ImageSegData, source="pixels.txt", crop_size=(5, 8), mean_value=(104.2, 116.7, 122.5))
    sample = open_source(padded, IGNORING, folder).load(0)
    assert sample.label is not None and sample.image.shape == (5, 8, 3)
    np.testing.assert_array_equal(sample.image[:4, :6], PICTURE)
    np.testing.assert_array_equal(sample.image[4:], np.broadcast_to([104, 117, 122], (1, 8, 3)))
    np.testing.assert_array_equal(sample.label[:4, :6], LABEL)
    assert (sample.label[4:] == 255).all() and (sample.label[:, 6:] == 255).all()


def test_a_mirrored_image_is_mirrored_with_its_padding(folder: Path) -> None:
    padded = layer(ImageSegData, source="pixels.txt", crop_size=(4, 8), mirror=True)
    source = open_source(padded, IGNORING, folder)
    labels = [source.load(0, np.random.default_rng(seed)).label for seed in range(12)]
    sides = {(int(label[0, 0]), int(label[0, -1])) for label in labels if label is not None}
    assert sides == {(LABEL[0, 0], 255), (255, LABEL[0, 0])}


def test_padding_needs_a_label_to_ignore(folder: Path) -> None:
    source = open_source(layer(ImageSegData, source="pixels.txt", crop_size=9), ClassTable.numbered(2), folder)
    with pytest.raises(DataError, match="would be padded to 9 x 9, but no label is ignored"):
        source.load(0)


def test_one_number_fills_all_pixels_of_an_image(folder: Path) -> None:
    filled = layer(ImageSegData, source="numbers.txt", label_type="IMAGE", crop_size=(5, 6))
    label = open_source(filled, IGNORING, folder).load(0).label
    assert label is not None and (label[:4] == 1).all() and (label[4] == 255).all()


def test_without_labels_every_pixel_is_ignored(folder: Path) -> None:
    source = open_source(layer(ImageSegData, source="images.txt", label_type="NONE"), IGNORING, folder)
    label = source.load(0).label
    assert label is not None and label.shape == (4, 6) and (label == 255).all()


def test_edges_are_what_is_at_least_half_as_bright_as_white(folder: Path) -> None:
    label = open_source(layer(ImageLabelmapData, source="edges.txt"), IGNORING, folder).load(0).label
    np.testing.assert_array_equal(label, [[0, 0, 1], [1, 1, 0]])


def test_a_class_number_stands_for_the_whole_image(folder: Path) -> None:
    source = open_source(layer(ImageData, source="numbers.txt", crop_size=3, mirror=True), IGNORING, folder)
    with evaluation_batches(source, 2, workers=0) as loader:
        batch = next(loader)
    assert batch.data.shape == (2, 3, 3, 3) and batch.label is not None
    np.testing.assert_array_equal(batch.label, [1, 0])
    counts = scan(source, IGNORING, workers=1, cache=folder)
    assert counts.totals.tolist() == [1, 1] and counts.sizes.tolist() == [[4, 6], [4, 6]]


def test_the_number_stands_behind_the_last_blank(folder: Path) -> None:
    source = open_source(ImageData(source="spaced.txt"), IGNORING, folder)
    assert (list(source.names), source.load(0).label) == (["a b/x.png"], 1)


@pytest.mark.parametrize(
    ("line", "words"),
    [("x.png 7", "label 7 is outside the 2 classes"), ("x.png", "no class number"), ("x.png y.png", "no class number")],
)
def test_a_line_without_a_class(folder: Path, line: str, words: str) -> None:
    (folder / "bad.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=words) as caught:
        open_source(layer(ImageData, source="bad.txt"), IGNORING, folder).load(0)
    assert "bad.txt:1" in caught.value.diagnostics[0].place
