"""Cityscapes, read from the folders that it is unpacked into."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from segspec.layers.data import ResizableImages


class CityscapesData(ResizableImages):
    """Cityscapes as it is unpacked: leftImg8bit/SPLIT/CITY/..._leftImg8bit.png, gtFine/SPLIT/CITY/..._labelIds.png.

    The class table says which labels are read: with `ids`, as `classes: cityscapes_ids` has them, the published
    ..._labelIds.png; without, as `classes: cityscapes`, the ..._labelTrainIds.png that Cityscapes' own scripts make.
    Images come in the order of their names. Source: Cordts et al., The Cityscapes Dataset, 2016.
    """

    type: ClassVar[str] = "CityscapesData"
    in_caffe: ClassVar[bool] = False
    paths: ClassVar[tuple[str, ...]] = ("source", "mean_file")
    example: ClassVar[str] = "{source: data/cityscapes, split: train, new_height: 512, new_width: 1024, shuffle: true}"

    source: str = Field(min_length=1, description="The folder that holds leftImg8bit and gtFine.")
    split: str = Field(min_length=1, description="Which part of the data set: train, val, or train_extra (coarse).")
    annotations: Literal["gtFine", "gtCoarse"] = Field(
        "gtFine", description="Which labels: gtFine, drawn exactly, or gtCoarse, drawn quickly."
    )
