from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segspec.data.scan import scan
from segspec.data.sources import open_source
from segspec.errors import DataError
from segspec.layers.cityscapes import CityscapesData
from segspec.spec.classes import ClassTable, load_classes
from segspec.spec.library import shipped

CLASSES = shipped("specs") / "classes"
IDS = np.arange(34, dtype=np.uint8).reshape(2, 17)
TRAINED = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])
"""Published numbers of the 19 classes, in their order."""


def table(name: str) -> ClassTable:
    return load_classes((CLASSES / f"{name}.yaml").read_text("utf-8"))


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def add(
    root: Path, split: str, city: str, name: str, *, labels: np.ndarray | None = IDS, kind: str = "labelIds"
) -> None:
    """An image that is red by its city's first letter, and a label."""
    image = np.zeros((2, 17, 3), np.uint8)
    image[..., 0] = ord(city[0])
    save(root / f"leftImg8bit/{split}/{city}/{city}_{name}_leftImg8bit.png", image)
    if labels is not None:
        save(root / f"gtFine/{split}/{city}/{city}_{name}_gtFine_{kind}.png", labels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add(tmp_path / "cs", "train", "zurich", "000001_000019")
    add(tmp_path / "cs", "train", "aachen", "000002_000019")
    add(tmp_path / "cs", "train", "aachen", "000000_000019")
    add(tmp_path / "cs", "val", "lindau", "000000_000019")
    return tmp_path / "cs"


def layer(**fields: object) -> CityscapesData:
    return CityscapesData.model_validate({"source": "cs", "split": "train", **fields})


def refused(root: Path, name: str = "cityscapes_ids", **fields: object) -> str:
    with pytest.raises(DataError) as caught:
        open_source(layer(**fields), table(name), root.parent)
    return str(caught.value)


def test_a_split_in_the_order_of_its_names_with_the_34_ids_as_19_classes(root: Path) -> None:
    source = open_source(layer(), table("cityscapes_ids"), root.parent)
    assert [Path(name).name.removesuffix("_leftImg8bit.png") for name in source.names] == [
        "aachen_000000_000019",
        "aachen_000002_000019",
        "zurich_000001_000019",
    ]
    sample = source.load(2)
    assert sample.image[0, 0].tolist() == [0, 0, ord("z")]
    expected = np.full(34, 255)
    expected[TRAINED] = np.arange(19)
    assert sample.label is not None
    np.testing.assert_array_equal(sample.label.ravel(), expected)
    assert scan(source, table("cityscapes_ids"), cache=root).totals.tolist() == [3] * 19
    assert len(open_source(layer(split="val"), table("cityscapes_ids"), root.parent)) == 1


def test_a_table_without_ids_reads_the_labels_that_were_made_for_training(root: Path) -> None:
    made = np.where(np.arange(34) < 19, np.arange(34), 255).astype(np.uint8).reshape(2, 17)
    add(root, "val", "lindau", "000000_000019", labels=made, kind="labelTrainIds")
    sample = open_source(layer(split="val"), table("cityscapes"), root.parent).load(0)
    np.testing.assert_array_equal(sample.label, made)


def test_coarse_labels(root: Path) -> None:
    add(root, "train_extra", "ulm", "1", labels=None)
    save(root / "gtCoarse/train_extra/ulm/ulm_1_gtCoarse_labelIds.png", IDS)
    source = open_source(layer(split="train_extra", annotations="gtCoarse"), table("cityscapes_ids"), root.parent)
    assert source.label(0) is not None


def test_images_are_resized_and_cropped(root: Path) -> None:
    resized = layer(new_height=8, new_width=34)
    assert resized.shapes((), 2)[1].shape == (1, 8, 34, 1)
    assert open_source(resized, table("cityscapes_ids"), root.parent).load(0).image.shape == (8, 34, 3)
    cropped = open_source(layer(crop_size=(2, 4)), None, root.parent)
    assert cropped.load(0).image.shape == (2, 4, 3)
    assert not cropped.has_labels


def test_a_missing_label_is_told_with_its_image(root: Path) -> None:
    (root / "gtFine/train/zurich/zurich_000001_000019_gtFine_labelIds.png").unlink()
    words = refused(root)
    assert "1 image without a label" in words
    assert str(root / "leftImg8bit/train/zurich/zurich_000001_000019_leftImg8bit.png") in words
    assert f"has no {root / 'gtFine/train/zurich/zurich_000001_000019_gtFine_labelIds.png'}" in words
    assert "unpack the archive again" in words


def test_labels_of_the_other_numbering_are_told(root: Path) -> None:
    words = refused(root, "cityscapes")
    assert "3 images without a label" in words
    assert "'classes: cityscapes_ids' reads those" in words
    for path in root.glob("gtFine/val/*/*"):
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    assert "'classes: cityscapes' reads those" in refused(root, split="val")


def test_many_missing_labels_are_counted_and_missing_archives_named(root: Path) -> None:
    for number in range(12):
        add(root, "test", "bonn", f"{number:02}", labels=None)
    words = refused(root, split="test")
    assert "12 images without a label" in words
    assert "and 2 more" in words
    assert "unpack the archive of gtFine beside leftImg8bit" in words


def test_folders_that_are_something_else_are_refused(root: Path) -> None:
    assert "leftImg8bit holds train, val" in refused(root, split="training")
    (root / "leftImg8bit/test").mkdir()
    assert "unpack its archive here" in refused(root, split="test")
    assert "there is no folder 'leftImg8bit' in it" in refused(root, source="cs/leftImg8bit")
    words = refused(root, source="nowhere")
    assert "there is no such folder" in words and "'source' is the folder that holds leftImg8bit" in words


def test_a_damaged_label_is_named(root: Path) -> None:
    add(root, "val", "lindau", "000000_000019", labels=np.full((2, 17), 40, np.uint8))
    with pytest.raises(DataError, match="40: 34 pixels") as caught:
        open_source(layer(split="val"), table("cityscapes_ids"), root.parent).load(0)
    assert "lindau_000000_000019_gtFine_labelIds.png" in str(caught.value)
