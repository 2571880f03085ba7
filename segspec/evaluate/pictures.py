"""A prediction as a picture for people: the image with the classes laid over it, maps of figures."""

from __future__ import annotations

import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from segspec.data.palette import make_palette
from segspec.evaluate.confusion import Labels
from segspec.spec.classes import ClassTable

Pixels = npt.NDArray[np.uint8]
"""(height, width) or (height, width, channels); three channels are blue, green, red unless a name says RGB."""

_CONTOUR = (255, 255, 255)
_LONG_SIDE = 1000  # pixels of image for one pixel of contour


def encode_png(picture: Image.Image) -> bytes:
    """The picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def share_map(values: npt.NDArray[np.float32]) -> Image.Image:
    """Values from 0 to 1 as a grey picture of 16 bits: 65535 is 1."""
    return Image.fromarray(np.round(np.clip(values, 0, 1) * 65535).astype(np.uint16))


def heat(values: npt.NDArray[np.float32], most: float) -> Image.Image:
    """Values from 0 (dark) to `most` (bright) in colours that a person tells apart."""
    levels = np.round(np.clip(values / most, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB))


def to_rgb(image: Pixels) -> Pixels:
    """(height, width, 3) RGB of an image in the net's order; of one with 2 or more than 3 channels, what fits a screen.

    One or two channels show the first as grey; three or more show the first three as blue, green, red. Numbers other
    than bytes are spread from black, the least, to white, the greatest.
    """
    channels = np.atleast_3d(image)
    shown = channels[..., 2::-1] if channels.shape[2] >= 3 else np.repeat(channels[..., :1], 3, axis=2)
    if shown.dtype != np.uint8:
        least, greatest = float(shown.min()), float(shown.max())
        shown = ((shown - least) * (255 / max(greatest - least, 1e-12))).astype(np.uint8)
    return np.ascontiguousarray(shown)


def overlay(image: Pixels, mask: Labels, classes: ClassTable, opacity: float = 0.5) -> Image.Image:
    """The image tinted with the classes' colours, thin white contours between them; ignored pixels stay as they are.

    Args:
        image: (height, width) or (height, width, channels).
        mask: (height, width) label values.
        classes: whose colours to use.
        opacity: of the tint, 0 (the image) to 1 (the mask).

    Returns:
        A picture in mode RGB, of the image's size.
    """
    rgb = to_rgb(image).astype(np.float32)
    colors = make_palette(classes)[mask].astype(np.float32)
    tint = np.full((*mask.shape, 1), opacity, np.float32)
    if classes.ignore_label is not None:
        tint[mask == classes.ignore_label] = 0
    blended = np.rint(rgb + tint * (colors - rgb)).astype(np.uint8)
    blended[_find_contours(mask)] = _CONTOUR
    return Image.fromarray(blended)


def _find_contours(mask: Labels) -> npt.NDArray[np.bool_]:
    """Lines between the classes, one pixel wide for each 1000 pixels of image."""
    contours = np.zeros(mask.shape, np.uint8)
    contours[1:] |= mask[1:] != mask[:-1]
    contours[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    width = round(max(mask.shape) / _LONG_SIDE)
    if width > 1:
        contours = cv2.dilate(contours, np.ones((width, width), np.uint8)).astype(np.uint8)
    return contours.astype(bool)
