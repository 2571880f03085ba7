"""Putting pictures, words and a legend on one page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from segspec.spec.classes import Color

GAP = 12
"""Pixels between the parts of a page."""

_PAPER, _INK, _PALE_INK, _OUTLINE = (255, 255, 255), (32, 32, 32), (96, 96, 96), (160, 160, 160)
_TEXT, _HEADING = 15, 19  # pixels
_SWATCH = 16  # pixels


class Panel(NamedTuple):
    """A picture with a title above it."""

    title: str
    picture: Image.Image


class Swatch(NamedTuple):
    """A colour and what it stands for."""

    color: Color
    name: str


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and so is the same on every machine."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _blank(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (max(width, 1), max(height, 1)), _PAPER)


def shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text on one line, the front cut off where it is too wide: the end of a path tells more.

    Bytes of a file name that are no text become question marks.
    """
    text = " ".join(text.encode(errors="replace").decode().split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text


def stack(pictures: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Pictures below each other, flush left."""
    height = sum(picture.height for picture in pictures) + gap * (len(pictures) - 1)
    page = _blank(max(picture.width for picture in pictures), height)
    top = 0
    for picture in pictures:
        page.paste(picture, (0, top))
        top += picture.height + gap
    return page


def tabulate(pictures: Sequence[Image.Image], columns: int, gap: int = GAP) -> Image.Image:
    """Pictures in rows of `columns`; every column is as wide as its widest, every row as high as its highest."""
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    widths = [max(row[index].width for row in rows if index < len(row)) for index in range(len(rows[0]))]
    heights = [max(picture.height for picture in row) for row in rows]
    page = _blank(sum(widths) + gap * (len(widths) - 1), sum(heights) + gap * (len(heights) - 1))
    for number, row in enumerate(rows):
        for index, picture in enumerate(row):
            page.paste(picture, (sum(widths[:index]) + gap * index, sum(heights[:number]) + gap * number))
    return page


def frame(page: Image.Image, margin: int = 2 * GAP) -> Image.Image:
    """A margin around a page."""
    framed = _blank(page.width + 2 * margin, page.height + 2 * margin)
    framed.paste(page, (margin, margin))
    return framed


def draw_panel(panel: Panel) -> Image.Image:
    """The picture with its title above it."""
    font = _font(_TEXT)
    title = _blank(panel.picture.width, _TEXT + 6)
    text = shorten(panel.title, font, title.width)
    ImageDraw.Draw(title).text((0, 0), text, font=font, fill=_PALE_INK)
    return stack([title, panel.picture.convert("RGB")], gap=0)


def draw_heading(name: str, remark: str, width: int) -> Image.Image:
    """A name in bold and a remark, side by side where both fit, otherwise below each other."""
    bold, plain = _font(_HEADING, bold=True), _font(_HEADING)
    name = shorten(name, bold, width)
    space = 2 * GAP
    beside = bool(remark) and bold.getlength(name) + space + plain.getlength(remark) <= width
    height = _HEADING + 8
    page = _blank(width, height if beside or not remark else 2 * height)
    pen = ImageDraw.Draw(page)
    pen.text((0, 0), name, font=bold, fill=_INK)
    place = (bold.getlength(name) + space, 0) if beside else (0, height)
    pen.text(place, shorten(remark, plain, width), font=plain, fill=_INK)
    return page


def draw_legend(swatches: Sequence[Swatch], width: int) -> Image.Image:
    """Colours with their names, in as many lines as the width asks for."""
    font = _font(_TEXT)
    names = [shorten(swatch.name, font, width - _SWATCH - 8) for swatch in swatches]
    places = _flow([_SWATCH + 8 + round(font.getlength(name)) for name in names], width)
    page = _blank(width, (places[-1][1] + 1) * (_SWATCH + 8) if places else 1)
    pen = ImageDraw.Draw(page)
    for swatch, name, (left, line) in zip(swatches, names, places, strict=True):
        top = line * (_SWATCH + 8)
        pen.rectangle((left, top, left + _SWATCH, top + _SWATCH), fill=swatch.color, outline=_OUTLINE)
        pen.text((left + _SWATCH + 8, top - 1), name, font=font, fill=_INK)
    return page


def _flow(lengths: Sequence[int], width: int, gap: int = 20) -> list[tuple[int, int]]:
    """(left, line) of words of these lengths, broken into lines of at most `width`."""
    places, left, line = [], 0, 0
    for length in lengths:
        if left and left + length > width:
            left, line = 0, line + 1
        places.append((left, line))
        left += length + gap
    return places
