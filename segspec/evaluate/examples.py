"""The images that a test is about, decoded as they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segspec.data.decode import read_image
from segspec.data.labels import read_label
from segspec.data.sample import ImageSource, refuse_size
from segspec.data.sources import open_source
from segspec.errors import UsageError
from segspec.evaluate.images import collect, unique_names
from segspec.layers.data import ListedImages
from segspec.spec.classes import ClassTable
from segspec.spec.netspec import NetSpec


@dataclass(frozen=True)
class Examples:
    """Images with their names.

    Attributes:
        names: what the results of each are called.
        files: paths of images and labels.
        items: name, image and label of each.
    """

    names: Collection[str]
    files: Collection[str]
    items: Iterator[tuple[str, np.ndarray, np.ndarray | None]]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
        return self.items


def named_examples(paths: Sequence[str], labels: Path | None, channels: int, table: ClassTable) -> Examples:
    """The images that files, folders and lists name; errors as `collect`'s, and as images are read."""
    entries = collect(paths, labels)

    def read() -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
        for entry in entries:
            image = read_image(entry.image, channels)
            label = None if entry.label is None else read_label(entry.label, table)
            if label is not None:
                refuse_size(image, label, entry.image, entry.label or "")
            yield entry.name, image, label

    files = [path for entry in entries for path in (entry.image, entry.label) if path is not None]
    return Examples([entry.name for entry in entries], files, read())


def own_examples(spec: NetSpec, channels: int, table: ClassTable) -> Examples:
    """The test images of a net; those of files with so many channels. Raises UsageError where it names none."""
    layer = spec.data.get("test")
    if layer is None:
        raise UsageError("no images to test, and the spec names none", hint="segspec test RUN IMAGES...")
    if isinstance(layer, ListedImages) and channels > layer.channels:
        layer = layer.model_copy(update={"color": True})
    source = open_source(layer, table, Path())
    names = unique_names(source.names)
    return Examples(names, source.names, _read(source, names))


def _read(source: ImageSource, names: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    for index in range(len(source)):
        sample = source.raw(index)
        yield names[index], sample.image, sample.label
