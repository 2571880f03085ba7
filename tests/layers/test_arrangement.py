from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.arrangement import Concat, Crop, Flatten, Reshape, Silence, Slice, Split, Tile
from segspec.layers.base import Blob, Context, Layer, ShapeError


def image(*caffe_shape: int) -> np.ndarray:
    """An array that counts its elements, made in Caffe's order."""
    return np.arange(np.prod(caffe_shape), dtype=np.float32).reshape(caffe_shape)


def stored(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def run(layer: Layer, *arrays: np.ndarray, tops: int = 1) -> list[np.ndarray]:
    """Outputs in Caffe's order, for inputs in Caffe's order; the declared shapes are checked on the way."""
    bottoms = [stored(array) for array in arrays]
    declared = layer.shapes([Blob(bottom.shape) for bottom in bottoms], tops)
    found, _ = layer.forward({}, {}, [jnp.asarray(bottom) for bottom in bottoms], Context(tops=tops))
    assert [top.shape for top in found] == [blob.shape for blob in declared]
    return [np.asarray(top).transpose(0, 3, 1, 2) if top.ndim == 4 else np.asarray(top) for top in found]


def refused(layer: Layer, *shapes: Sequence[int], tops: int = 1) -> str:
    with pytest.raises(ShapeError) as caught:
        layer.shapes([Blob(tuple(shape)) for shape in shapes], tops)
    return str(caught.value)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
def test_concat_joins_in_the_order_of_the_bottoms(axis: int) -> None:
    a, b = image(2, 3, 4, 5), -image(2, 3, 4, 5)
    np.testing.assert_array_equal(run(Concat(axis=axis), a, b, a)[0], np.concatenate([a, b, a], axis))


def test_concat_says_both_sizes_and_the_remedy() -> None:
    message = refused(Concat(), (2, 90, 120, 64), (2, 89, 120, 32))
    assert "90x120 and 89x120" in message
    assert "Crop: {like: NAME}" in message


def test_concat_names_what_differs_elsewhere() -> None:
    assert refused(Concat(), (2, 4, 4, 3), (3, 4, 4, 3)) == "batch differ: 2 and 3"
    assert "4 and 2 axes" in refused(Concat(), (2, 4, 4, 3), (2, 3))
    assert "axis 4 is outside" in refused(Concat(axis=4), (2, 4, 4, 3), (2, 4, 4, 3))


def test_with_is_read_as_one_name_or_several() -> None:
    assert Concat.model_validate({"with": "e1"}).with_ == ("e1",)
    assert Concat.model_validate({"with": ("e1", "e2")}).with_ == ("e1", "e2")
    with pytest.raises(ValidationError):
        Concat.model_validate({"wiht": "e1"})


def test_slice_is_the_opposite_of_concat() -> None:
    x = image(2, 6, 4, 5)
    for axis, points in ((1, (1, 4)), (2, (1, 2)), (3, (2, 4)), (-3, ())):
        parts = run(Slice(axis=axis, slice_point=points), x, tops=3)
        np.testing.assert_array_equal(np.concatenate(parts, axis), x)
    assert [part.shape[1] for part in run(Slice(slice_point=(1, 4)), x, tops=3)] == [1, 3, 2]


@pytest.mark.parametrize(
    ("points", "tops", "words"),
    [
        ((), 4, "cannot cut 6 into 4 equal parts"),
        ((2,), 3, "3 tops need 2 slice points, got 1"),
        ((4, 2), 3, "must rise"),
        ((2, 6), 3, "between 1 and 5"),
        ((0, 2), 3, "between 1 and 5"),
    ],
)
def test_slices_that_do_not_fit(points: tuple[int, ...], tops: int, words: str) -> None:
    assert words in refused(Slice(slice_point=points), (2, 4, 5, 6), tops=tops)


def test_split_copies_and_silence_gives_nothing() -> None:
    x = image(2, 3, 4, 5)
    for copy in run(Split(), x, tops=3):
        np.testing.assert_array_equal(copy, x)
    assert run(Silence(), x, x, tops=0) == []


def test_crop_cuts_height_and_width_by_default() -> None:
    x, like = image(2, 3, 7, 8), image(2, 5, 4, 5)
    np.testing.assert_array_equal(run(Crop(), x, like)[0], x[:, :, :4, :5])
    np.testing.assert_array_equal(run(Crop(offset=(1, 2)), x, like)[0], x[:, :, 1:5, 2:7])
    np.testing.assert_array_equal(run(Crop(offset=3), x, like)[0], x[:, :, 3:7, 3:8])
    np.testing.assert_array_equal(run(Crop(offset="center"), x, like)[0], x[:, :, 1:5, 1:6])


def test_crop_from_another_axis() -> None:
    x = image(2, 5, 7, 8)
    np.testing.assert_array_equal(run(Crop(axis=1, offset=(1, 2, 3)), x, image(2, 3, 4, 5))[0], x[:, 1:4, 2:6, 3:8])
    np.testing.assert_array_equal(run(Crop(axis=3), x, image(9, 9, 9, 5))[0], x[..., :5])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Crop(), "cannot cut height 4 to 5: it is too small"),
        (Crop(offset="center"), "cannot cut height 4 to 5"),
        (Crop(axis=3, offset=2), "cannot cut width 5 to 4 at offset 2"),
        (Crop(offset=(1, 2, 3)), "offset has 3 numbers for 2 axes"),
    ],
)
def test_crops_that_do_not_fit(layer: Crop, words: str) -> None:
    assert words in refused(layer, (2, 4, 5, 3), (2, 5, 4, 3))


@pytest.mark.parametrize("offset", ["middle", -1, (1, -1), 1.5, True])
def test_offsets_are_whole_numbers_or_center(offset: object) -> None:
    with pytest.raises(ValidationError):
        Crop.model_validate({"offset": offset})


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Flatten(), (2, 120)),
        (Flatten(axis=2), (2, 6, 20)),
        (Flatten(axis=0, end_axis=1), (12, 4, 5)),
        (Flatten(axis=1, end_axis=1), (2, 6, 4, 5)),
        (Reshape(shape=(0, -1)), (2, 120)),
        (Reshape(shape=(0, 2, 3, -1)), (2, 2, 3, 20)),
        (Reshape(shape=(3, 2), axis=1, num_axes=1), (2, 3, 2, 4, 5)),
        (Reshape(shape=(0, 0, -1, 1)), (2, 6, 20, 1)),
        (Reshape(shape=(1,), axis=-1, num_axes=0), (2, 6, 4, 5, 1)),
        (Reshape(shape=(), axis=0, num_axes=0), (2, 6, 4, 5)),
    ],
)
def test_elements_keep_caffes_order(layer: Layer, shape: tuple[int, ...]) -> None:
    x = image(2, 6, 4, 5)
    np.testing.assert_array_equal(run(layer, x)[0], x.reshape(shape))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Reshape(shape=(0, 7)), "240 elements cannot take the shape [0, 7]"),
        (Reshape(shape=(-1, -1)), "240 elements"),
        (Reshape(shape=(7, -1)), "240 elements"),
        (Reshape(shape=(0, 0, 0, 0, 0)), "keeps an axis"),
        (Reshape(shape=(1,), axis=3, num_axes=2), "outside an input of 4 axes"),
        (Flatten(axis=2, end_axis=1), "comes after"),
    ],
)
def test_reshapes_that_do_not_fit(layer: Layer, words: str) -> None:
    assert words in refused(layer, (2, 4, 5, 6))


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_tile_repeats_whole_blocks(axis: int) -> None:
    x = image(2, 3, 4, 5)
    np.testing.assert_array_equal(run(Tile(axis=axis, tiles=3), x)[0], np.concatenate([x] * 3, axis))
