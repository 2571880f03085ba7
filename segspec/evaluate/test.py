"""`segspec test`: masks, overlays, sheets and, where there are labels, tables."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from rich.console import Console

from segspec.data.palette import palette_mask
from segspec.errors import Diagnostic, UsageError
from segspec.evaluate.answers import Labels
from segspec.evaluate.doubt import Doubt
from segspec.evaluate.ensemble import Ensemble, with_channels
from segspec.evaluate.examples import Examples, named_examples, own_examples
from segspec.evaluate.load import Choice, load, load_run, with_statistics
from segspec.evaluate.matrix_picture import draw_confusion
from segspec.evaluate.members import Members, name_each, refuse_other_classes, split_runs
from segspec.evaluate.model import table_of, with_classes
from segspec.evaluate.pictures import encode_png, overlay, share_map
from segspec.evaluate.predict import Image
from segspec.evaluate.progress import image_bar
from segspec.evaluate.report import Part, Report
from segspec.evaluate.results import Results, open_results
from segspec.evaluate.sheet import Example, draw_contact_sheet, draw_sheet
from segspec.evaluate.tables import as_json, as_markdown
from segspec.evaluate.tally import Tally
from segspec.evaluate.terminal import print_report
from segspec.evaluate.unfolded import find_unfolded
from segspec.evaluate.views import ONE_VIEW, Views, parse_views
from segspec.messages import say, warn
from segspec.run.folder import is_run
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
        ensemble: whether run folders among `images` are nets to be averaged with the model.
        tta: how else each image is shown, as `parse_views` takes it; None: as it is.
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
    ensemble: bool = False
    tta: str | None = None


@dataclass
class _Counts:
    """What is counted over the labelled images.

    Attributes:
        whole: of the predictions.
        parts: of each that they are the mean of, by its name.
        doubt: where the nets are uncertain.
    """

    whole: Tally
    parts: dict[str, Tally]
    doubt: Doubt = field(default_factory=Doubt)


def test(request: Request) -> Report | None:
    """Segments images and writes the results. Returns the report, or None when no image had a label.

    Results of an earlier test in the same folder are removed first. An image or label that cannot be used ends the test
    with one error; the pictures written before it stay.
    """
    views = parse_views(request.tta) if request.tta is not None else ONE_VIEW
    nets, images = split_runs(request.model, request.images) if request.ensemble else _one_net(request)
    members = _open(request, nets)
    table = table_of(members.first.model)
    examples = (
        named_examples(images, request.labels, members.channels, table)
        if images
        else own_examples(members.first.model.spec, members.channels, table)
    )
    out = request.out or (members.first.folder.test if members.first.folder and not members.several else Path("test"))
    names = _file_names(examples.names, request.sheets, uncertain=request.samples > 1)
    ensemble = Ensemble(members.models, views=views, samples=request.samples)
    with open_results(out, names, examples.files) as results:
        counts = _Counts(Tally(table), {name: Tally(table) for name in _parts(members, views)})
        _segment(examples, members, ensemble, counts, results, request.sheets)
        return _report(counts, members, views, results, json=request.json)


def _one_net(request: Request) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The net and the images. Raises UsageError where a second run stands in the place of images."""
    run = next((path for path in request.images if is_run(Path(path))), None)
    if run is not None:
        hint = f"to average the nets of several runs: segspec test --ensemble {request.model} {run}"
        raise UsageError("is a run, not images", place=run, hint=hint)
    return (request.model,), request.images


def _open(request: Request, nets: Sequence[Path]) -> Members:
    """Loads the nets, tells what is to be known of them, and refuses those that do not agree."""
    names = name_each(nets)
    first = load(request.model, request.weights, request.snapshot, request.overrides, request.weights_map)
    others = (load_run(path, request.snapshot, request.overrides) for path in nets[1:])
    found = [with_statistics(loaded, request.statistics) for loaded in (first, *others)]
    for loaded in found:
        warn(*loaded.warnings)
    if request.classes is not None:
        given = load_classes(request.classes)
        found = [loaded._replace(model=with_classes(loaded.model, given)) for loaded in found]
    members = Members(names, tuple(found))
    refuse_other_classes(members)
    return members


def _parts(members: Members, views: Views) -> tuple[str, ...]:
    """What is scored by itself of that which is averaged: each net, or the plain view of the one net."""
    if members.several:
        return members.names
    return (str(ONE_VIEW),) if len(views) > 1 else ()


def _segment(
    examples: Examples, members: Members, ensemble: Ensemble, counts: _Counts, results: Results, sheets: int
) -> None:
    """Writes the pictures of every image, and counts."""
    table = counts.whole.table
    shown: list[Example] = []
    with image_bar() as bar:
        for number, (name, image, label) in enumerate(bar.track(examples, description="segmenting")):
            if number == 0:
                warn(*_doubt_weights(members, ensemble, image))
            labels, uncertainty, alone = ensemble.predict(image)
            example = Example(name, image, labels, label, uncertainty)
            _save_pictures(example, table, results, sheet=number < sheets)
            shown += [example] if number < OVERVIEW else []
            _count(counts, example, alone)
    _tell_resized(members, ensemble)
    if shown:
        remark = f"{members.weights}, statistics: {members.statistics}"
        results.save("overview.png", encode_png(draw_contact_sheet(members.title, remark, shown, table)))


def _doubt_weights(members: Members, ensemble: Ensemble, image: Image) -> Iterator[Diagnostic]:
    """Warnings of weights from elsewhere that lack their statistics; a run has trained with what it has."""
    for loaded, predictor in zip(members.loaded, ensemble.predictors, strict=True):
        seen = with_channels(image, loaded.model.channels) if members.several else image
        found = None if loaded.folder else find_unfolded(loaded.model, predictor.prepare(seen))
        yield from [found] if found else []


def _tell_resized(members: Members, ensemble: Ensemble) -> None:
    """Says which nets saw images at another size than these had."""
    for name, predictor in zip(members.names, ensemble.predictors, strict=True):
        if predictor.resized:
            height, width = predictor.resized
            net = f"net of {name}" if members.several else "net"
            say(f"images were resized to {height}x{width}: the {net} takes no other size of theirs")


test.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test


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


def _count(counts: _Counts, example: Example, alone: Sequence[Labels]) -> None:
    if example.label is None:
        return
    counts.whole.add(example.prediction, example.label)
    for part, labels in zip(counts.parts.values(), alone, strict=True):
        part.add(labels, example.label)
    if example.uncertainty is not None:
        counts.doubt.add(example.uncertainty, example.prediction, example.label, counts.whole.table.ignore_label)


def _report(counts: _Counts, members: Members, views: Views, results: Results, *, json: bool) -> Report | None:
    """Prints and writes the tables; without labels there are none, and a line says where the pictures are."""
    say(f"weights: {members.weights}")
    say(f"batch normalisation statistics: {members.statistics}")
    if len(views) > 1:
        say(f"each image in {views}")
    if counts.doubt.pixels.any():
        say(counts.doubt.as_text())
    report = None
    if counts.whole.images:
        report = _summarise(counts, members, views)
        results.save("table.md", as_markdown(report).encode())
        results.save("table.json", as_json(report).encode())
        results.save("confusion.png", draw_confusion(report.metrics, report.names))
        warn(*report.warnings)
        if json:
            print(as_json(report))
        else:
            print_report(report, _console())
    elif json:
        print("null")
    say(f"results: {results.folder} ({', '.join(results.written)})")
    return report


def _summarise(counts: _Counts, members: Members, views: Views) -> Report:
    """The figures."""
    return Report(
        names=counts.whole.table.names,
        metrics=counts.whole.metrics,
        statistics=members.statistics,
        images=counts.whole.images,
        weights=members.weights,
        iteration=None if members.several else members.first.iteration,
        boundary=counts.whole.boundary,
        views=str(views) if len(views) > 1 else "",
        title="ensemble" if members.several else f"{len(views)} views" if len(views) > 1 else "network",
        parts=tuple(Part(name, tally.metrics, tally.boundary) for name, tally in counts.parts.items()),
    )


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=100)
