"""Sources of images that FCN's programs read in Python: one folder layout each, one image a batch, each at its size.

Source: fcn.berkeleyvision.org, voc_layers.py, nyud_layers.py and pascalcontext_layers.py. Unlike there, training images
are drawn without replacement: each once an epoch.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from segspec.layers.data import DataLayer


class FcnLayout(DataLayer):
    """A data set in folders: a list of names, an image and a label for each name.

    `module` is the program's. `list_path`, `image_path` and `label_path` say where files are; `{name}` and `{split}`
    are filled in, and the names of fields that hold folders.
    """

    message: ClassVar[str] = "python_param"
    module: ClassVar[str]
    list_path: ClassVar[str]
    image_path: ClassVar[str]
    label_path: ClassVar[str]

    split: str = Field(min_length=1, description="Which part of the data set; `train` in its name shuffles it.")
    shuffle: bool = Field(True, description="Whether a split for training comes in a random order.")
    seed: int | None = Field(None, description="Has no effect: the order depends on the solver's random_seed.")

    @model_validator(mode="before")
    @classmethod
    def _keep_validation_in_order(cls, fields: object) -> object:
        if not isinstance(fields, dict) or "train" in str(fields.get("split", "")):
            return fields
        return {**fields, "shuffle": False}

    def path(self, pattern: str, name: str = "") -> str:
        """A pattern with everything filled in."""
        folders = {field: getattr(self, field) for field in self.paths}
        return pattern.format(name=name, split=self.split, **folders)


class VOCSegDataLayer(FcnLayout):
    """PASCAL VOC as it is unpacked: JPEGImages, SegmentationClass, ImageSets/Segmentation."""

    type: ClassVar[str] = "VOCSegDataLayer"
    module = "voc_layers"
    paths: ClassVar[tuple[str, ...]] = ("voc_dir",)
    list_path = "{voc_dir}/ImageSets/Segmentation/{split}.txt"
    image_path = "{voc_dir}/JPEGImages/{name}.jpg"
    label_path = "{voc_dir}/SegmentationClass/{name}.png"
    example: ClassVar[str] = "{voc_dir: data/VOC2011, split: seg11valid}"

    voc_dir: str = Field(min_length=1, description="The folder of one year.")


class SBDDSegDataLayer(FcnLayout):
    """The Semantic Boundaries Dataset. Its labels are MATLAB files: convert each to a PNG beside it."""

    type: ClassVar[str] = "SBDDSegDataLayer"
    module = "voc_layers"
    paths: ClassVar[tuple[str, ...]] = ("sbdd_dir",)
    list_path = "{sbdd_dir}/{split}.txt"
    image_path = "{sbdd_dir}/img/{name}.jpg"
    label_path = "{sbdd_dir}/cls/{name}.png"
    example: ClassVar[str] = "{sbdd_dir: data/sbdd/dataset, split: train}"

    sbdd_dir: str = Field(min_length=1, description="The folder `dataset`.")


class PASCALContextSegDataLayer(FcnLayout):
    """PASCAL-Context on VOC 2010. Its labels are MATLAB files: convert each to a PNG of the same name beside it.

    The PNGs hold the 59 classes from 0 on, and the ignored label elsewhere.
    """

    type: ClassVar[str] = "PASCALContextSegDataLayer"
    module = "pascalcontext_layers"
    paths: ClassVar[tuple[str, ...]] = ("voc_dir", "context_dir")
    list_path = "{voc_dir}/VOC2010/ImageSets/Main/{split}.txt"
    image_path = "{voc_dir}/VOC2010/JPEGImages/{name}.jpg"
    label_path = "{context_dir}/trainval/{name}.png"
    example: ClassVar[str] = "{voc_dir: data/pascal, context_dir: data/pascal-context, split: train}"

    voc_dir: str = Field(min_length=1, description="The folder that holds VOC2010.")
    context_dir: str = Field(min_length=1, description="The folder of the additional labels.")


class NYUDSegDataLayer(FcnLayout):
    """NYUDv2 in colour, or its depth as three channels. Its labels are MATLAB files: convert each to a PNG beside it.

    The PNGs hold the 40 classes from 0 on, and the ignored label elsewhere.
    """

    type: ClassVar[str] = "NYUDSegDataLayer"
    module = "nyud_layers"
    paths: ClassVar[tuple[str, ...]] = ("nyud_dir",)
    list_path = "{nyud_dir}/{split}.txt"
    image_path = "{nyud_dir}/data/{kind}/img_{name}.png"
    label_path = "{nyud_dir}/segmentation/img_{name}.png"
    example: ClassVar[str] = "{nyud_dir: data/nyud, split: trainval}"

    nyud_dir: str = Field(min_length=1, description="The folder of the data set.")
    hha: bool = Field(False, description="Whether images are the three channels made from depth, instead of colour.")

    def path(self, pattern: str, name: str = "") -> str:
        return super().path(pattern.replace("{kind}", "hha" if self.hha else "images"), name)


FCN_LAYOUTS = (VOCSegDataLayer, SBDDSegDataLayer, PASCALContextSegDataLayer, NYUDSegDataLayer)
