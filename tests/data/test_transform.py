from __future__ import annotations

import numpy as np
import pytest

from segspec.data.transform import Transform, apply
from segspec.errors import DataError
from segspec.layers.data import DenseImageData, SyntheticSquares


def numbered(height: int, width: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """An image in which every pixel is its label, so that one must follow the other."""
    label = (np.arange(height * width) % 250).astype(np.uint8).reshape(height, width)
    return np.stack([label] * channels, -1), label


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nothing_declared_changes_nothing() -> None:
    image, label = numbered(7, 9)
    for source in (None, rng()):
        found = apply(Transform(), image, label, source)
        np.testing.assert_array_equal(found[0], image)
        np.testing.assert_array_equal(found[1], label)


def test_the_same_generator_gives_the_same_sample() -> None:
    transform = Transform((20, 24), True, (0.7, 1.4), 20, (12, 16), 0.3, 25, ignore_label=255)
    image, label = numbered(30, 40)
    first, again, other = (apply(transform, image, label, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == (12, 16, 3) and first[1] is not None and first[1].shape == (12, 16)


def test_evaluation_draws_nothing_and_cuts_the_centre() -> None:
    transform = Transform(mirror=True, scales=(0.5, 2.0), rotate=90, crop=(4, 5), contrast=0.5, brightness=99)
    image, label = numbered(10, 11)
    found = apply(transform, image, label)
    np.testing.assert_array_equal(found[0], image[3:7, 3:8])
    np.testing.assert_array_equal(found[1], label[3:7, 3:8])


def test_mirror_turns_half_of_the_pairs_around() -> None:
    image, label = numbered(4, 6)
    turned = 0
    for seed in range(200):
        found, follows = apply(Transform(mirror=True), image, label, rng(seed))
        np.testing.assert_array_equal(found[..., 0], follows)
        turned += np.array_equal(found, image[:, ::-1])
    assert 70 < turned < 130


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 600])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_mirrored_image_is_the_same_turned_around_and_runs_forward(channels: int, kind: type[np.generic]) -> None:
    image = np.arange(2 * 3 * channels).astype(kind).reshape(2, 3, channels)
    label = np.arange(6, dtype=np.uint8).reshape(2, 3)
    seed = next(seed for seed in range(9) if rng(seed).random() < 0.5)
    found, follows = apply(Transform(mirror=True), image, label, rng(seed))
    assert follows is not None
    np.testing.assert_array_equal(found, image[:, ::-1])
    np.testing.assert_array_equal(follows, label[:, ::-1])
    assert found.dtype == kind and found.flags.c_contiguous and follows.flags.c_contiguous


def test_every_window_of_the_crop_occurs_and_the_label_follows() -> None:
    image, label = numbered(5, 7)
    corners = set()
    for seed in range(300):
        found, follows = apply(Transform(crop=(3, 4)), image, label, rng(seed))
        np.testing.assert_array_equal(found[..., 0], follows)
        corners.add(int(found[0, 0, 0]))
    assert corners == {7 * row + column for row in range(3) for column in range(4)}


@pytest.mark.parametrize(("height", "width", "row", "column"), [(5, 7, 0, 1), (6, 8, 1, 2), (7, 4, 1, 0), (4, 9, 0, 2)])
def test_without_randomness_the_crop_is_caffes_centre(height: int, width: int, row: int, column: int) -> None:
    image, label = numbered(height, width)
    found, follows = apply(Transform(crop=(4, 4)), image, label)
    np.testing.assert_array_equal(found, image[row : row + 4, column : column + 4])
    np.testing.assert_array_equal(follows, label[row : row + 4, column : column + 4])


def test_a_crop_larger_than_the_image_is_an_error() -> None:
    with pytest.raises(DataError, match=r"5 x 7 pixels .* smaller than crop_size 6 x 7") as caught:
        apply(Transform(crop=(6, 7)), *numbered(5, 7))
    assert "new_height" in caught.value.diagnostics[0].hint


def test_resizing_invents_no_class() -> None:
    label = np.random.default_rng(0).choice(np.array([0, 3, 255], np.uint8), (11, 13))
    image = np.stack([label] * 3, -1)
    for size in ((5, 6), (40, 31)):
        found, resized = apply(Transform(resize=size), image, label)
        assert resized is not None and set(np.unique(resized)) <= {0, 3, 255}
        assert found.shape == (*size, 3) and resized.shape == size


def test_a_warp_moves_image_and_label_together() -> None:
    label = np.zeros((61, 61), np.uint8)
    label[20:30, 35:50] = 1
    image = np.stack([label * 200] * 3, -1)
    found, follows = apply(Transform(scales=(0.8, 1.3), rotate=30, ignore_label=255), image, label, rng(3))
    assert follows is not None
    inside = follows != 255
    agree = (found[..., 0] > 100) == (follows == 1)
    assert agree[inside].mean() > 0.985
    assert follows[0, 0] in (0, 255) and (follows == 1).sum() > 40


def test_beyond_the_border_lie_the_fill_and_the_ignored_label() -> None:
    image, label = np.full((40, 40, 3), 90, np.uint8), np.ones((40, 40), np.uint8)
    transform = Transform(scales=(0.5, 0.5), fill=(10, 20, 30), ignore_label=11)
    found, follows = apply(transform, image, label, rng())
    assert follows is not None
    assert follows[0, 0] == 11 and found[0, 0].tolist() == [10, 20, 30]
    assert follows[20, 20] == 1 and found[20, 20].tolist() == [90, 90, 90]


def test_without_an_ignored_label_the_border_mirrors() -> None:
    _, follows = apply(Transform(scales=(0.5, 0.5)), *numbered(40, 40), rng())
    image, label = np.full((40, 40, 3), 90, np.uint8), np.ones((40, 40), np.uint8)
    found, follows = apply(Transform(scales=(0.5, 0.5)), image, label, rng())
    assert (follows == 1).all() and (found == 90).all()


def test_grey_images_keep_their_channel() -> None:
    image, label = numbered(20, 20, 1)
    transform = Transform((16, 16), True, (0.9, 1.1), 5, (8, 8), 0.1, 5, fill=(3.0,), ignore_label=255)
    assert apply(transform, image, label, rng())[0].shape == (8, 8, 1)


def test_brightness_and_contrast_stay_in_bounds_and_leave_the_label() -> None:
    image, label = numbered(20, 20)
    values = set()
    for seed in range(30):
        found, follows = apply(Transform(brightness=100, contrast=0.9), image, label, rng(seed))
        np.testing.assert_array_equal(follows, label)
        assert found.dtype == np.uint8
        values.add(round(float(found.mean())))
    assert len(values) > 15


def test_one_step_does_not_disturb_another() -> None:
    image, label = numbered(20, 30)
    plain = apply(Transform(crop=(6, 6)), image, label, rng(5))
    bright = apply(Transform(crop=(6, 6), brightness=50), image, label, rng(5))
    np.testing.assert_array_equal(plain[1], bright[1])


def test_images_alone_are_transformed_too() -> None:
    transform = Transform((16, 16), True, (0.5, 2.0), 45, (8, 8), ignore_label=255)
    image, label = apply(transform, numbered(20, 20)[0], None, rng())
    assert label is None and image.shape == (8, 8, 3)


def test_the_declaration_becomes_the_transform() -> None:
    layer = DenseImageData(source="x", new_height=20, new_width=30, crop_size=(8, 9), mean_value=(1.0, 2.0, 3.0))
    assert Transform.of(layer, 11) == Transform((20, 30), crop=(8, 9), fill=(1.0, 2.0, 3.0), ignore_label=11)
    assert Transform.of(SyntheticSquares(mirror=True, rotate=5.0), None) == Transform(mirror=True, rotate=5.0)


@pytest.mark.parametrize("source", [None, rng()])
def test_labels_are_made_smaller_last_of_all(source: np.random.Generator | None) -> None:
    """What is drawn stays the same, and whole blocks of pixels have one label: their first."""
    layer = DenseImageData(source="x", mirror=True, crop_size=(9, 12), label_divide_factor=4)
    image, label = numbered(20, 30)
    state = None if source is None else source.bit_generator.state
    coarse = apply(Transform.of(layer, None), image, label, source)
    if source is not None:
        source.bit_generator.state = state
    fine = apply(Transform.of(layer.model_copy(update={"label_divide_factor": 1}), None), image, label, source)
    assert coarse[1] is not None and fine[1] is not None
    np.testing.assert_array_equal(coarse[0], fine[0])
    np.testing.assert_array_equal(coarse[1], fine[1][:8:4, ::4])
    assert coarse[1].shape == layer.label_size((9, 12)) == (2, 3)
