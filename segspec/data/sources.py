"""Where samples come from: files on disk, or a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segspec.data import synthetic, transform
from segspec.data.arrays import open_arrays
from segspec.data.cityscapes import read_cityscapes
from segspec.data.databases import open_database
from segspec.data.files import EdgeSource, FileSource, NumberSource
from segspec.data.layouts import read_layout
from segspec.data.listing import listing_of, read_listing, read_numbered_listing, starts_here
from segspec.data.mean import read_mean
from segspec.data.sample import ImageSource, Sample
from segspec.data.transform import Transform
from segspec.errors import DataError, Diagnostic
from segspec.layers.cityscapes import CityscapesData
from segspec.layers.data import DataLayer, ListedImages, SyntheticSquares, SyntheticStreet
from segspec.layers.fcn import FcnLayout
from segspec.layers.listed import ImageData, ImageLabelmapData, ImageSegData
from segspec.layers.stored import Data, HDF5Data
from segspec.ops.window import Pair
from segspec.spec.classes import ClassTable


def open_source(layer: DataLayer, table: ClassTable | None, folder: Path) -> ImageSource:
    """The source that a data layer declares.

    Args:
        layer: the declaration.
        table: the classes that labels mean; None reads images alone.
        folder: what a relative `source` and `root_folder` are relative to.

    Raises:
        DataError: the list cannot be used, or the drawing's classes are not the table's.
    """
    steps = _transform(layer, table, folder)
    match layer:
        case ListedImages():
            return _open_list(layer, steps, table, folder)
        case Data():
            return open_database(layer, steps, table, folder)
        case HDF5Data():
            return open_arrays(layer, steps, table, folder)
        case FcnLayout():
            return FileSource(read_layout(layer, folder), steps, table, layer.channels)
        case CityscapesData():
            return FileSource(read_cityscapes(layer, table, folder), steps, table, layer.channels)
        case SyntheticSquares():
            _need_classes(table, synthetic.SQUARES_TABLE, layer.type)
            return DrawnSource(layer, steps)
        case SyntheticStreet():
            _need_classes(table, synthetic.STREET_TABLE, layer.type)
            return DrawnSource(layer, steps)
    raise DataError(f"'{layer.type}' is no source of images")


def _transform(layer: DataLayer, table: ClassTable | None, folder: Path) -> Transform:
    ignored = table.ignore_label if table else None
    if table is None and isinstance(layer, ImageSegData):
        ignored = layer.ignore_label
    mean = read_mean(folder / layer.mean_file, layer.channels) if layer.mean_file else None
    return Transform.of(layer, ignored, mean)


def _open_list(layer: ListedImages, steps: Transform, table: ClassTable | None, folder: Path) -> ImageSource:
    path, root = folder / layer.source, str(folder / layer.root_folder) if layer.root_folder else ""
    match layer:
        case ImageData() | ImageSegData(label_type="IMAGE"):
            listing, numbers = read_numbered_listing(path, root)
            return NumberSource(listing, steps, table, layer.channels, numbers, fills=isinstance(layer, ImageSegData))
        case ImageSegData(label_type="NONE"):
            listing = read_listing(path, root, labels=False)
            ignored = (layer.ignore_label if table is None or table.ignore_label is None else table.ignore_label,)
            return NumberSource(listing, steps, table, layer.channels, ignored * len(listing), fills=True)
        case ImageLabelmapData():
            return EdgeSource(read_listing(path, root), steps, table, layer.channels)
    return FileSource(read_listing(path, root), steps, table, layer.channels)


def settle(layer: DataLayer, folder: Path) -> DataLayer:
    """The declaration with what only its files tell: channels of the images, what labels are, where lists start.

    Raises:
        DataError: the files cannot be read.
    """
    match layer:
        case ListedImages() if not layer.root_folder and starts_here(folder / layer.source):
            return layer.model_copy(update={"root_folder": str(Path.cwd())})
        case Data() if layer.channels_ is None and not layer.force_gray:
            source = open_database(layer, Transform(), None, folder)
            return layer.model_copy(update={"channels_": source.raw(0).image.shape[2]})
        case HDF5Data() if layer.channels_ is None or layer.label_kind is None:
            arrays = open_arrays(layer, Transform(), None, folder)
            kind = "pixels" if arrays.labels_are_maps else "image"
            return layer.model_copy(update={"channels_": arrays.channels, "label_kind": kind})
    return layer


def tell_start(layer: DataLayer, settled: DataLayer) -> tuple[Diagnostic, ...]:
    """A word where the paths of a list were found from the current folder, as Caffe reads them, and not beside it."""
    if not isinstance(layer, ListedImages) or not isinstance(settled, ListedImages):
        return ()
    if layer.root_folder == settled.root_folder:
        return ()
    message = (
        f"its paths lead nowhere from its own folder; they start from the working directory, {settled.root_folder}"
    )
    return (Diagnostic(message, place=layer.source, severity="warning"),)


def open_images(images: list[str], layer: DataLayer) -> ImageSource:
    """A source of image files without labels, resized and cropped as the layer says."""
    return FileSource(listing_of(images), Transform.of(layer, None), None, layer.channels)


def _need_classes(table: ClassTable | None, drawn: ClassTable, kind: str) -> None:
    """Refuses a table that gives the drawn class numbers another meaning."""
    if table is not None and table.count != drawn.count:
        raise DataError(
            f"{kind} draws {drawn.count} classes, but the class table has {table.count}",
            hint=f"set 'classes' to a table of {drawn.count} classes",
        )
    if table is not None and drawn.ignore_label is not None and table.ignore_label != drawn.ignore_label:
        raise DataError(
            f"{kind} draws label {drawn.ignore_label} where no class belongs, but the class table does not ignore it",
            hint=f"give the class table 'ignore: {{label: {drawn.ignore_label}}}'",
        )


@dataclass(frozen=True)
class DrawnSource:
    """Samples drawn from their number."""

    layer: SyntheticSquares | SyntheticStreet
    transform: Transform

    @property
    def names(self) -> Sequence[str]:
        return [f"{self.layer.type} {index}" for index in range(self.layer.count)]

    @property
    def has_labels(self) -> bool:
        return True

    @property
    def size(self) -> Pair:
        return self.transform.size_of((self.layer.height, self.layer.width))

    def __len__(self) -> int:
        return self.layer.count

    def raw(self, index: int) -> Sample:
        image, label = synthetic.draw(self.layer, index)
        return Sample(image, label, f"{self.layer.type} {index}")

    def label(self, index: int) -> np.ndarray:
        """The drawn label alone."""
        return synthetic.draw(self.layer, index)[1]

    def load(self, index: int, rng: np.random.Generator | None = None) -> Sample:
        sample = self.raw(index)
        image, label = transform.apply(self.transform, sample.image, sample.label, rng)
        return Sample(image, label, sample.name)
