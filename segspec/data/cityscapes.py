"""The files of Cityscapes, found in the folders that it is unpacked into."""

from __future__ import annotations

from pathlib import Path

from segspec.data.listing import SHOWN, Listing
from segspec.errors import DataError
from segspec.layers.cityscapes import CityscapesData
from segspec.spec.classes import ClassTable

IMAGES = "leftImg8bit"
_PUBLISHED, _TRAINED = "labelIds", "labelTrainIds"


def read_cityscapes(layer: CityscapesData, table: ClassTable | None, folder: Path) -> Listing:
    """The files of a split, by city and name.

    Args:
        layer: the declaration.
        table: the classes, which say how labels are numbered; None finds images alone.
        folder: what a relative `source` is relative to.

    Raises:
        DataError: there is no such split, it is empty, or labels are missing (the first ten and a count).
    """
    root = folder / layer.source
    images = [path.relative_to(root).as_posix() for path in _find_images(root, layer.split)]
    if table is None:
        return Listing(str(root), root, images, None)
    numbering = _TRAINED if table.ids is None else _PUBLISHED
    labels = [_label_of(image, layer.annotations, numbering) for image in images]
    missing = [(image, label) for image, label in zip(images, labels, strict=True) if not (root / label).exists()]
    if missing:
        raise _missing(missing, root, layer, numbering)
    return Listing(str(root), root, images, labels)


def _find_images(root: Path, split: str) -> list[Path]:
    """The pictures of a split in the order of their names. Raises DataError where there are none."""
    folder = root / IMAGES / split
    found = sorted(folder.glob(f"*/*_{IMAGES}.png"))
    if found:
        return found
    if not (root / IMAGES).is_dir():
        hint = f"'source' is the folder that holds {IMAGES} and gtFine, as they are unpacked"
        message = f"there is no folder '{IMAGES}' in it" if root.is_dir() else "there is no such folder"
        raise DataError(message, place=str(root), hint=hint)
    splits = sorted(path.name for path in (root / IMAGES).iterdir() if path.is_dir())
    hint = f"{IMAGES} holds {', '.join(splits) or 'no folder'}" if split not in splits else "unpack its archive here"
    raise DataError(f"holds no pictures CITY/..._{IMAGES}.png", place=str(folder), hint=hint)


def _label_of(image: str, annotations: str, numbering: str) -> str:
    """`gtFine/train/aachen/a_gtFine_labelIds.png` of `leftImg8bit/train/aachen/a_leftImg8bit.png`."""
    stem = image.removeprefix(f"{IMAGES}/").removesuffix(f"_{IMAGES}.png")
    return f"{annotations}/{stem}_{annotations}_{numbering}.png"


def _missing(missing: list[tuple[str, str]], root: Path, layer: CityscapesData, numbering: str) -> DataError:
    shown = [f"  {root / image}\n    has no {root / label}" for image, label in missing[:SHOWN]]
    shown += [f"  and {len(missing) - SHOWN} more"] if len(missing) > SHOWN else []
    message = f"{len(missing)} image{'s' * (len(missing) > 1)} without a label"
    place = str(root / layer.annotations / layer.split)
    return DataError("\n".join([message, *shown]), place=place, hint=_remedy(missing[0][0], root, layer, numbering))


def _remedy(image: str, root: Path, layer: CityscapesData, numbering: str) -> str:
    if not (root / layer.annotations / layer.split).is_dir():
        return f"unpack the archive of {layer.annotations} beside {IMAGES}"
    other = _PUBLISHED if numbering == _TRAINED else _TRAINED
    if (root / _label_of(image, layer.annotations, other)).exists():
        table = "cityscapes_ids" if other == _PUBLISHED else "cityscapes"
        return f"there is one with {other}: 'classes: {table}' reads those"
    return "unpack the archive again"
