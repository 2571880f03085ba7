from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from segspec.data.palette import palette_mask
from segspec.errors import DataError
from segspec.spec.classes import ClassTable

CLASSES = ClassTable(("road", "car"), ((10, 20, 30), (200, 100, 0)), 255, (255, 0, 255))


def encode_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_mask_keeps_its_labels_and_shows_the_tables_colours() -> None:
    mask = np.array([[0, 1], [255, 0]], np.int32)
    with Image.open(io.BytesIO(encode_png(palette_mask(mask, CLASSES)))) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), mask)
        expected = [[(10, 20, 30), (200, 100, 0)], [(255, 0, 255), (10, 20, 30)]]
        assert np.asarray(picture.convert("RGB")).tolist() == np.array(expected).tolist()


@pytest.mark.parametrize("value", [-1, 256])
def test_labels_that_a_palette_cannot_hold_are_refused(value: int) -> None:
    with pytest.raises(DataError, match="0 to 255"):
        palette_mask(np.array([[0, value]]), CLASSES)


def test_a_mask_that_is_a_view_is_written_as_seen() -> None:
    mask = np.arange(6).reshape(2, 3)[:, ::-1].T
    np.testing.assert_array_equal(np.asarray(palette_mask(mask, ClassTable.numbered(6))), mask)
