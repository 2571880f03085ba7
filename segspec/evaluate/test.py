"""`segspec test`: masks, overlays, sheets and, where there are labels, tables."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console

from segspec.data.decode import read_image
from segspec.data.labels import read_label
from segspec.data.palette import palette_mask
from segspec.data.sample import ImageSource, refuse_size
from segspec.data.sources import open_source
from segspec.errors import UsageError
from segspec.evaluate.boundary import boundary_f1, summarise
from segspec.evaluate.confusion import Matrix, count
from segspec.evaluate.doubt import Doubt
from segspec.evaluate.images import collect, unique_names
from segspec.evaluate.load import Choice, Loaded, load, with_statistics
from segspec.evaluate.matrix_picture import draw_confusion
from segspec.evaluate.metrics import Metrics, Scores
from segspec.evaluate.model import table_of, with_classes
from segspec.evaluate.pictures import encode_png, overlay, share_map
from segspec.evaluate.predict import Predictor
from segspec.evaluate.progress import image_bar
from segspec.evaluate.report import Report
from segspec.evaluate.results import Results, open_results
from segspec.evaluate.sheet import Example, draw_contact_sheet, draw_sheet
from segspec.evaluate.tables import as_json, as_markdown
from segspec.evaluate.terminal import print_report
from segspec.messages import say, warn
from segspec.spec.classes import ClassTable, load_classes

OVERVIEW = 12


@dataclass(frozen=True)
class Request:
    """What the command line asks of a test.

    Attributes:
        model: a run folder, or a spec.
        images: images, folders and lists; empty: the run's own test images.
        weights: weights for a spec.
        labels: a folder of labels by the images' names.
        out: where results go; None: `test` in the run folder, else `test` here.
        statistics: what batch normalisation uses.
        snapshot: `best`, `last` or an iteration.
        json: whether the table is printed as JSON; `null` where no image has a label.
        sheets: how many sheets are drawn.
        overrides: changes to the spec.
        samples: how often a net that is random at test is asked.
        weights_map: which layers of the weights the net's layers take; None: those of the same names.
        classes: the class table to use instead of the net's own, as `load_classes` takes it.
    """

    model: Path
    images: tuple[str, ...] = ()
    weights: Path | None = None
    labels: Path | None = None
    out: Path | None = None
    statistics: Choice = "auto"
    snapshot: str = "best"
    json: bool = False
    sheets: int = 20
    overrides: tuple[str, ...] = ()
    weights_map: str | None = None
    samples: int = 1
    classes: str | None = None


@dataclass
class _Tally:
    """What is counted over the labelled images."""

    matrix: Matrix
    boundary: list[Scores] = field(default_factory=list)
    images: int = 0
    doubt: Doubt = field(default_factory=Doubt)


def test(request: Request) -> Report | None:
    """Segments images and writes the results. Returns the report, or None when no image had a label.

    Results of an earlier test in the same folder are removed first. An image or label that cannot be used ends the test
    with one error; the pictures written before it stay.
    """
    loaded = with_statistics(
        load(request.model, request.weights, request.snapshot, request.overrides, request.weights_map),
        request.statistics,
    )
    warn(*loaded.warnings)
    if request.classes is not None:
        loaded = loaded._replace(model=with_classes(loaded.model, load_classes(request.classes)))
    table = table_of(loaded.model)
    examples = _examples(request, loaded, table)
    out = request.out or (loaded.folder.test if loaded.folder else Path("test"))
    predictor = Predictor(loaded.model, samples=request.samples)
    names = _file_names(examples.names, request.sheets, uncertain=request.samples > 1)
    with open_results(out, names, examples.files) as results:
        tally = _segment(examples, loaded, predictor, table, results, request.sheets)
        return _report(tally, loaded, table, results, json=request.json)


def _segment(
    examples: _Examples, loaded: Loaded, predictor: Predictor, table: ClassTable, results: Results, sheets: int
) -> _Tally:
    """Writes the pictures of every image, and counts."""
    tally = _Tally(np.zeros((table.count, table.count), np.int64))
    shown: list[Example] = []
    with image_bar() as bar:
        for number, (name, image, label) in enumerate(bar.track(examples, description="segmenting")):
            labels, uncertainty = predictor.predict(image)
            example = Example(name, image, labels, label, uncertainty)
            _save_pictures(example, table, results, sheet=number < sheets)
            shown += [example] if number < OVERVIEW else []
            _count(tally, example, table)
    if predictor.resized:
        height, width = predictor.resized
        say(f"images were resized to {height}x{width}: the net takes no other size of theirs")
    if shown:
        remark = f"{loaded.weights}, statistics: {loaded.model.origin}"
        results.save("overview.png", encode_png(draw_contact_sheet(loaded.model.spec.name, remark, shown, table)))
    return tally


test.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test


@dataclass(frozen=True)
class _Examples:
    """The images of a test, decoded as they are asked for.

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


def _examples(request: Request, loaded: Loaded, table: ClassTable) -> _Examples:
    channels = loaded.model.channels
    if not request.images:
        source = _own_source(loaded, table)
        names = unique_names(source.names)
        return _Examples(names, source.names, _from_source(source, names))
    entries = collect(request.images, request.labels)

    def read() -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
        for entry in entries:
            image = read_image(entry.image, channels)
            label = None if entry.label is None else read_label(entry.label, table)
            if label is not None:
                refuse_size(image, label, entry.image, entry.label or "")
            yield entry.name, image, label

    files = [path for entry in entries for path in (entry.image, entry.label) if path is not None]
    return _Examples([entry.name for entry in entries], files, read())


def _own_source(loaded: Loaded, table: ClassTable) -> ImageSource:
    layer = loaded.model.spec.data.get("test")
    if layer is None:
        raise UsageError("no images to test, and the spec names none", hint="segspec test RUN IMAGES...")
    return open_source(layer, table, Path())


def _from_source(source: ImageSource, names: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    for index in range(len(source)):
        sample = source.raw(index)
        yield names[index], sample.image, sample.label


def _file_names(names: Collection[str], sheets: int, *, uncertain: bool) -> list[str]:
    """Every file that a test of images of these names may write."""
    folders = ("masks", "overlays", *(("uncertainty",) if uncertain else ()))
    pictures = [f"{folder}/{name}.png" for folder in folders for name in names]
    drawn = [f"sheets/{name}.png" for name in islice(names, sheets)]
    return [*pictures, *drawn, "overview.png", "table.md", "table.json", "confusion.png"]


def _save_pictures(example: Example, table: ClassTable, results: Results, *, sheet: bool) -> None:
    file = f"{example.name}.png"
    results.save(f"masks/{file}", encode_png(palette_mask(example.prediction, table)))
    results.save(f"overlays/{file}", encode_png(overlay(example.image, example.prediction, table)))
    if example.uncertainty is not None:
        results.save(f"uncertainty/{file}", encode_png(share_map(example.uncertainty)))
    if sheet:
        results.save(f"sheets/{file}", encode_png(draw_sheet(example, table)))


def _count(tally: _Tally, example: Example, table: ClassTable) -> None:
    if example.label is None:
        return
    tally.matrix += count(example.prediction, example.label, table.count, table.ignore_label)
    tally.boundary.append(boundary_f1(example.prediction, example.label, table.count, table.ignore_label))
    tally.images += 1
    if example.uncertainty is not None:
        tally.doubt.add(example.uncertainty, example.prediction, example.label, table.ignore_label)


def _report(tally: _Tally, loaded: Loaded, table: ClassTable, results: Results, *, json: bool) -> Report | None:
    """Prints and writes the tables; without labels there are none, and a line says where the pictures are."""
    say(f"weights: {loaded.weights}")
    say(f"batch normalisation statistics: {loaded.model.origin}")
    if tally.doubt.pixels.any():
        say(tally.doubt.as_text())
    report = None
    if tally.images:
        boundary = summarise(tally.boundary, table.count)
        metrics, statistics = Metrics(tally.matrix), loaded.model.origin
        report = Report(table.names, metrics, statistics, tally.images, loaded.weights, loaded.iteration, boundary)
        results.save("table.md", as_markdown(report).encode())
        results.save("table.json", as_json(report).encode())
        results.save("confusion.png", draw_confusion(metrics, table.names))
        warn(*report.warnings)
        if json:
            print(as_json(report))
        else:
            print_report(report, _console())
    elif json:
        print("null")
    say(f"results: {results.folder} ({', '.join(results.written)})")
    return report


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=100)
