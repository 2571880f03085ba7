"""Sources of images that lie in a database or in arrays on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from segspec.layers.data import DataLayer, LabelKind
from segspec.schema.types import Count


class StoredImages(DataLayer):
    """Images whose number of channels only the file tells, unless it is declared."""

    channels_: Count | None = Field(
        None,
        alias="channels",
        description="Channels of an image; by default what the file says, and 3 until it is read.",
    )

    @property
    def channels(self) -> int:
        return self.channels_ or 3


class Data(StoredImages):
    """Images from an LMDB of Caffe: each value a serialized Datum, raw or as an encoded picture.

    With `label_source`, a second LMDB whose values hold one channel of class numbers, in the order of their keys; else
    the label is the class number of the whole image, unless `label_kind` says otherwise. Needs the extra `lmdb`.
    Source: BVLC Caffe, data_layer.cpp.
    """

    type: ClassVar[str] = "Data"
    message: ClassVar[str] = "data_param"
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"backend": "LEVELDB"}
    paths: ClassVar[tuple[str, ...]] = ("source", "label_source", "mean_file")
    example: ClassVar[str] = "{source: data/train_lmdb, label_source: data/train_label_lmdb, batch_size: 4}"

    source: str = Field("", description="Folder of the database; a net can be checked without it.")
    label_source: str = Field("", description="Folder of the database of label maps; none: a class number an image.")
    label_kind: LabelKind | None = Field(
        None, description="Whether labels are maps or one class number an image; by default maps with a label_source."
    )
    backend: Literal["LEVELDB", "LMDB"] = Field("LMDB", description="Kind of database; LEVELDB cannot be read.")
    force_color: bool = Field(
        False,
        description="Whether encoded pictures are decoded in colour, whatever they are.",
        json_schema_extra={"message": "transform_param"},
    )
    force_gray: bool = Field(
        False,
        description="Whether encoded pictures are decoded in grey, whatever they are.",
        json_schema_extra={"message": "transform_param"},
    )

    @property
    def channels(self) -> int:
        return 1 if self.force_gray else super().channels

    @property
    def labels(self) -> LabelKind:
        return self.label_kind or ("pixels" if self.label_source else "image")

    @model_validator(mode="after")
    def _one_force(self) -> Self:
        if self.force_color and self.force_gray:
            raise ValueError("force_color and force_gray exclude each other: keep one")
        if self.label_source and self.label_kind == "image":
            raise ValueError("label_source holds label maps: leave out label_kind, or label_source")
        return self


class HDF5Data(StoredImages):
    """Images and labels from HDF5 files that a text file lists, one path a line.

    The images are the dataset called `data_name`, (images, channels, height, width); the labels `label_name`, (images,
    1, height, width) or (images, height, width) for maps, (images,) or (images, 1) for class numbers. Needs the extra
    `hdf5`. Source: BVLC Caffe, hdf5_data_layer.cpp.
    """

    type: ClassVar[str] = "HDF5Data"
    message: ClassVar[str] = "hdf5_data_param"
    paths: ClassVar[tuple[str, ...]] = ("source", "mean_file")
    example: ClassVar[str] = "{source: data/train.txt, batch_size: 8, shuffle: true}"

    source: str = Field(min_length=1, description="The list of HDF5 files.")
    data_name: str = Field("data", min_length=1, description="Name of the dataset of images.")
    label_name: str = Field("label", min_length=1, description="Name of the dataset of labels.")
    label_kind: LabelKind | None = Field(
        None, description="Whether labels are maps or one class number an image; by default what the file says."
    )

    @property
    def labels(self) -> LabelKind:
        return self.label_kind or "pixels"
