"""Sources of images that a list file names: of DeepLab, of HED, and of BVLC Caffe's classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from segspec.layers.data import LabelKind, ListedImages


class ImageSegData(ListedImages):
    """Images with a label image each, from a list file of lines `image label`, padded where they are too small.

    An image smaller than crop_size is continued below and to the right: the image with `mean_value`, the label with the
    ignored label. Source: DeepLab, image_seg_data_layer.cpp and data_transformer.cpp.
    """

    type: ClassVar[str] = "ImageSegData"
    message: ClassVar[str] = "image_data_param"
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"label_type": "IMAGE"}
    example: ClassVar[str] = "{source: data/train.txt, batch_size: 10, shuffle: true, mirror: true}"

    label_type: Literal["NONE", "IMAGE", "PIXEL"] = Field(
        "PIXEL",
        description="What a line says behind the image: nothing that counts (every pixel is ignored), one class number "
        "for all its pixels, or a label image.",
    )
    ignore_label: int = Field(
        255, ge=0, le=255, description="Label of padded pixels, where no class table says which label is ignored."
    )


class ImageLabelmapData(ListedImages):
    """Images with a grey picture of edges each, from a list file of lines `image label`.

    A label is 1 where the picture is at least 128, else 0. Source: HED, image_labelmap_data_layer.cpp.
    """

    type: ClassVar[str] = "ImageLabelmapData"
    message: ClassVar[str] = "image_data_param"
    example: ClassVar[str] = "{source: data/train_pair.lst, shuffle: true}"


class ImageData(ListedImages):
    """Images with a class number each, from a list file of lines `image number`: for nets that classify.

    Source: BVLC Caffe, image_data_layer.cpp.
    """

    type: ClassVar[str] = "ImageData"
    message: ClassVar[str] = "image_data_param"
    example: ClassVar[str] = "{source: data/train.txt, batch_size: 32, new_height: 256, new_width: 256}"

    @property
    def labels(self) -> LabelKind:
        return "image"
