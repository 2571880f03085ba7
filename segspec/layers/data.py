"""Sources of images, as declared: what is read, how it is resized and varied. Reading itself is done elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic.config import JsonDict

from segspec.layers.base import Blob, Layer, Role, ShapeError
from segspec.schema.types import Count, Real, Reals, Size

_TRANSFORM: JsonDict = {"message": "transform_param"}


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0 < bounds[0] <= bounds[1]:
        raise ValueError("must be [least, greatest] with 0 < least <= greatest")
    return bounds


def _both(value: object) -> object:
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Scales = Annotated[
    tuple[Real, Real],
    BeforeValidator(_both),
    AfterValidator(_ordered),
    WithJsonSchema({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 2, "maxItems": 2}),
]
"""The least and the greatest factor of a random enlargement."""

Side = Annotated[
    Count | None,
    BeforeValidator(lambda value: None if value == 0 and value is not False else value),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}),
]
"""Pixels that an image is resized to; 0, as Caffe writes it, leaves the image as it is."""

LabelKind = Literal["pixels", "image"]
"""What a label is: a map with a class number for each pixel, or one class number for the whole image."""


class DataLayer(Layer):
    """A source of images and labels.

    An image is resized, mirrored, warped and cropped as 8-bit values; the net then computes
    (image - mean_value) * scale. Labels follow every geometric change and none of the others.

    A subclass names in `paths` the fields that hold paths.
    """

    bottoms: ClassVar[tuple[int, int | None]] = (0, 0)
    tops: ClassVar[tuple[int, int | None]] = (1, 2)
    role: ClassVar[Role] = "data"
    top_names: ClassVar[tuple[str, ...]] = ("label",)
    paths: ClassVar[tuple[str, ...]] = ()

    batch_size: Count = Field(1, description="Images in one batch.")
    shuffle: bool = Field(False, description="Whether the order is drawn anew in every epoch.")
    mirror: bool = Field(
        False,
        description="Whether images are mirrored left to right, each with probability 1/2.",
        json_schema_extra=_TRANSFORM,
    )
    crop_size: Size | None = Field(
        None,
        description="Height and width in pixels cut out of each image: at random in training, else from the centre.",
        json_schema_extra=_TRANSFORM,
    )
    scale_jitter: Scales = Field(
        (1.0, 1.0), description="Least and greatest factor by which training images are enlarged at random."
    )
    rotate: Real = Field(0.0, ge=0, le=180, description="Greatest random rotation of training images, in degrees.")
    brightness: Real = Field(
        0.0, ge=0, le=255, description="Greatest random value added to training images, in grey levels of 255."
    )
    contrast: Real = Field(
        0.0, ge=0, lt=1, description="Greatest random change of contrast: 0.2 multiplies training images by 0.8 to 1.2."
    )
    mean_value: Reals = Field(
        (),
        description="Subtracted from images: one number, or one a channel (blue, green, red), in grey levels of 255.",
        json_schema_extra=_TRANSFORM,
    )
    scale: Real = Field(
        1.0, description="Multiplies images after the mean is subtracted.", json_schema_extra=_TRANSFORM
    )
    mean_file: str = Field(
        "",
        description="A mean image (.binaryproto) that is subtracted pixel by pixel, before mirroring and cropping; "
        "`test` subtracts its mean of each channel.",
        json_schema_extra=_TRANSFORM,
    )

    @property
    def channels(self) -> int:
        """Colour channels of an image: 3 (blue, green, red), or 1."""
        return 3

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the delivered images, where the declaration alone settles them."""
        cropped: tuple[int, int] | None = self.crop_size
        return cropped

    @property
    def labels(self) -> LabelKind:
        """What the labels are."""
        return "pixels"

    @property
    def label_divisor(self) -> int:
        """By how much label maps are smaller than images, in height and in width."""
        return 1

    def label_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the label maps of images of this size."""
        return (size[0] // self.label_divisor, size[1] // self.label_divisor)

    def normalize(self, images: jax.Array) -> jax.Array:
        """What the net sees of raw images: (images - mean_value) * scale.

        Args:
            images: (batch, height, width, channels), 0..255, of any real type.

        Returns:
            The same shape in float32.
        """
        values = images.astype(jnp.float32)
        if self.mean_value:
            values = values - np.asarray(self.mean_value, np.float32)
        return values if self.scale == 1.0 else values * np.float32(self.scale)

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """Images and labels. Raises ShapeError where only the files would tell the size."""
        if self.size is None:
            raise ShapeError("the size of the images is not declared: give new_height and new_width, or crop_size")
        image = Blob((self.batch_size, *self.size, self.channels))
        label = (self.batch_size,) if self.labels == "image" else (self.batch_size, *self.label_size(self.size), 1)
        return (image, Blob(label, "int32"))[:tops]

    @model_validator(mode="after")
    def _one_mean(self) -> Self:
        if self.mean_file and self.mean_value:
            raise ValueError("mean_file and mean_value exclude each other: keep one")
        if len(self.mean_value) not in (0, 1, self.channels):
            raise ValueError(f"mean_value has {len(self.mean_value)} numbers for {self.channels} channel(s)")
        return self


class ResizableImages(DataLayer):
    """Pictures in files, which may be resized as they are read."""

    new_height: Side = Field(
        None, description="Height in pixels that images and labels are resized to, with new_width."
    )
    new_width: Side = Field(None, description="Width in pixels that images and labels are resized to, with new_height.")

    @property
    def resized(self) -> tuple[int, int] | None:
        """Height and width that images are resized to, if they are."""
        return None if self.new_height is None or self.new_width is None else (self.new_height, self.new_width)

    @property
    def size(self) -> tuple[int, int] | None:
        return super().size or self.resized

    @model_validator(mode="after")
    def _both_sizes(self) -> Self:
        if (self.new_height is None) != (self.new_width is None):
            raise ValueError("new_height and new_width go together: give both or neither")
        return self


class ListedImages(ResizableImages):
    """Images that a list file names, each with what the line says besides."""

    paths: ClassVar[tuple[str, ...]] = ("source", "root_folder", "mean_file")

    source: str = Field(min_length=1, description="The list file: one line for each picture.")
    root_folder: str = Field("", description="Folder that paths in the list are relative to.")
    color: bool = Field(True, description="Whether images have three channels (true) or are read as grey (false).")

    @property
    def channels(self) -> int:
        return 3 if self.color else 1


class DenseImageData(ListedImages):
    """Images with a label image each, from a list file of lines `image label`.

    Paths are relative to `root_folder`, else to the folder of the list. Images are blue, green, red; a label image
    holds one class number a pixel. Source: caffe-segnet, dense_image_data_layer.cpp.
    """

    type: ClassVar[str] = "DenseImageData"
    message: ClassVar[str] = "dense_image_data_param"
    example: ClassVar[str] = "{source: data/train.txt, batch_size: 4, shuffle: true, mirror: true}"

    label_divide_factor: Count = Field(
        1,
        description="By how much labels are made smaller than images, by nearest neighbour, for a net that ends with "
        "coarse scores (ENet's encoder: 8).",
    )

    @property
    def label_divisor(self) -> int:
        return self.label_divide_factor


class _Synthetic(DataLayer):
    """Images that are drawn, not read: the same seed and number give the same picture everywhere."""

    count: Count = Field(1000, description="Images in one epoch.")
    height: Count = Field(96, description="Height of the drawn images, in pixels.")
    width: Count = Field(96, description="Width of the drawn images, in pixels.")
    seed: int = Field(0, ge=0, description="Seed of the drawing; another seed gives other pictures.")

    @property
    def size(self) -> tuple[int, int]:
        return super().size or (self.height, self.width)


class SyntheticSquares(_Synthetic):
    """Drawn images of coloured squares on a noisy background; label 0 is the background, 1 a square."""

    type: ClassVar[str] = "SyntheticSquares"
    in_caffe: ClassVar[bool] = False
    example: ClassVar[str] = "{count: 200, height: 64, width: 64, squares: 2, batch_size: 8}"

    squares: Count = Field(1, description="Greatest number of squares in one image; at least one is drawn.")
    bright: bool = Field(
        True, description="Whether squares are always brighter than the background; else both have any colour."
    )
    noise: Real = Field(12.0, ge=0, description="Standard deviation of the noise, in grey levels of 255.")


class SyntheticStreet(_Synthetic):
    """Drawn street scenes with the 11 classes of CamVid in their order; label 11 is void."""

    type: ClassVar[str] = "SyntheticStreet"
    in_caffe: ClassVar[bool] = False
    example: ClassVar[str] = "{count: 300, height: 120, width: 160, batch_size: 4}"

    height: Count = Field(120, description="Height of the drawn images, in pixels.")
    width: Count = Field(160, description="Width of the drawn images, in pixels.")


class Input(Layer):
    """Arrays fed by the caller, with their shapes declared. Source: BVLC Caffe, input_layer.cpp."""

    type: ClassVar[str] = "Input"
    bottoms: ClassVar[tuple[int, int | None]] = (0, 0)
    tops: ClassVar[tuple[int, int | None]] = (1, None)
    role: ClassVar[Role] = "data"
    message: ClassVar[str] = "input_param"
    example: ClassVar[str] = "{shape: [1, 3, 360, 480]}"

    shape: tuple[Count, ...] = Field(
        min_length=1, description="Shape of every top in Caffe's order: batch, channels, height, width."
    )

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        if len(self.shape) != 4:
            return (Blob(self.shape),) * tops
        batch, channels, height, width = self.shape
        return (Blob((batch, height, width, channels)),) * tops
