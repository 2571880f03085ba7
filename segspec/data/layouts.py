"""Data sets in the folders that FCN's programs expect: a list of names, and an image and a label for each."""

from __future__ import annotations

from array import array
from pathlib import Path

from segspec.data.listing import SHOWN, Listing
from segspec.errors import DataError
from segspec.layers.fcn import FcnLayout


def read_layout(layer: FcnLayout, folder: Path) -> Listing:
    """The files of a split.

    Raises:
        DataError: there is no such split, it is empty, or files are missing (the first ten and a count).
    """
    source = str(folder / layer.path(layer.list_path))
    try:
        names = [name.strip() for name in Path(source).read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is no text of names"
        hint = f"check {', '.join(repr(name) for name in (*layer.paths, 'split'))}"
        raise DataError(f"cannot be read: {reason}", place=source, hint=hint) from None
    entries = [(line, name.split()[0]) for line, name in enumerate(names, 1) if name]
    if not entries:
        raise DataError("the split names no images", place=source)
    images = [layer.path(layer.image_path, name) for _, name in entries]
    labels = [layer.path(layer.label_path, name) for _, name in entries]
    missing = [path for path in (*images, *labels) if not (folder / path).exists()]
    if missing:
        raise _missing(source, missing, folder)
    return Listing(source, folder, images, labels, array("l", [line for line, _ in entries]))


def _missing(source: str, missing: list[str], folder: Path) -> DataError:
    first = folder / missing[0]
    hint = "check the folder and the split"
    if first.with_suffix(".mat").exists():
        hint = (
            f"labels of MATLAB are not read: convert each, such as {first.with_suffix('.mat').name}, to a PNG of class "
            "numbers beside it (scipy.io.loadmat reads it, PIL.Image.fromarray(array).save writes it)"
        )
    shown = [f"  {folder / path}" for path in missing[:SHOWN]]
    shown += [f"  and {len(missing) - SHOWN} more"] if len(missing) > SHOWN else []
    message = f"{len(missing)} files of the split do not exist"
    return DataError("\n".join([message, *shown]), place=source, hint=hint)
