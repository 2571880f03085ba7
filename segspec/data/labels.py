"""Decoding one label: whatever way a tool wrote the classes, or an error that says what was found.

Accepted: grey values that are class numbers, palette indices, three equal channels, and the colours of the class table.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from segspec.data.decode import load_pixels, open_picture, read_file
from segspec.errors import DataError
from segspec.spec.classes import ClassTable, Color

LOSSLESS = frozenset({"PNG", "BMP", "DIB", "GIF", "PPM", "TIFF", "TGA", "WEBP", "PCX", "SGI", "SUN"})
SHOWN = 8


def read_label(path: str | Path, table: ClassTable) -> np.ndarray:
    """Decodes a label into class numbers.

    Returns:
        uint8 (height, width): 0 to classes - 1, or the table's `ignore_label`.

    Raises:
        DataError: the file cannot be decoded completely, its format is lossy, or it holds values or colours that
            mean no class; those are listed with their count and the first pixel.
    """
    data = read_file(path)
    with open_picture(path, data) as header:
        _refuse_lossy(path, header, data)
        _refuse_deep_color(path, header, data)
        picture = load_pixels(path, header)
    if picture.mode in ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"):
        return _from_colors(path, np.asarray(picture.convert("RGB")), table)
    if picture.mode == "P" and table.ids is None:
        _refuse_foreign_palette(path, picture, table)
    plane, step = _plane(path, picture), _grey_step(header.format, data)
    return _from_values(path, plane if step == 1 else plane // step, table)


def _refuse_lossy(path: str | Path, picture: Image.Image, data: bytes) -> None:
    kind = picture.format or "unknown"
    lossy = kind not in LOSSLESS
    lossy |= kind == "WEBP" and b"VP8L" not in data[:64]
    lossy |= kind == "TIFF" and str(picture.info.get("compression", "")) in ("jpeg", "tiff_jpeg", "webp")
    if lossy:
        raise DataError(
            f"a label cannot be a lossy {kind} picture: compression changes class numbers at every edge",
            place=str(path),
            hint="write the labels as PNG from their source; converting this file keeps the damage",
        )


def _refuse_deep_color(path: str | Path, picture: Image.Image, data: bytes) -> None:
    """Refuses a PNG of 16 bits a channel, of which Pillow would drop the lower 8."""
    if picture.format == "PNG" and data[24] == 16 and data[25] in (2, 4, 6):
        raise DataError(
            "a label of 16-bit colour has no class numbers", place=str(path), hint="save it with 8 bits a channel"
        )


def _grey_step(kind: str | None, data: bytes) -> int:
    """The grey levels between two class numbers: Pillow spreads a PNG's 2 or 4 bit greys over 0 to 255."""
    depth, color_type = (data[24], data[25]) if kind == "PNG" else (8, 0)
    return {2: 85, 4: 17}.get(depth, 1) if color_type == 0 else 1


def _plane(path: str | Path, picture: Image.Image) -> np.ndarray:
    """The one plane of class numbers, as whole numbers."""
    plane = np.asarray(picture.getchannel(0) if picture.mode in ("LA", "La", "PA") else picture)
    if plane.dtype == bool:
        return plane.astype(np.uint8)
    if plane.ndim != 2 or not np.issubdtype(plane.dtype, np.integer):
        raise DataError(
            f"a label of mode {picture.mode} has no class numbers", place=str(path), hint="save it as an 8-bit grey PNG"
        )
    return plane


def _from_values(path: str | Path, values: np.ndarray, table: ClassTable) -> np.ndarray:
    """Class numbers from the numbers of a label file, which are the same unless the table has `ids`."""
    if table.ids is None:
        return check_values(path, values, table)
    classes = np.full(256, -1)
    if table.ignore_label is not None:
        classes[[*table.ignore_ids, table.ignore_label]] = table.ignore_label
    classes[list(table.ids)] = range(table.count)
    inside = (values >= 0) & (values < 256)
    found = np.where(inside, classes[np.where(inside, values, 0)], -1)
    if (found >= 0).all():
        return found.astype(np.uint8)
    bad = found < 0
    tally = _tally(values[bad], values, len(np.unique(values[bad])))
    raise DataError(
        f"label values that the class table's 'ids' do not name\n{tally}",
        place=str(path),
        hint="list them in 'ids' or in the 'ids' of 'ignore', or take the table for labels that hold class numbers",
    )


def check_values(path: str | Path, values: np.ndarray, table: ClassTable) -> np.ndarray:
    """The values as uint8 if each is a class or the ignored label; DataError with value, count and first pixel else."""
    # Labels are checked whenever they are read, so what is right is found out in few passes, most often in one.
    below = table.count + (table.ignore_label == table.count)
    negative = values.dtype != np.uint8 and values.size and values.min() < 0
    if values.size and not negative and values.max() < below:
        return values.astype(np.uint8, copy=False)
    bad = values >= table.count
    if negative:
        bad |= values < 0
    if table.ignore_label is not None:
        bad &= values != table.ignore_label
    if not bad.any():
        return values.astype(np.uint8, copy=False)
    found = _tally(values[bad], values, len(np.unique(values[bad])))
    raise DataError(
        f"label values outside the {table.count} classes (0 to {table.count - 1}{_ignored(table)})\n{found}",
        place=str(path),
        hint=_value_remedy(values, table),
    )


def _ignored(table: ClassTable) -> str:
    return "" if table.ignore_label is None else f"; {table.ignore_label} is ignored"


def _tally(bad: np.ndarray, plane: np.ndarray, kinds: int) -> str:
    """`  value V: N pixels, first at row R, column C` for the most frequent values."""
    values, counts = np.unique(bad, return_counts=True)
    lines = []
    for position in np.argsort(-counts, kind="stable")[:SHOWN]:
        row, column = _first(plane == values[position])
        lines.append(f"  value {values[position]}: {counts[position]} pixels, first at row {row}, column {column}")
    return "\n".join(lines + ([f"  and {kinds - SHOWN} more values"] if kinds > SHOWN else []))


def _first(mask: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(int(mask.argmax()), mask.shape)
    return int(row), int(column)


def _value_remedy(values: np.ndarray, table: ClassTable) -> str:
    present = set(np.unique(values).tolist())
    if table.count == 2 and present <= {0, 255}:
        return "this is a 0/255 mask: divide its values by 255, so that the second class is 1"
    if min(present) >= 1 and max(present) == table.count:
        return "the values seem to count from 1; classes count from 0"
    strangers = present - set(range(table.count))
    if len(strangers) == 1 and table.ignore_label is None:
        (label,) = strangers
        ignore = f"ignore: {{label: {label}}}"
        return (
            f"if {label} marks pixels to leave out, give the class table '{ignore}', or a list of names the form "
            f"'classes: {{classes: [NAME, ...], {ignore}}}'; else correct it"
        )
    if len(present) > table.count + 8:
        return "this looks like a photograph or a resized mask; is it the image instead of the label?"
    return "correct the label, declare the missing classes, or say by 'ids' of the class table which numbers are meant"


def _refuse_foreign_palette(path: str | Path, picture: Image.Image, table: ClassTable) -> None:
    """Refuses a palette that moved the classes to other indices, as quantising and some GIF and PNG optimisers do.

    So it is where all its colours are the table's, or all its greys class numbers, and an index says something else.
    """
    if _is_own_palette(tuple(picture.getpalette() or ()), table):
        return
    colors = _used_colors(picture)
    known = set(table.colors) | {table.ignore_color}
    greys = {color[0] for color in colors.values() if len(set(color)) == 1}
    if all(color in known for color in colors.values()):
        meant = {index: table.colors.index(color) for index, color in colors.items() if color in table.colors}
    elif len(greys) == len(colors) and _means_classes(np.array(sorted(greys)), table):
        meant = {index: color[0] for index, color in colors.items()}
    else:
        return
    for index, number in meant.items():
        if index != number and index < table.count:
            raise DataError(
                f"palette index {index} means class '{table.names[index]}', "
                f"but its colour {colors[index]} means {_class_name(number, table)}",
                place=str(path),
                hint="convert it to RGB, where colours decide, or to a grey PNG of class numbers",
            )


@lru_cache(maxsize=16)
def _is_own_palette(palette: tuple[int, ...], table: ClassTable) -> bool:
    """Whether each class has its own colour in a palette, so that no choice of indices is refused.

    Which indices a label uses takes as long to find out as a third of its decoding.
    """
    colors = list(zip(*[iter(palette)] * 3, strict=False))[: table.count]
    return all(
        color == table.colors[index]
        and table.colors.index(color) == index
        and (len(set(color)) > 1 or color[0] == index or not _means_classes(np.array(color[:1]), table))
        for index, color in enumerate(colors)
    )


def _used_colors(picture: Image.Image) -> dict[int, Color]:
    """The palette's colour of every index that occurs."""
    palette = picture.getpalette() or []
    used = [index for index, count in enumerate(picture.histogram()[:256]) if count and 3 * index + 2 < len(palette)]
    return {index: (palette[3 * index], palette[3 * index + 1], palette[3 * index + 2]) for index in used}


def _class_name(number: int, table: ClassTable) -> str:
    return f"'{table.names[number]}'" if number < table.count else f"'{table.ignore_name}'"


def _from_colors(path: str | Path, pixels: np.ndarray, table: ClassTable) -> np.ndarray:
    codes = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    known = _color_codes(table)
    unique, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    by_color = np.array([known.get(int(code), -1) for code in unique])
    grey = all(code == (code & 255) * 0x010101 for code in unique.tolist())
    if grey and table.ids is not None:
        return _from_values(path, pixels[..., 0], table)
    if grey and _means_classes(unique & 255, table):
        _refuse_ambiguous(path, unique & 255, by_color)
        return pixels[..., 0]
    if (by_color < 0).any():
        if grey:
            return check_values(path, pixels[..., 0], table)
        raise _unknown_colors(path, codes, unique, counts, by_color, table)
    return by_color[inverse].reshape(codes.shape).astype(np.uint8)


def _color_codes(table: ClassTable) -> dict[int, int]:
    """Class of each colour, written as 0xRRGGBB; of classes that share one, the first."""
    codes = {} if table.ignore_label is None else {_code(table.ignore_color): table.ignore_label}
    for index in reversed(range(table.count)):
        codes[_code(table.colors[index])] = index
    return codes


def _code(color: Color) -> int:
    return (color[0] << 16) | (color[1] << 8) | color[2]


def _means_classes(values: np.ndarray, table: ClassTable) -> bool:
    return all(value < table.count or value == table.ignore_label for value in values.tolist())


def _refuse_ambiguous(path: str | Path, values: np.ndarray, by_color: np.ndarray) -> None:
    """Refuses grey pixels that are one class by value and another by colour."""
    if (by_color < 0).any() or np.array_equal(values, by_color):
        return
    value, color = int(values[0]), int(by_color[0])
    raise DataError(
        f"the colour ({value}, {value}, {value}) may mean class number {value} or the colour of class number {color}",
        place=str(path),
        hint="save it as a single-channel PNG of class numbers",
    )


def _unknown_colors(
    path: str | Path, codes: np.ndarray, unique: np.ndarray, counts: np.ndarray, by_color: np.ndarray, table: ClassTable
) -> DataError:
    unknown = np.flatnonzero(by_color < 0)
    order = unknown[np.argsort(-counts[unknown], kind="stable")]
    lines = []
    for position in order[:SHOWN]:
        code = int(unique[position])
        row, column = _first(codes == code)
        color = (code >> 16, code >> 8 & 255, code & 255)
        lines.append(f"  {color}: {counts[position]} pixels, first at row {row}, column {column}{_near(color, table)}")
    if len(order) > SHOWN:
        lines.append(f"  and {len(order) - SHOWN} more colours")
    message = "\n".join([f"colours that belong to no class: {len(order)}", *lines])
    many = len(order) > table.count + 8
    hint = (
        "this looks like a photograph, or a label that was resized or compressed; write labels without smoothing"
        if many
        else "give the colours in the class table, or write class numbers as a grey PNG"
    )
    return DataError(message, place=str(path), hint=hint)


def _near(color: Color, table: ClassTable) -> str:
    for name, known in zip(table.names, table.colors, strict=True):
        if max(abs(a - b) for a, b in zip(color, known, strict=True)) <= 12:
            return f" (near '{name}' {known})"
    return ""
