from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segspec.errors import DataError
from segspec.evaluate.sheet import Example, draw_contact_sheet, draw_sheet
from segspec.spec.classes import ClassTable

ROAD, CAR, TREE, VOID, MISTAKE = (10, 20, 30), (200, 100, 0), (0, 111, 0), (255, 0, 255), (230, 40, 40)
CLASSES = ClassTable(("road", "car", "tree"), (ROAD, CAR, TREE), 9, VOID)


def make_example(height: int = 96, width: int = 96, labelled: bool = True) -> Example:
    label = np.zeros((height, width), np.uint8)
    label[: height // 3] = 1
    prediction = np.roll(label, width // 8, axis=0)
    image = np.full((height, width, 3), 128, np.uint8)
    return Example("val/a.png", image, prediction, label if labelled else None)


def colors(picture: Image.Image) -> set[tuple[int, ...]]:
    return {color for _, color in picture.getcolors(picture.width * picture.height)}


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    "shape", [(96, 96), (360, 480), (1080, 1920), (1920, 1080), (1, 1), (3, 700), (500, 2)], ids=str
)
def test_sheets_of_any_size_are_large_enough_to_see_and_small_enough_to_show(
    shape: tuple[int, int], labelled: bool
) -> None:
    sheet = draw_sheet(make_example(*shape, labelled=labelled), CLASSES)
    assert sheet.mode == "RGB"
    assert 280 <= max(sheet.size) <= 2150 and min(sheet.size) >= 100


def test_wide_images_are_put_in_two_rows() -> None:
    wide, square = draw_sheet(make_example(1080, 1920), CLASSES), draw_sheet(make_example(480, 480), CLASSES)
    assert wide.width < 1400 < square.width


def test_the_legend_names_only_what_occurs() -> None:
    example = make_example()
    assert colors(draw_sheet(example, CLASSES)) & {ROAD, CAR, TREE, VOID, MISTAKE} == {ROAD, CAR, MISTAKE}
    example.label[50:, 50:] = 9
    assert VOID in colors(draw_sheet(example, CLASSES))
    assert MISTAKE not in colors(draw_sheet(example._replace(label=None), CLASSES))


def test_ignored_pixels_are_no_mistakes() -> None:
    example = make_example()
    everything_ignored = np.full_like(example.label, 9)
    few = draw_sheet(example._replace(label=everything_ignored), CLASSES)
    many = draw_sheet(example, CLASSES)

    def count_mistakes(sheet: Image.Image) -> int:
        return int((np.asarray(sheet) == MISTAKE).all(axis=2).sum())

    assert count_mistakes(few) < 20 * 20 < count_mistakes(many)


def test_small_images_are_enlarged_pixel_by_pixel() -> None:
    example = make_example(64, 64, labelled=False)
    checkers = np.indices((64, 64)).sum(axis=0) % 2
    example.prediction[:] = checkers
    example.image[checkers == 1] = (255, 255, 0)
    sheet = np.asarray(draw_sheet(example, CLASSES))
    for color in (CAR, (0, 255, 255), (128, 128, 128)):
        assert (sheet == color).all(axis=2).sum() >= 64 * 64 * 16 // 2


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_contact_sheet_has_two_examples_a_row(number: int) -> None:
    sheet = draw_contact_sheet("Worst", "of all", [make_example()] * number, CLASSES)
    pair = draw_contact_sheet("Worst", "of all", [make_example()] * 2, CLASSES)
    assert sheet.width == pair.width if number > 1 else sheet.width < pair.width
    assert (sheet.height > pair.height) == (number > 2)


def test_a_contact_sheet_mixes_sizes_channels_and_missing_labels() -> None:
    grey = make_example(50, 200)._replace(image=np.zeros((50, 200, 1), np.uint8))
    sheet = draw_contact_sheet("Mixed", "", [make_example(), grey, make_example(300, 100, labelled=False)], CLASSES)
    assert colors(sheet) >= {ROAD, CAR, MISTAKE}


def test_a_label_outside_the_classes_is_one_message() -> None:
    example = make_example()
    example.label[0, 0] = 7
    with pytest.raises(DataError, match="label values outside the 3 classes"):
        draw_sheet(example, CLASSES)
