from __future__ import annotations

import numpy as np
import pytest

from segspec.evaluate.pictures import overlay, to_rgb
from segspec.spec.classes import ClassTable

CLASSES = ClassTable(("road", "car"), ((10, 20, 30), (200, 100, 0)), 255, (255, 0, 255))


def test_images_are_shown_in_their_own_colours() -> None:
    blue_green_red = np.array([[[1, 2, 3]]], np.uint8)
    assert to_rgb(blue_green_red).tolist() == [[[3, 2, 1]]]


@pytest.mark.parametrize(
    ("shape", "first"), [((2, 2), 7), ((2, 2, 1), 7), ((2, 2, 2), 7), ((2, 2, 5), 7)], ids=["2-d", "1", "2", "5"]
)
def test_images_of_any_channel_count_can_be_shown(shape: tuple[int, ...], first: int) -> None:
    shown = to_rgb(np.full(shape, first, np.uint8))
    assert shown.shape == (2, 2, 3) and (shown == first).all()


def test_numbers_of_any_range_are_spread_from_black_to_white() -> None:
    shown = to_rgb(np.array([[[-2.0], [0.0], [2.0]]], np.float32))
    assert shown.dtype == np.uint8 and shown[0, :, 0].tolist() == [0, 127, 255]
    assert not to_rgb(np.full((2, 2, 1), 5.0, np.float32)).any()


def test_an_overlay_blends_classes_and_leaves_ignored_pixels_alone() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    mask = np.full((4, 4), 1)
    assert (np.asarray(overlay(image, mask, CLASSES, 0.5)) == (150, 100, 50)).all()
    assert (np.asarray(overlay(image, np.full((4, 4), 255), CLASSES)) == 100).all()
    assert (np.asarray(overlay(image, mask, CLASSES, 0.0)) == 100).all()


def test_contours_lie_between_classes_and_nowhere_else() -> None:
    mask = np.zeros((6, 8), int)
    mask[:, 4:] = 1
    white = (np.asarray(overlay(np.zeros((6, 8, 3), np.uint8), mask, CLASSES)) == 255).all(axis=2)
    assert white.any(axis=0).tolist() == [False] * 4 + [True] + [False] * 3 and white[:, 4].all()


def test_contours_of_large_images_are_wide_enough_to_see() -> None:
    mask = np.zeros((10, 3000), np.uint8)
    mask[:, 1500:] = 1
    white = (np.asarray(overlay(np.zeros((10, 3000, 3), np.uint8), mask, CLASSES)) == 255).all(axis=2)
    assert white[5].sum() == 3


def test_the_image_and_the_mask_are_not_changed() -> None:
    image, mask = np.full((4, 4, 3), 9, np.uint8), np.eye(4, dtype=np.uint8)
    overlay(image, mask, CLASSES)
    assert (image == 9).all() and (mask == np.eye(4)).all()
