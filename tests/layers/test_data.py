from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import ShapeError
from segspec.layers.data import DenseImageData, Input, SyntheticSquares, SyntheticStreet

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)


def test_the_mean_is_subtracted_before_scaling() -> None:
    layer = DenseImageData(source="list.txt", mean_value=(104.0, 117.0, 123.0), scale=0.5)
    found = layer.normalize(jnp.asarray(IMAGES))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, (IMAGES.astype(np.float64) - [104, 117, 123]) * 0.5)


def test_bytes_do_not_wrap_around() -> None:
    layer = DenseImageData(source="list.txt", mean_value=(200.0,))
    assert float(layer.normalize(jnp.zeros((1, 1, 1, 3), jnp.uint8)).min()) == -200


def test_images_are_left_alone_by_default() -> None:
    np.testing.assert_array_equal(SyntheticSquares().normalize(jnp.asarray(IMAGES)), IMAGES)


def test_the_size_is_the_last_change_made() -> None:
    assert DenseImageData(source="x").size is None
    resized = {"source": "x", "new_height": 30, "new_width": 40}
    assert DenseImageData.model_validate(resized).size == (30, 40)
    assert DenseImageData.model_validate({**resized, "crop_size": (20, 24)}).size == (20, 24)
    assert SyntheticStreet(height=60).size == (60, 160)


def test_grey_images_have_one_channel() -> None:
    grey = DenseImageData(source="x", color=False, crop_size=8)
    assert grey.shapes(())[0].shape == (1, 8, 8, 1)


def test_a_size_that_only_the_files_know() -> None:
    with pytest.raises(ShapeError, match="not declared: give new_height and new_width"):
        DenseImageData(source="x").shapes(())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mean_value": (1.0, 2.0)}, "mean_value has 2 numbers for 3"),
        ({"mean_value": (1.0, 2.0, 3.0), "color": False}, "mean_value has 3 numbers for 1"),
        ({"new_height": 30}, "give both or neither"),
        ({"scale_jitter": (1.5, 0.5)}, "least <= greatest"),
        ({"scale_jitter": (0.0, 1.0)}, "0 < least"),
        ({"rotate": 200.0}, "less than or equal to 180"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"crop_size": 0}, "at least 1"),
        ({"source": ""}, "at least 1 character"),
    ],
)
def test_declarations_that_make_no_sense(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DenseImageData.model_validate({"source": "x", **fields})


def test_one_factor_fixes_the_enlargement() -> None:
    assert SyntheticSquares.model_validate({"scale_jitter": 1.5}).scale_jitter == (1.5, 1.5)


def test_input_is_declared_in_caffes_order() -> None:
    assert [blob.shape for blob in Input(shape=(2, 3, 4, 5)).shapes((), 2)] == [(2, 4, 5, 3)] * 2
    assert Input(shape=(2, 7)).shapes(())[0].shape == (2, 7)
