"""Checking every file of a source before training, and counting the pixels of each class on the way.

A label out of range must be found here: inside a compiled step XLA clamps it in silence. What was found is kept in the
user's cache folder, by path, size and time of change of each file and by the class table, so that the second training
starts at once. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segspec.atomic import write_atomically
from segspec.cache import cache_folder
from segspec.data.files import FileSource
from segspec.data.sample import ImageSource
from segspec.errors import DataError, Diagnostic, RunError
from segspec.spec.classes import ClassTable

SHOWN = 10
PORTION = 256
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelCounts:
    """Pixels of each class in each label of a source.

    Attributes:
        pixels: int64 (samples, classes).
        ignored: int64 (samples,), pixels of the ignored label.
        sizes: int64 (samples, 2), height and width as stored.
    """

    pixels: np.ndarray
    ignored: np.ndarray
    sizes: np.ndarray

    @property
    def totals(self) -> np.ndarray:
        """Pixels of each class in all labels: int64 (classes,)."""
        total: np.ndarray = self.pixels.sum(axis=0)
        return total


def scan(
    source: ImageSource,
    table: ClassTable,
    *,
    images: bool = True,
    workers: int = 2,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> LabelCounts:
    """Decodes every label completely, and every image unless told otherwise, and counts the classes.

    Args:
        source: where samples come from; it must have labels.
        table: the classes.
        images: whether to decode images too and compare their size with the label's.
        workers: threads.
        progress: called with (files done, files in all).
        cache: folder that keeps what was found; None: the user's cache folder, if there is one.

    Raises:
        DataError: the files that cannot be used, all in one error (the first ten and a count).
    """
    book = _Book.open(source, table, cache)
    rows: list[list[int] | None] = []
    problems: list[DataError] = []

    def examine(index: int) -> list[int] | DataError:
        try:
            return book.known(index, images) or book.note(index, images, _count(source, table, index, images))
        except DataError as error:
            return error

    with ThreadPoolExecutor(workers, "segspec-scan") as pool:
        for start in range(0, len(source), PORTION):
            for result in pool.map(examine, range(start, min(start + PORTION, len(source)))):
                if isinstance(result, DataError):
                    problems.append(result)
                else:
                    rows.append(result)
            if progress is not None:
                progress(min(start + PORTION, len(source)), len(source))
    book.close()
    if problems:
        raise _all_of(problems, len(source))
    counts = np.array(rows, np.int64)
    return LabelCounts(counts[:, : table.count], counts[:, table.count], counts[:, table.count + 1 :])


def _count(source: ImageSource, table: ClassTable, index: int, images: bool) -> list[int]:
    """Pixels of every class in one label, those of the ignored label, height and width."""
    sample = source.raw(index) if images else None
    label = sample.label if sample else source.label(index)
    if label is None:
        raise DataError("there are no labels to count", place=source.names[index], hint="use a list with labels")
    counts = np.bincount(label.ravel(), minlength=max(256, table.count))
    ignored = 0 if table.ignore_label is None else int(counts[table.ignore_label])
    found: list[int] = counts[: table.count].tolist()
    return [*found, ignored, *(sample.image.shape[:2] if sample else label.shape or (1, 1))]


def _all_of(problems: list[DataError], files: int) -> DataError:
    diagnostics = [diagnostic for problem in problems[:SHOWN] for diagnostic in problem.diagnostics]
    if len(problems) > SHOWN:
        diagnostics.append(
            Diagnostic(f"{len(problems)} of {files} samples cannot be used; the first {SHOWN} are shown")
        )
    return DataError(diagnostics)


@dataclass(frozen=True)
class _Book:
    """What earlier scans found, by label path: [size and time of change of image and label, counts]."""

    path: Path | None
    source: ImageSource
    entries: dict[str, list[list[int]]]

    @classmethod
    def open(cls, source: ImageSource, table: ClassTable, folder: Path | None) -> _Book:
        """The book for a list under a class table; empty where there is none or it cannot be read."""
        folder = folder or cache_folder()
        if folder is None or type(source) is not FileSource:
            return cls(None, source, {})
        meaning = repr((os.path.abspath(source.listing.source), os.path.abspath(source.listing.folder), table))
        key = hashlib.sha256(meaning.encode()).hexdigest()[:24]
        path = folder / f"labels-{key}.json"
        entries: dict[str, list[list[int]]] = {}
        with suppress(OSError, ValueError):
            read = json.loads(path.read_text("utf-8"))
            if isinstance(read, dict):
                entries = {name: entry for name, entry in read.items() if _well_formed(entry, table.count + 3)}
        return cls(path, source, entries)

    def known(self, index: int, images: bool) -> list[int] | None:
        """The counts of a sample whose files have not changed since they were examined."""
        entry = self.entries.get(self._name(index))
        if entry is None or self.path is None:
            return None
        image, label, counts = entry
        unchanged = label == self._stamp(index, 1) and (not images or image == self._stamp(index, 0))
        return counts if unchanged else None

    def note(self, index: int, images: bool, counts: list[int]) -> list[int]:
        """Enters what was found, and returns it."""
        if self.path is not None:
            self.entries[self._name(index)] = [self._stamp(index, 0) if images else [], self._stamp(index, 1), counts]
        return counts

    def close(self) -> None:
        """Writes the book in one step, so that a reader never sees half of it."""
        if self.path is None:
            return
        with suppress(RunError):
            write_atomically(self.path, json.dumps(self.entries).encode())

    def _name(self, index: int) -> str:
        listing = self.source.listing if isinstance(self.source, FileSource) else None
        return "" if listing is None else f"{listing.images[index]}\n{listing.labels[index] if listing.labels else ''}"

    def _stamp(self, index: int, which: int) -> list[int]:
        if not isinstance(self.source, FileSource):
            return []
        path = self.source.listing.label(index) if which else self.source.listing.image(index)
        status = os.stat(path or "")
        return [status.st_size, status.st_mtime_ns]


def _well_formed(entry: object, counts: int) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 3
        and all(isinstance(part, list) and all(isinstance(number, int) for number in part) for part in entry)
        and len(entry[2]) == counts
    )
