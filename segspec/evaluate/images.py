"""Which images a test is about: files, folders and list files, with the labels that belong to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segspec.data.listing import read_listing
from segspec.errors import DataError

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
LIST_SUFFIXES = frozenset((".txt", ".lst", ".list"))


class Entry(NamedTuple):
    """One image to test.

    Attributes:
        image: its path.
        label: its label's path, or None.
        name: what results are called, unique in a test and fit to be a file name.
    """

    image: str
    label: str | None
    name: str


def collect(paths: Sequence[str], labels: Path | None = None) -> list[Entry]:
    """The images that files, folders and lists name, in order.

    A folder means all pictures directly in it. Labels come from a list's second column, from `labels` by equal file
    stems, or, for a folder `val` with a sibling `valannot`, from there.

    Raises:
        DataError: when a path leads to nothing, or `labels` lacks one.
    """
    pairs: list[tuple[str, str | None]] = []
    for path in paths:
        pairs += _pairs(Path(path))
    if labels is not None:
        pairs = [(image, _label_in(labels, image)) for image, _ in pairs]
    names = _unique([image for image, _ in pairs])
    return [Entry(image, label, name) for (image, label), name in zip(pairs, names, strict=True)]


def _pairs(path: Path) -> list[tuple[str, str | None]]:
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() in LIST_SUFFIXES:
        listing = read_listing(path)
        return [(listing.image(index), listing.label(index)) for index in range(len(listing))]
    if not path.exists():
        raise DataError("no such image, folder or list", place=str(path), hint="check the path")
    return [(str(path), None)]


def _folder(folder: Path) -> list[tuple[str, str | None]]:
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError("the folder holds no pictures", place=str(folder), hint=f"pictures end in {known}")
    annotations = folder.with_name(folder.name + "annot")
    found = _by_stem(annotations) if annotations.is_dir() else {}
    return [(str(path), found.get(path.stem)) for path in images]


def _by_stem(folder: Path) -> dict[str, str]:
    return {path.stem: str(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES}


def _label_in(folder: Path, image: str) -> str:
    if not folder.is_dir():
        raise DataError("no such folder of labels", place=str(folder), hint="check --labels")
    label = _by_stem(folder).get(Path(image).stem)
    if label is None:
        raise DataError(f"no label for {image}", place=str(folder), hint=f"a picture '{Path(image).stem}.png' is needed")
    return label


def _unique(images: Sequence[str]) -> list[str]:
    """A file name for each image: its stem, with as many folders before it as it takes to be unique."""
    stems = [Path(image).stem for image in images]
    if len(set(stems)) == len(stems):
        return stems
    full = ["_".join(Path(image).with_suffix("").parts[-3:]).strip("/_") for image in images]
    if len(set(full)) == len(full):
        return full
    return [f"{index:05}_{stem}" for index, stem in enumerate(stems)]
