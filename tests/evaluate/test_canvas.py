from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segspec.evaluate.canvas import Panel, Swatch, draw_heading, draw_legend, draw_panel, frame, stack, tabulate

RED, BLUE = (255, 0, 0), (0, 0, 255)


def box(width: int, height: int, color: tuple[int, int, int] = RED) -> Image.Image:
    return Image.new("RGB", (width, height), color)


def has_ink(picture: Image.Image) -> bool:
    return bool((np.asarray(picture.convert("L")) < 128).any())


def test_stacked_pictures_keep_their_sizes_and_the_gap() -> None:
    page = stack([box(30, 10), box(20, 5, BLUE)], gap=4)
    assert page.size == (30, 19)
    assert page.getpixel((29, 9)) == RED and page.getpixel((0, 14)) == BLUE and page.getpixel((25, 14)) == (255,) * 3


def test_table_columns_line_up_when_sizes_differ_and_the_last_row_is_short() -> None:
    page = tabulate([box(10, 10), box(20, 5), box(30, 7, BLUE)], 2, gap=2)
    assert page.size == (30 + 2 + 20, 10 + 2 + 7)
    assert page.getpixel((32, 0)) == RED and page.getpixel((0, 12)) == BLUE


def test_a_frame_surrounds_the_page() -> None:
    framed = frame(box(10, 10), margin=3)
    assert framed.size == (16, 16) and framed.getpixel((3, 3)) == RED and framed.getpixel((2, 3)) == (255,) * 3


def test_a_panel_is_as_wide_as_its_picture_however_long_its_title() -> None:
    panel = draw_panel(Panel("a title that is much too long", box(40, 10)))
    assert panel.width == 40 and has_ink(panel)


@pytest.mark.parametrize(
    "name", ["", "a.png", "folder/" * 40 + "picture.png", "two\nlines", "道路 €", "no text \udcff", "W" * 300]
)
@pytest.mark.parametrize("width", [1, 240, 2000])
def test_a_heading_has_the_width_it_was_given(name: str, width: int) -> None:
    assert draw_heading(name, "mIoU 64.8 %, accuracy 93.6 %", width).width == width


def test_a_remark_that_does_not_fit_beside_the_name_goes_below_it() -> None:
    beside, below = draw_heading("name", "remark", 400), draw_heading("name", "remark", 100)
    assert below.height == 2 * beside.height
    assert has_ink(below.crop((0, beside.height, 100, below.height)))


def test_a_legend_wraps_and_shows_every_colour() -> None:
    swatches = [Swatch((index, 200, 100), f"class number {index}") for index in range(30)]
    narrow, wide = draw_legend(swatches, 240), draw_legend(swatches, 2000)
    assert narrow.width == 240 and narrow.height > 5 * wide.height
    found = {tuple(color) for color in np.asarray(narrow).reshape(-1, 3).tolist()}
    assert found >= {swatch.color for swatch in swatches}


def test_a_legend_of_nothing_is_empty() -> None:
    assert not has_ink(draw_legend([], 100))
