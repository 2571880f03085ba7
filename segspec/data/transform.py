"""Resizing and augmentation of one image with its label: a pure function of both and a random generator.

The order is Caffe's, with the additions in their place: resize, subtract the mean image, pad, mirror, scale and rotate,
crop, contrast and brightness. Labels follow every geometric step by nearest neighbour, so no class number is ever
invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from segspec.errors import DataError
from segspec.layers.data import DataLayer, ResizableImages
from segspec.layers.listed import ImageSegData
from segspec.ops.window import Pair

_OPENCV_CHANNELS = 4
"""As many as every operation of OpenCV takes; arrays from HDF5 may have more."""


@dataclass(frozen=True)
class Transform:
    """What is done to every image and label.

    Attributes:
        resize: (height, width) in pixels, or None.
        mirror: whether half of the images are mirrored left to right.
        scales: least and greatest factor of random enlargement about the centre.
        rotate: greatest random rotation about the centre, in degrees.
        crop: (height, width) cut out in pixels, or None.
        contrast: greatest random change of the spread about the image's mean, as a share.
        brightness: greatest random value added, in grey levels.
        fill: value of each channel beyond the image's border.
        ignore_label: label beyond the border; None mirrors image and label at the border instead.
        pad: whether images smaller than the crop are continued below and to the right.
        mean: float32 (height, width, channels) subtracted from images, or None.
        label_divisor: by how much label maps are made smaller than images at last.
    """

    resize: Pair | None = None
    mirror: bool = False
    scales: tuple[float, float] = (1.0, 1.0)
    rotate: float = 0.0
    crop: Pair | None = None
    contrast: float = 0.0
    brightness: float = 0.0
    fill: tuple[float, ...] = (0.0,)
    ignore_label: int | None = None
    pad: bool = False
    mean: np.ndarray | None = None
    label_divisor: int = 1

    @classmethod
    def of(cls, layer: DataLayer, ignore_label: int | None, mean: np.ndarray | None = None) -> Transform:
        """The transform that a data layer declares; `mean` is what its mean_file holds."""
        return cls(
            resize=layer.resized if isinstance(layer, ResizableImages) else None,
            mirror=layer.mirror,
            scales=layer.scale_jitter,
            rotate=layer.rotate,
            crop=layer.crop_size,
            contrast=layer.contrast,
            brightness=layer.brightness,
            fill=layer.mean_value or (0.0,),
            ignore_label=ignore_label,
            pad=isinstance(layer, ImageSegData),
            mean=mean,
            label_divisor=layer.label_divisor,
        )

    @property
    def warps(self) -> bool:
        """Whether images are scaled or rotated at random."""
        return self.scales != (1.0, 1.0) or self.rotate > 0

    def size_of(self, size: Pair) -> Pair:
        """The (height, width) that an image of this size comes out with."""
        return self.crop or self.resize or size


class _Draws(NamedTuple):
    """One image's random numbers in [0, 1). All are drawn always, so switching one step on leaves the others alone."""

    mirror: float
    scale: float
    rotate: float
    top: float
    left: float
    contrast: float
    brightness: float


Planes = tuple[np.ndarray, np.ndarray | None]


def apply(
    transform: Transform, image: np.ndarray, label: np.ndarray | None, rng: np.random.Generator | None = None
) -> Planes:
    """Transforms an image with its label.

    Args:
        transform: what to do.
        image: uint8 or float32 (height, width, channels).
        label: uint8 (height, width) of the same size, one number for the whole image, or None.
        rng: source of randomness; None does only what is not random, and crops the centre.

    Returns:
        Both; the image in float32 where a mean image was subtracted.

    Raises:
        DataError: the image is smaller than the crop, or of another size than the mean image.
    """
    if label is not None and label.ndim == 0:
        return _change(transform, image, None, rng)[0], label
    image, label = _change(transform, image, label, rng)
    return image, None if label is None else _thin_out(label, transform.label_divisor)


def _thin_out(label: np.ndarray, divisor: int) -> np.ndarray:
    """A label map made smaller by nearest neighbour: of every `divisor` whole rows and columns the first."""
    if divisor == 1:
        return label
    height, width = (side // divisor * divisor for side in label.shape)
    return np.ascontiguousarray(label[:height:divisor, :width:divisor])


def _change(
    transform: Transform, image: np.ndarray, label: np.ndarray | None, rng: np.random.Generator | None
) -> Planes:
    """What is done to image and label together."""
    if transform.resize is not None:
        image, label = _resize(image, label, transform.resize)
    if transform.mean is not None:
        image = _subtract(image, transform.mean)
    if transform.pad and transform.crop is not None:
        image, label = _pad(image, label, transform)
    if rng is None:
        return _crop(image, label, transform.crop, None)
    draws = _Draws(*rng.random(7))
    if transform.mirror and draws.mirror < 0.5:
        image, label = _mirror(image), None if label is None else _mirror(label)
    if transform.warps:
        image, label = _warp(image, label, transform, draws)
    image, label = _crop(image, label, transform.crop, (draws.top, draws.left))
    return _vary_values(image, transform, draws), label


def _resize(image: np.ndarray, label: np.ndarray | None, size: Pair) -> Planes:
    if image.shape[:2] == size:
        return image, label
    target = size[::-1]
    image = cv2.resize(image, target, interpolation=cv2.INTER_LINEAR).reshape(*size, image.shape[2])
    if label is not None:
        label = cv2.resize(label, target, interpolation=cv2.INTER_NEAREST)
    return image, label


def _mirror(array: np.ndarray) -> np.ndarray:
    """The same turned around, in rows that run forward: OpenCV does it 40 times as fast as NumPy copies a view."""
    if array.ndim == 3 and array.shape[2] > _OPENCV_CHANNELS:
        return np.ascontiguousarray(array[:, ::-1])
    return cv2.flip(array, 1).reshape(array.shape)


def _subtract(image: np.ndarray, mean: np.ndarray) -> np.ndarray:
    if image.shape != mean.shape:
        found, expected = (" x ".join(map(str, array.shape)) for array in (image, mean))
        raise DataError(
            f"the image is {found} (height x width x channels), but the mean image {expected}",
            hint="make the mean image from images of this size, or use mean_value",
        )
    difference: np.ndarray = image.astype(np.float32) - mean
    return difference


def _pad(image: np.ndarray, label: np.ndarray | None, transform: Transform) -> Planes:
    """Continues what is smaller than the crop below and to the right with `fill` and the ignored label."""
    height, width, channels = image.shape
    wanted = transform.crop or (height, width)
    below, right = max(wanted[0] - height, 0), max(wanted[1] - width, 0)
    if not below and not right:
        return image, label
    if label is not None and transform.ignore_label is None:
        raise DataError(
            f"the image is {height} x {width} pixels (height x width) and would be padded to "
            f"{wanted[0]} x {wanted[1]}, but no label is ignored",
            hint="give the loss an ignore_label or the class table 'ignore: {label: 255}', or make crop_size smaller",
        )
    borders = (0, below, 0, right, cv2.BORDER_CONSTANT)
    fill = transform.fill if len(transform.fill) > 1 else transform.fill * 4
    image = cv2.copyMakeBorder(image, *borders, value=fill).reshape(height + below, width + right, channels)
    if label is not None:
        label = cv2.copyMakeBorder(label, *borders, value=(transform.ignore_label or 0,))
    return image, label


def _warp(image: np.ndarray, label: np.ndarray | None, transform: Transform, draws: _Draws) -> Planes:
    """Scales and rotates about the centre; what comes from beyond the border is `fill` and the ignored label."""
    height, width, channels = image.shape
    least, greatest = transform.scales
    angle = (2 * draws.rotate - 1) * transform.rotate
    matrix = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2), angle, least + draws.scale * (greatest - least)
    )
    border = cv2.BORDER_REFLECT_101 if transform.ignore_label is None else cv2.BORDER_CONSTANT
    fill = transform.fill if len(transform.fill) > 1 else transform.fill * 4
    source = np.ascontiguousarray(image)
    warped = cv2.warpAffine(
        source, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=fill
    )
    if label is not None:
        outside = transform.ignore_label or 0
        label = cv2.warpAffine(
            np.ascontiguousarray(label),
            matrix,
            (width, height),
            flags=cv2.INTER_NEAREST,
            borderMode=border,
            borderValue=(outside,),
        )
    return warped.reshape(height, width, channels), label


def _crop(image: np.ndarray, label: np.ndarray | None, size: Pair | None, shares: tuple[float, float] | None) -> Planes:
    """Cuts out a window; two numbers in [0, 1) choose its row and column among all that fit, None takes the centre."""
    if size is None or image.shape[:2] == size:
        return image, label
    height, width = image.shape[:2]
    if height < size[0] or width < size[1]:
        raise DataError(
            f"the image is {height} x {width} pixels (height x width), smaller than crop_size {size[0]} x {size[1]}",
            hint="make crop_size smaller, or enlarge images with new_height and new_width",
        )
    spare = (height - size[0], width - size[1])
    if shares is None:
        row, column = (pixels // 2 for pixels in spare)  # Caffe's centre: above and left of it where there are two
    else:
        row, column = (int(share * (pixels + 1)) for share, pixels in zip(shares, spare, strict=True))
    window = (slice(row, row + size[0]), slice(column, column + size[1]))
    return image[window], None if label is None else label[window]


def _vary_values(image: np.ndarray, transform: Transform, draws: _Draws) -> np.ndarray:
    """(value - mean) * gain + mean + offset; 8-bit values are rounded and clipped to 0..255."""
    if transform.contrast == 0 and transform.brightness == 0:
        return image
    gain = 1 + (2 * draws.contrast - 1) * transform.contrast
    offset = (2 * draws.brightness - 1) * transform.brightness
    mean = float(image.mean())
    if image.dtype != np.uint8:
        varied: np.ndarray = ((image - mean) * gain + mean + offset).astype(np.float32)
        return varied
    table = np.rint((np.arange(256) - mean) * gain + mean + offset).clip(0, 255).astype(np.uint8)
    return np.take(table, image)
