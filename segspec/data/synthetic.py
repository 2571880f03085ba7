"""Synthetic data sets: which drawing a data layer means, and writing one to disk in CamVid's layout."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from segspec.data.palette import palette_mask
from segspec.data.squares import draw_squares
from segspec.data.street import draw_street
from segspec.errors import UsageError, did_you_mean
from segspec.layers.data import SyntheticSquares, SyntheticStreet
from segspec.spec.classes import ClassTable

SQUARES_TABLE = ClassTable(("background", "square"), ((40, 44, 52), (240, 180, 40)))
STREET_TABLE = ClassTable(
    (
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    ignore_label=11,
)
MAX_SIDE = 8192
"""Pixels: a square picture of it is the largest that is read."""
KINDS: Mapping[str, type[SyntheticSquares] | type[SyntheticStreet]] = {
    "squares": SyntheticSquares,
    "street": SyntheticStreet,
}


def table_of(layer: SyntheticSquares | SyntheticStreet) -> ClassTable:
    """The classes that a synthetic source draws."""
    return STREET_TABLE if isinstance(layer, SyntheticStreet) else SQUARES_TABLE


def draw(layer: SyntheticSquares | SyntheticStreet, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and label number `index` of a synthetic source: a function of the layer's seed and the index alone."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([layer.seed, index])))
    if isinstance(layer, SyntheticStreet):
        return draw_street(rng, layer.height, layer.width)
    return draw_squares(rng, layer.height, layer.width, layer.squares, layer.noise, bright=layer.bright)


def synthetic_layer(
    kind: str, *, height: int | None = None, width: int | None = None, seed: int = 0
) -> SyntheticSquares | SyntheticStreet:
    """The layer of a kind, `squares` or `street`, at this size.

    Raises:
        UsageError: there is no such kind, or the size or the seed is out of range.
    """
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"choose one of {', '.join(KINDS)}"
        raise UsageError(f"there is no synthetic data set '{kind}'", hint=hint)
    if seed < 0 or min(1 if height is None else height, 1 if width is None else width) < 1:
        raise UsageError(
            f"cannot draw images of {height} x {width} pixels from seed {seed}", hint="use positive numbers"
        )
    if max(height or 1, width or 1) > MAX_SIDE:
        message = f"{height} x {width} pixels are more than a data set can have: at most {MAX_SIDE} a side"
        raise UsageError(message, hint="draw smaller images, such as --size 720x960")
    layer = KINDS[kind](seed=seed)
    return layer.model_copy(update={"height": height or layer.height, "width": width or layer.width})


def write_dataset(
    kind: str, folder: Path, count: int = 100, size: tuple[int, int] | None = None, seed: int = 0
) -> list[Path]:
    """Writes a data set of `count` training images, and a fifth as many each for validation and test.

    Args:
        kind: `squares` or `street`.
        folder: where to; created if need be.
        count: training images.
        size: (height, width) in pixels; None: the kind's own.
        seed: another seed draws other pictures.

    Returns:
        The list files: train.txt, val.txt, test.txt.

    Raises:
        UsageError: a number is out of range, the data set exists already, or the folder cannot be written.
    """
    height, width = size or (None, None)
    layer = synthetic_layer(kind, height=height, width=width, seed=seed)
    if count < 1:
        raise UsageError(f"cannot draw {count} images", hint="draw at least 1")
    fifth = max(1, count // 5)
    return write_parts(layer, folder, {"train": count, "val": fifth, "test": fifth})


def write_parts(
    layer: SyntheticSquares | SyntheticStreet, folder: Path, counts: Mapping[str, int], workers: int = 2
) -> list[Path]:
    """Writes a data set: `NAME/`, `NAMEannot/` and `NAME.txt` for every part, with paths relative to the lists.

    Args:
        layer: what to draw. Parts take consecutive numbers, so no picture occurs twice.
        folder: where to; created if need be.
        counts: pictures in each part, such as {"train": 300, "val": 60, "test": 60}.
        workers: threads.

    Returns:
        The list files.

    Raises:
        UsageError: a part exists already, or the folder cannot be written.
    """
    lists = {part: folder / f"{part}.txt" for part in counts}
    for path in lists.values():
        if path.exists():
            raise UsageError("the data set exists already", place=str(path), hint="name a new folder, or remove it")
    first = 0
    try:
        for part, count in counts.items():
            _write_part(layer, folder, part, range(first, first + count), workers)
            first += count
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write the data set: {reason}", place=str(error.filename or folder)) from None
    return list(lists.values())


def _write_part(
    layer: SyntheticSquares | SyntheticStreet, folder: Path, part: str, numbers: range, workers: int
) -> None:
    for name in (part, f"{part}annot"):
        (folder / name).mkdir(parents=True, exist_ok=True)

    def write(number: int) -> str:
        image, label = draw(layer, number)
        name = f"{number - numbers.start:04d}.png"
        (folder / part / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        palette_mask(label, table_of(layer)).save(folder / f"{part}annot" / name)
        return f"{part}/{name} {part}annot/{name}\n"

    with ThreadPoolExecutor(workers, "segspec-synthesize") as pool:
        lines = list(pool.map(write, numbers))
    (folder / f"{part}.txt").write_text("".join(lines), "utf-8")
