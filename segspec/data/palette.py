"""Class numbers as a picture: values are the numbers, the palette shows the class table's colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from segspec.errors import DataError
from segspec.spec.classes import ClassTable


def make_palette(classes: ClassTable) -> npt.NDArray[np.uint8]:
    """(256, 3) RGB colours by label value: those of the classes, of the ignored label, and black for all others."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: classes.count] = classes.colors
    if classes.ignore_label is not None:
        palette[classes.ignore_label] = classes.ignore_color
    return palette


def palette_mask(mask: npt.NDArray[np.integer], classes: ClassTable) -> Image.Image:
    """The mask as a picture whose pixel values are the labels and whose palette is the class table (PNG mode P).

    Args:
        mask: (height, width) label values.
        classes: whose colours to use.

    Raises:
        DataError: a value lies outside 0..255, which a palette picture cannot hold.
    """
    if mask.size and not 0 <= mask.min() <= mask.max() <= 255:
        raise DataError(f"a palette picture holds values from 0 to 255, the mask has {mask.min()} to {mask.max()}")
    picture = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    picture.putpalette(make_palette(classes).tobytes())
    return picture
