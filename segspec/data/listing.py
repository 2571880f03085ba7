"""Reading a list file: one `image label` a line, as Caffe's DenseImageData reads it.

Fields are separated by blanks or by a tab; a path with spaces may be quoted, and where it is not, the split is chosen
whose files exist. Blank lines and lines that start with `#` are skipped. The label is optional, for all lines alike.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from segspec.errors import DataError, Diagnostic

SHOWN = 10
PROBED = 100
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_BLANKS = re.compile(r"[ \t]+")
_QUOTED = re.compile(r'"([^"]*)"|(\S+)')


@dataclass(frozen=True)
class Listing:
    """The files a list names, in its order.

    Attributes:
        source: the list, or the folder, as the user knows it.
        folder: what relative paths are relative to.
        images, labels: paths as written; `labels` is None where the list has none.
        lines: the 1-based line of each entry; None where the files are those of a folder.
    """

    source: str
    folder: Path
    images: list[str]
    labels: list[str] | None
    lines: array[int] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> str:
        """The path of an image, ready to open."""
        return os.path.join(self.folder, self.images[index])

    def label(self, index: int) -> str | None:
        """The path of a label, ready to open; None where the list has no labels."""
        return None if self.labels is None else os.path.join(self.folder, self.labels[index])

    def place(self, index: int) -> str:
        """`list.txt:LINE` of an entry, or the folder."""
        return self.source if self.lines is None else f"{self.source}:{self.lines[index]}"


def read_listing(path: str | Path, root_folder: str = "", *, labels: bool = True) -> Listing:
    """Reads a list file and makes sure that every file it names exists.

    Args:
        path: the list.
        root_folder: what relative paths are relative to; empty: the list's own folder, or the current one when more
            of the list's first files are found there.
        labels: whether what stands behind an image is read; else the first field of a line is its image.

    Raises:
        DataError: the list cannot be read, is empty, mixes lines with and without labels, or names missing files
            (all of them in one error: the first ten and a count).
    """
    path = Path(path)
    text = _read_text(path)
    return _listing(path, root_folder, lambda: _rows(text, str(path), None if labels else 1))


def read_numbered_listing(path: str | Path, root_folder: str = "") -> tuple[Listing, tuple[int, ...]]:
    """Reads a list file of lines `image number`; the number is what stands behind the last blank.

    Raises:
        DataError: as `read_listing` does, and where a line has no number.
    """
    path = Path(path)
    rows: list[Row] = []
    numbers: list[int] = []
    for line, fields in _rows(_read_text(path), str(path)):
        if len(fields) < 2 or not _NUMBER.fullmatch(fields[-1]):
            place = f"{path}:{line}"
            raise DataError("the line has no class number behind the image", place=place, hint="write 'image number'")
        rows.append((line, [" ".join(fields[:-1])]))
        numbers.append(int(fields[-1]))
    return _listing(path, root_folder, lambda: iter(rows)), tuple(numbers)


def starts_here(path: str | Path) -> bool:
    """Whether the paths of a list without a `root_folder` start from the current folder, not from its own.

    Raises:
        DataError: the list cannot be read.
    """
    path = Path(path)
    probe = list(itertools.islice(_rows(_read_text(path), str(path)), PROBED))
    return _choose_folder(path, "", probe) != path.parent


def _listing(path: Path, root_folder: str, rows: Callable[[], Iterator[Row]]) -> Listing:
    probe = list(itertools.islice(rows(), PROBED))
    if not probe:
        raise DataError("the list names no images", place=str(path), hint="write one 'image label' a line")
    return _resolve(rows(), str(path), _choose_folder(path, root_folder, probe))


def listing_of(images: list[str], source: str = "images") -> Listing:
    """A listing without labels, of files named directly."""
    return Listing(source, Path(), images, None, array("l", range(1, len(images) + 1)))


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError("no such list of images", place=str(path), hint="check 'source' and 'root_folder'") from None
    except IsADirectoryError:
        raise DataError(
            "is a folder, not a list of images", place=str(path), hint="name a text file with one 'image label' a line"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot be read: {reason}", place=str(path), hint="check the path and its rights") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError("the list is not UTF-8 text", place=f"{path}:{line}", hint="save it as UTF-8") from None
    if "\0" in text:
        raise DataError("the list holds zero bytes", place=str(path), hint="name a text file, one 'image label' a line")
    return text


Row = tuple[int, list[str]]


def _rows(text: str, source: str, kept: int | None = None) -> Iterator[Row]:
    """(line number, the first fields) of every line that names something. More than two are yet to be joined."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        fields = line.split() if line.isascii() else _BLANKS.split(line.strip(" \t\n"))
        if not fields or not fields[0] or fields[0].startswith("#"):
            continue
        if "\t" in line or '"' in line:
            fields = _explicit_fields(line, f"{source}:{number}")
        yield number, fields[:kept]


def _explicit_fields(line: str, place: str) -> list[str]:
    """The fields of a line with tabs or quotes."""
    line = line.strip()
    if '"' in line:
        fields = [quoted or bare for quoted, bare in _QUOTED.findall(line)]
    else:
        fields = [field.strip() for field in line.split("\t") if field.strip()]
    if len(fields) > 2 or any('"' in field for field in fields):
        raise DataError(f"cannot tell image and label apart: {line[:200]}", place=place, hint='write "image" "label"')
    return fields


def _choose_folder(path: Path, root_folder: str, probe: list[Row]) -> Path:
    """Where relative paths start: `root_folder`, else whichever of the list's and the current folder holds more."""
    if root_folder:
        return Path(root_folder)
    own = sum(_begins_in(os.path.join(path.parent, ""), fields) for _, fields in probe)
    current = sum(_begins_in("", fields) for _, fields in probe)
    return Path() if current > own else path.parent


def _begins_in(root: str, fields: list[str]) -> bool:
    return any(_find(root, " ".join(fields[:count])) is not None for count in range(1, len(fields) + 1))


def _resolve(rows: Iterable[Row], source: str, folder: Path) -> Listing:
    root = os.path.join(folder, "")
    columns: tuple[list[str], list[str]] = ([], [])
    lines = array("l")
    missing: list[tuple[int, str]] = []
    fields_per_line = 0
    for number, fields in rows:
        files = _pair(fields, root)
        fields_per_line = fields_per_line or len(files)
        if len(files) != fields_per_line:
            _refuse_mixture(source, lines[0], number, fields_per_line == 2)
        lines.append(number)
        for (name, found), column in zip(files, columns, strict=False):
            column.append(found or name)
            if found is None:
                missing.append((number, name))
    if missing:
        raise DataError(_missing(missing, source, folder))
    return Listing(source, folder, columns[0], columns[1] if fields_per_line == 2 else None, lines)


File = tuple[str, str | None]


def _pair(fields: list[str], root: str) -> list[File]:
    """Image and label of one line, each as written and as found; where blanks leave a choice, what exists decides."""
    if len(fields) > 2:
        return _split_by_disk(fields, root)
    files = [(name, _find(root, name)) for name in fields]
    if len(fields) == 2 and files[0][1] is None:
        whole = " ".join(fields)
        return [(whole, whole)] if _find(root, whole) else files
    return files


def _split_by_disk(fields: list[str], root: str) -> list[File]:
    for cut in range(1, len(fields)):
        names = (" ".join(fields[:cut]), " ".join(fields[cut:]))
        files = [(name, _find(root, name)) for name in names]
        if all(found for _, found in files):
            return files
    whole = " ".join(fields)
    if found := _find(root, whole):
        return [(whole, found)]
    middle = len(fields) // 2
    return [(" ".join(fields[:middle]), None), (" ".join(fields[middle:]), None)]


def _find(root: str, name: str) -> str | None:
    """The spelling of `name` under which a file exists: as written, else with `/`, else in another Unicode form."""
    if _exists(root, name):
        return name
    slashed = name.replace("\\", "/")
    # Caffe puts `root_folder` before whatever the line says, so that "/a.png" may lie below it.
    forms = (unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))
    for spelling in (slashed, slashed.lstrip("/"), *forms):
        if spelling != name and _exists(root, spelling):
            return spelling
    return None


def _exists(root: str, name: str) -> bool:
    return os.path.lexists(name if os.path.isabs(name) else root + name)


def _refuse_mixture(source: str, first: int, line: int, has_label: bool) -> None:
    here, there = ("no label", "one") if has_label else ("a label", "none")
    raise DataError(
        f"the line has {here}, but line {first} has {there}",
        place=f"{source}:{line}",
        hint="give every line a label, or none; quote paths with spaces",
    )


def _missing(missing: list[tuple[int, str]], source: str, folder: Path) -> Diagnostic:
    line, name = missing[0]
    hint = _remedy([name for number, name in missing if number == line], folder)
    if len(missing) == 1:
        return Diagnostic(f"no such file: {os.path.join(folder, name)}", place=f"{source}:{line}", hint=hint)
    details = [f"  {source}:{line}: {os.path.join(folder, name)}" for line, name in missing[:SHOWN]]
    if len(missing) > SHOWN:
        details.append(f"  and {len(missing) - SHOWN} more")
    message = "\n".join([f"{len(missing)} files that the list names do not exist", *details])
    return Diagnostic(message, place=f"{source}:{line}", hint=hint)


def _remedy(names: list[str], folder: Path) -> str:
    """Where the missing files of one line may be meant to be."""
    slashed = names[0].replace("\\", "/")
    parts = [part for part in slashed.split("/") if part]
    for base, start in itertools.product(dict.fromkeys((folder.resolve(), Path.cwd())), range(1, len(parts))):
        tail = "/".join(parts[start:])
        if os.path.lexists(base / tail):
            return f"'{tail}' exists in {base}: leave '{slashed[: slashed.rindex(tail)]}' out of the list's paths"
    if names[-1].isdigit():
        return "a label is a picture of class numbers; leave the number out where there are no labels"
    if any(" " in name for name in names):
        return 'put a tab between image and label, or quotes: "image" "label"'
    return "correct the path, or set 'root_folder' to the folder that the paths start from"
