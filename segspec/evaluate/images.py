"""Which images a test is about: files, folders and list files, with the labels that belong to them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segspec.data.listing import read_listing
from segspec.errors import DataError

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
LONGEST_NAME = 240
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
        pairs = _with_labels([image for image, _ in pairs], labels)
    names = unique_names([image for image, _ in pairs])
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


def _with_labels(images: Sequence[str], folder: Path) -> list[tuple[str, str | None]]:
    """Each image with the label of its stem. Raises DataError where there is none, or two images would share one."""
    if not folder.is_dir():
        raise DataError("no such folder of labels", place=str(folder), hint="check --labels")
    labels = _by_stem(folder)
    owners: dict[str, str] = {}
    for image in images:
        stem = Path(image).stem
        if stem not in labels:
            hint = f"a picture '{stem}.png' is needed there"
            raise DataError(f"no label for {image}", place=str(folder), hint=hint)
        if owners.setdefault(stem, image) != image:
            hint = "test them apart, or write a list file with 'image label' on each line"
            raise DataError(f"{owners[stem]} and {image} would share a label", place=labels[stem], hint=hint)
    return [(image, labels[Path(image).stem]) for image in images]


def unique_names(images: Sequence[str]) -> list[str]:
    """A file name for each image: its stem, with as many folders before it as it takes to be unique."""
    stems = [Path(image).stem for image in images]
    full = ["_".join(Path(image).with_suffix("").parts[-3:]).strip("/_") for image in images]
    for names in (stems, full):
        if len(set(names)) == len(names) and max(len(os.fsencode(name)) for name in names) <= LONGEST_NAME:
            return names
    return [f"{index:05}_{stem[:40]}" for index, stem in enumerate(stems)]
