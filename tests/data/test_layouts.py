from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segspec.data.sources import open_source
from segspec.errors import DataError
from segspec.layers.fcn import FcnLayout, NYUDSegDataLayer, PASCALContextSegDataLayer, SBDDSegDataLayer, VOCSegDataLayer
from segspec.spec.classes import ClassTable

TABLE = ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)), 255)
LABEL = np.array([[0, 1, 255], [1, 0, 0]], np.uint8)
LAYOUTS = [
    (
        VOCSegDataLayer(voc_dir="d", split="val"),
        "ImageSets/Segmentation/val.txt",
        "JPEGImages/n.jpg",
        "SegmentationClass/n",
    ),
    (SBDDSegDataLayer(sbdd_dir="d", split="train"), "train.txt", "img/n.jpg", "cls/n"),
    (
        PASCALContextSegDataLayer(voc_dir="d", context_dir="d", split="val"),
        "VOC2010/ImageSets/Main/val.txt",
        "VOC2010/JPEGImages/n.jpg",
        "trainval/n",
    ),
    (NYUDSegDataLayer(nyud_dir="d", split="test"), "test.txt", "data/images/img_n.png", "segmentation/img_n"),
    (NYUDSegDataLayer(nyud_dir="d", split="test", hha=True), "test.txt", "data/hha/img_n.png", "segmentation/img_n"),
]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.mark.parametrize(("layer", "names", "image", "label"), LAYOUTS)
def test_a_split_in_its_folders(tmp_path: Path, layer: FcnLayout, names: str, image: str, label: str) -> None:
    save(tmp_path / "d" / image, np.full((2, 3, 3), (10, 20, 30), np.uint8))
    save(tmp_path / "d" / f"{label}.png", LABEL)
    (tmp_path / "d" / names).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "d" / names).write_text("n\n")
    sample = open_source(layer, TABLE, tmp_path).load(0)
    np.testing.assert_array_equal(sample.label, LABEL)
    np.testing.assert_allclose(sample.image[0, 0].astype(int), [30, 20, 10], atol=3)


def test_labels_of_matlab_are_to_be_converted(tmp_path: Path) -> None:
    save(tmp_path / "d" / "img" / "n.jpg", np.zeros((2, 3, 3), np.uint8))
    (tmp_path / "d" / "cls").mkdir()
    (tmp_path / "d" / "cls" / "n.mat").write_bytes(b"MATLAB")
    (tmp_path / "d" / "train.txt").write_text("n\n")
    with pytest.raises(DataError, match=r"labels of MATLAB are not read: convert each, such as n.mat"):
        open_source(SBDDSegDataLayer(sbdd_dir="d", split="train"), TABLE, tmp_path)


@pytest.mark.parametrize(("text", "words"), [(None, "cannot be read"), ("\n", "no images"), ("n\n", "2 files of the")])
def test_a_split_without_files(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "train.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        open_source(SBDDSegDataLayer(sbdd_dir=".", split="train"), TABLE, tmp_path)


def test_only_training_is_shuffled() -> None:
    splits = {split: VOCSegDataLayer(voc_dir="d", split=split).shuffle for split in ("train", "trainval", "seg11valid")}
    assert splits == {"train": True, "trainval": True, "seg11valid": False}
    assert not VOCSegDataLayer(voc_dir="d", split="train", shuffle=False).shuffle
