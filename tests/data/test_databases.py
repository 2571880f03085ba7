from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from segspec.data.sample import ImageSource
from segspec.data.sources import open_source, settle
from segspec.errors import DataError
from segspec.layers.stored import Data
from segspec.proto.encode import integer, message
from segspec.spec.classes import ClassTable

RNG = np.random.default_rng(3)
IMAGES = [RNG.integers(0, 256, (5, 6, 3)).astype(np.uint8) for _ in range(3)]
MAPS = [RNG.integers(0, 2, (5, 6)).astype(np.uint8) for _ in range(3)]
TWO = ClassTable.numbered(2)


def datum(array: np.ndarray, label: int = 0) -> bytes:
    """A raw Datum of an array (height, width, channels)."""
    height, width, channels = array.shape
    sizes = (*integer(1, channels), *integer(2, height), *integer(3, width))
    planes = array.transpose(2, 0, 1)
    reals = array.dtype == np.float32
    return b"".join((*sizes, *message(6 if reals else 4, (planes.tobytes(),)), *integer(5, label)))


def encoded(image: np.ndarray, label: int = 0) -> bytes:
    picture = cv2.imencode(".png", image)[1].tobytes()
    return b"".join((*message(4, (picture,)), *integer(5, label), *integer(7, 1)))


def write(path: Path, values: Sequence[bytes]) -> None:
    with lmdb.open(str(path), map_size=2**20) as environment, environment.begin(write=True) as transaction:
        for index, value in enumerate(values):
            transaction.put(b"%08d" % index, value)


def opened(folder: Path, table: ClassTable | None = TWO, **fields: object) -> ImageSource:
    return open_source(Data.model_validate({"source": "images", **fields}), table, folder)


@pytest.mark.parametrize("form", [datum, encoded])
def test_images_with_a_class_number_each(tmp_path: Path, form: object) -> None:
    assert callable(form)
    write(tmp_path / "images", [form(image, index % 2) for index, image in enumerate(IMAGES)])
    source = opened(tmp_path)
    assert (len(source), source.size, source.has_labels) == (3, (5, 6), True)
    sample = source.load(1)
    np.testing.assert_array_equal(sample.image, IMAGES[1])
    assert sample.label is not None and sample.label.shape == () and int(sample.label) == 1


def test_label_maps_of_a_second_database_follow_the_images(tmp_path: Path) -> None:
    write(tmp_path / "images", [encoded(image) for image in IMAGES])
    write(tmp_path / "maps", [datum(plane[..., None]) for plane in MAPS])
    source = opened(tmp_path, label_source="maps", mirror=True, crop_size=(3, 4))
    rng = np.random.default_rng(0)
    for _ in range(8):
        sample = source.load(2, rng)
        assert sample.label is not None and sample.label.shape == (3, 4)
        places = [
            (row, column)
            for image, plane in ((IMAGES[2], MAPS[2]), (IMAGES[2][:, ::-1], MAPS[2][:, ::-1]))
            for row in range(3)
            for column in range(3)
            if np.array_equal(image[row : row + 3, column : column + 4], sample.image)
            and np.array_equal(plane[row : row + 3, column : column + 4], sample.label)
        ]
        assert places


def test_encoded_maps_keep_their_class_numbers(tmp_path: Path) -> None:
    write(tmp_path / "images", [datum(image) for image in IMAGES])
    write(tmp_path / "maps", [encoded(plane) for plane in MAPS])
    np.testing.assert_array_equal(opened(tmp_path, label_source="maps").label(1), MAPS[1])


def test_real_numbers_stay_real(tmp_path: Path) -> None:
    values = RNG.normal(size=(4, 4, 2)).astype(np.float32)
    write(tmp_path / "images", [datum(values)])
    image = opened(tmp_path).load(0).image
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, values)


def test_channels_are_settled_by_the_file(tmp_path: Path) -> None:
    write(tmp_path / "images", [datum(image[..., :1]) for image in IMAGES])
    layer = Data(source="images")
    assert (layer.channels, settle(layer, tmp_path).channels) == (3, 1)
    assert settle(Data(source="images", force_gray=True), tmp_path).channels == 1


def test_grey_is_forced_on_encoded_pictures(tmp_path: Path) -> None:
    write(tmp_path / "images", [encoded(image) for image in IMAGES])
    assert opened(tmp_path, force_gray=True).load(0).image.shape == (5, 6, 1)


def mistakes(tmp_path: Path) -> dict[str, DataError]:
    found: dict[str, DataError] = {}

    def note(name: str, table: ClassTable | None = TWO, **fields: object) -> None:
        with pytest.raises(DataError) as caught:
            opened(tmp_path, table, **fields).raw(0)
        found[name] = caught.value

    write(tmp_path / "images", [datum(image, 5) for image in IMAGES])
    write(tmp_path / "few", [datum(MAPS[0][..., None])])
    write(tmp_path / "wide", [datum(np.zeros((5, 7, 1), np.uint8))] * 3)
    write(tmp_path / "damaged", [b"\xff\xff"])
    write(tmp_path / "empty", [])
    (tmp_path / "level").mkdir()
    (tmp_path / "level" / "CURRENT").write_text("")
    note("number")
    note("few", label_source="few")
    note("wide", label_source="wide")
    note("images", label_source="images")
    note("damaged", source="damaged")
    note("empty", source="empty")
    note("level", source="level")
    note("absent", source="absent")
    note("nameless", source="")
    note("unlabelled", label_kind="pixels")
    return found


def test_mistakes_say_what_and_where(tmp_path: Path) -> None:
    found = {name: str(error) for name, error in mistakes(tmp_path).items()}
    words = {
        "number": "label 5 is outside the 2 classes",
        "few": "3 images in",
        "wide": "the label is 5 x 7 pixels",
        "images": "a label has 1 channel of class numbers, this one 3",
        "damaged": "key 00000000: damaged at byte",
        "empty": "the database is empty",
        "level": "is a LevelDB, which cannot be read",
        "absent": "no such LMDB",
        "nameless": "names no database",
        "unlabelled": "names no database of label maps",
    }
    assert {name: text for name, text in words.items() if text not in found[name]} == {}


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DataError, match=r"segspec\[lmdb\]"):
        opened(tmp_path)
