"""Sheets to look at: an image beside its truth, its prediction and its mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from segspec.data.palette import palette_mask
from segspec.evaluate.canvas import (
    GAP,
    Panel,
    Swatch,
    draw_heading,
    draw_legend,
    draw_panel,
    frame,
    stack,
    tabulate,
)
from segspec.evaluate.confusion import Labels, count
from segspec.evaluate.metrics import Metrics
from segspec.evaluate.pictures import Pixels, heat, overlay, to_rgb
from segspec.evaluate.report import format_share
from segspec.spec.classes import ClassTable

_SHEET_SIDES = (256, 640)  # pixels: the longer side of a panel is brought into this range
_CONTACT_SIDES = (200, 240)
_PAGE = 2100  # pixels: widest sheet
_NARROWEST = 240  # pixels: so that a legend can be read below one small picture
_SPLIT = 0.5  # uncertainty of a pixel whose samples are split evenly between two classes: the brightest colour
_WRONG = (230, 40, 40)


class Example(NamedTuple):
    """One tested image.

    Attributes:
        name: what to call it.
        image: (height, width) or (height, width, channels), blue first.
        prediction: (height, width) class indices.
        label: (height, width) true label values, or None.
        uncertainty: (height, width) from 0 to 1, or None where the net was asked once.
    """

    name: str
    image: Pixels
    prediction: Labels
    label: Labels | None = None
    uncertainty: npt.NDArray[np.float32] | None = None


def draw_sheet(example: Example, classes: ClassTable) -> Image.Image:
    """Image, truth, prediction and mistakes side by side, with the image's mean IoU and a legend.

    Without a label: image, prediction and overlay. Small images are enlarged pixel by pixel, large ones reduced.

    Raises:
        DataError: the label and the prediction do not fit the class table or each other.
    """
    panels = _draw_panels(example, classes, _SHEET_SIDES)
    across = sum(panel.width for panel in panels) + GAP * (len(panels) - 1)
    body = tabulate(panels, len(panels) if across <= _PAGE else 2)
    width = max(body.width, _NARROWEST)
    heading = draw_heading(example.name, _describe(example, classes), width)
    return frame(stack([heading, body, draw_legend(_list_swatches([example], classes), width)]))


def draw_contact_sheet(title: str, remark: str, examples: Sequence[Example], classes: ClassTable) -> Image.Image:
    """Several examples on one page, two a row, with one legend.

    Args:
        title: the page's heading.
        remark: what stands beside it, or below it where the page is narrow.
        examples: at least one; about twenty still make a page one can take in.
        classes: whose names and colours to use.

    Raises:
        DataError: a label and its prediction do not fit the class table or each other.
    """
    strips = [_draw_strip(example, classes) for example in examples]
    body = tabulate(strips, 2, gap=2 * GAP)
    legend = draw_legend(_list_swatches(examples, classes), body.width)
    return frame(stack([draw_heading(title, remark, body.width), body, legend], gap=2 * GAP))


def _draw_strip(example: Example, classes: ClassTable) -> Image.Image:
    panels = _draw_panels(example, classes, _CONTACT_SIDES)
    body = tabulate(panels, len(panels), gap=4)
    width = max(body.width, _NARROWEST)
    return stack([draw_heading(example.name, _describe(example, classes), width), body], gap=4)


def _draw_panels(example: Example, classes: ClassTable, sides: tuple[int, int]) -> list[Image.Image]:
    size = _choose_size(example.prediction.shape, sides)
    image = _resize(Image.fromarray(to_rgb(example.image)), size, smooth=True)
    prediction = _resize(palette_mask(example.prediction, classes), size)
    if example.label is None:
        laid_over = _resize(overlay(example.image, example.prediction, classes), size, smooth=True)
        panels = [Panel("image", image), Panel("prediction", prediction), Panel("overlay", laid_over)]
    else:
        truth = _resize(palette_mask(example.label, classes), size)
        wrong = _find_mistakes(example.prediction, example.label, classes)
        mistakes = _resize(_draw_mistakes(example.image, wrong), size, smooth=True)
        panels = [Panel("image", image), Panel("truth", truth), Panel("prediction", prediction)]
        panels.append(Panel("mistakes", mistakes))
    if example.uncertainty is not None:
        doubt = _resize(heat(np.sqrt(example.uncertainty), math.sqrt(_SPLIT)), size, smooth=True)
        panels.append(Panel("uncertainty", doubt))
    return [draw_panel(panel) for panel in panels]


def _choose_size(shape: tuple[int, ...], sides: tuple[int, int]) -> tuple[int, int]:
    """(width, height) on the page: reduced to the larger side, or enlarged by a whole factor towards the smaller."""
    height, width = shape
    least, most = sides
    longest = max(height, width)
    factor = most / longest if longest > most else min(math.ceil(least / longest), most // longest)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _resize(picture: Image.Image, size: tuple[int, int], smooth: bool = False) -> Image.Image:
    """Enlarges pixel by pixel; reduces by averaging where `smooth`, which must not be done to label values."""
    reduces = size[0] < picture.width
    return picture.resize(size, Image.Resampling.BOX if smooth and reduces else Image.Resampling.NEAREST)


def _find_mistakes(prediction: Labels, label: Labels, classes: ClassTable) -> npt.NDArray[np.bool_]:
    counted = True if classes.ignore_label is None else label != classes.ignore_label
    return np.asarray((prediction != label) & counted)


def _draw_mistakes(image: Pixels, wrong: npt.NDArray[np.bool_]) -> Image.Image:
    """The image in pale grey, wrong pixels red."""
    grey = cv2.cvtColor(to_rgb(image), cv2.COLOR_RGB2GRAY)
    pale = np.repeat((128 + grey // 2)[..., None], 3, axis=2).astype(np.uint8)
    pale[wrong] = _WRONG
    return Image.fromarray(pale)


def _describe(example: Example, classes: ClassTable) -> str:
    if example.label is None:
        return ""
    metrics = Metrics(count(example.prediction, example.label, classes.count, classes.ignore_label))
    if not metrics.total:
        return "no labelled pixel"
    return f"mIoU {format_share(metrics.mean_iou)} %, accuracy {format_share(metrics.global_accuracy)} %"


def _list_swatches(examples: Sequence[Example], classes: ClassTable) -> list[Swatch]:
    """The classes that occur in any of the pictures, then the ignored label, then mistakes."""
    maps = [example.prediction for example in examples]
    maps += [example.label for example in examples if example.label is not None]
    present = set(np.unique(np.concatenate([np.unique(values) for values in maps])).tolist())
    swatches = [
        Swatch(color, name)
        for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True))
        if index in present
    ]
    if classes.ignore_label in present:
        swatches.append(Swatch(classes.ignore_color, f"{classes.ignore_name} (ignored)"))
    if any(example.label is not None for example in examples):
        swatches.append(Swatch(_WRONG, "mistake"))
    return swatches
