"""Reads a folder of Caffe's prototxt files, builds every net in every phase that it defines, and counts.

    python tools/corpus.py FOLDER --manifest FOLDER/manifest.csv

The manifest is a CSV file with the columns `file` (relative to the folder), `kind` (`solver`, or a kind of net),
`params` (how many numbers the net learns, if known) and `input` (`[batch, channels, height, width]`, used where the
file itself does not say how large its images are). Without a manifest every file that ends in `.prototxt` is read.

One line a file: the verdict, the phases that were built, the count. Verdicts are `ok`; `cause`, where a file cannot be
built for a reason that is told (a layer type that is not supported, a template that is not filled); and `FAILED`, which
makes the exit status 1. Nothing is compiled: shapes are enough.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path

from segspec.errors import SegspecError, Source, SpecError
from segspec.graph.build import build
from segspec.graph.graph import Graph
from segspec.graph.inputs import declared_size, net_inputs
from segspec.layers import by_type
from segspec.layers.base import Blob, ShapeError
from segspec.layers.data import Input
from segspec.ops.order import stored_shape
from segspec.spec.caffe.fields import messages, text, texts
from segspec.spec.caffe.fork import SINKS
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.caffe.phase import NetState
from segspec.spec.caffe.rewrite import rewrite, type_name
from segspec.spec.caffe.solver import read_caffe_solver
from segspec.spec.caffe.sources import is_source
from segspec.spec.caffe.upgrade import upgrade
from segspec.spec.netspec import NetSpec, Phase
from segspec.syntax.prototxt import parse_prototxt
from segspec.syntax.tree import Mapping, Problems, read_source

SIZES = ((360, 480), (512, 512), (384, 512), (256, 256), (224, 224), (128, 128), (321, 321), (500, 500), (28, 28))
"""Heights and widths that are tried where neither the file nor the manifest says one that fits."""


REFUSED_BY_CAFFE = ("(Upsample): the mask must have the shape of the input",)
"""What Caffe's layers check in the same words: a net with this mistake at the size that it declares runs nowhere."""


@dataclass(frozen=True)
class Row:
    """What the manifest says of a file."""

    file: str
    kind: str = ""
    params: int | None = None
    shape: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the images."""
        return (self.shape[2], self.shape[3]) if len(self.shape) == 4 else None


@dataclass
class Verdict:
    """What became of a file.

    Attributes:
        file: its name.
        status: `ok`, `cause` or `FAILED`.
        phases: what was built.
        params: numbers learned, of the phase that learns most.
        notes: why it could not be built, or is said to count otherwise.
        causes: the same in few words, for the summary.
        seconds: how long it took.
    """

    file: str
    status: str = "ok"
    phases: list[str] = field(default_factory=list)
    params: int | None = None
    notes: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def fail(self, cause: str, note: str) -> None:
        self.status = "FAILED"
        self.causes.append(cause)
        self.notes.append(note)

    def excuse(self, cause: str) -> None:
        self.status = "cause" if self.status == "ok" else self.status
        self.causes.append(cause)
        self.notes.append(cause)


@dataclass(frozen=True)
class State:
    """A way to build a net: a phase, with a stage where the net's data layers ask for one."""

    phase: Phase
    stage: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        """What the rules of layers are given."""
        return (self.stage,) if self.stage else ()

    def __str__(self) -> str:
        return f"{self.phase}+{self.stage}" if self.stage else self.phase


def judge(folder: Path, row: Row) -> Verdict:
    """Reads one file and builds what it defines."""
    verdict = Verdict(row.file)
    start = time.perf_counter()
    try:
        source = read_source(folder / row.file)
        root = parse_prototxt(source)
        if row.kind == "solver" or root.key("base_lr"):
            read_caffe_solver(source)
            verdict.phases.append("solver")
        else:
            _judge_net(source, upgrade(root, Problems()), row, verdict)
    except SegspecError as error:
        _note(error, verdict)
    except Exception:
        verdict.fail("traceback", traceback.format_exc())
    verdict.seconds = time.perf_counter() - start
    return verdict


def _judge_net(source: Source, root: Mapping, row: Row, verdict: Verdict) -> None:
    layers = [rewrite(layer) for layer in messages(root, "layer")]
    states = list(_states(root, layers))
    unsupported = _unsupported(root, layers, states)
    for name in unsupported:
        verdict.excuse(f"unsupported layer type {name}")
    if not states:
        verdict.excuse("no data layer and no input")
    if unsupported or not states:
        return
    graphs = [graph for state in states if (graph := _build(source, state, row, verdict)) is not None]
    if graphs:
        _compare(graphs, row, verdict)


def _build(source: Source, state: State, row: Row, verdict: Verdict) -> Graph | None:
    """The net in one state: at the size that it declares, else at the first of the usual sizes that fits."""
    spec = read_caffe_net(source, (), state.phase, stages=state.stages)
    declared = declared_size(spec)
    sizes = [declared] if declared else [row.size, *SIZES] if row.size else [*SIZES]
    first: SpecError | None = None
    for size, shown in chain(*(((size, spec), (size, _in_grey(spec))) for size in sizes)):
        try:
            graph = build(shown, state.phase, net_inputs(shown, size, labels=state.phase != "DEPLOY"))
        except SpecError as error:
            first = first or error
            continue
        if size != sizes[0] or shown is not spec:
            verdict.notes.append(f"{state}: the size of images is not declared; {size[0]}x{size[1]} fits")
        verdict.phases.append(str(state))
        return graph
    if declared:
        assert first is not None
        raise first
    verdict.excuse("the size of images is not declared, and none that was tried fits")
    return None


def _in_grey(spec: NetSpec) -> NetSpec:
    """The net fed with images of one channel, as the digits of MNIST are."""
    data = {phase: layer.model_copy(update={"force_gray": True}) for phase, layer in spec.data.items()}
    return replace(spec, data=data)


def _compare(graphs: Sequence[Graph], row: Row, verdict: Verdict) -> None:
    """Notes how many numbers the net learns, and why the manifest may say another number."""
    counts = [graph.parameters for graph in graphs]
    verdict.params = max(counts)
    if row.params is None or row.params in counts:
        return
    reason = next((reason for graph in graphs if (reason := _explain(graph, row))), "")
    note = f"counts {verdict.params:,}, the manifest says {row.params:,}"
    if reason:
        verdict.notes.append(f"{note}: {reason}")
    else:
        verdict.fail("another count than the manifest's", note)


def _explain(graph: Graph, row: Row) -> str:
    """What a manifest that reckoned otherwise would have reckoned; empty where nothing explains its number."""
    everywhere = sum(math.prod(spec.shape) for layer in graph.layers for spec in layer.params.values())
    if everywhere == row.params:
        return "shared blobs are counted there wherever they are used"
    if row.shape and row.params in (_count_at(graph, ("data",), row.shape), _count_at(graph, graph.inputs, row.shape)):
        shape, own = "x".join(map(str, row.shape)), Blob(graph.inputs["data"].shape).caffe_shape
        return f"it fed the net with {shape}, the file says {'x'.join(map(str, own))}"
    return ""


def _count_at(graph: Graph, names: Iterable[str], shape: tuple[int, ...]) -> int | None:
    """How many numbers the features of a net would learn if these inputs had another shape."""
    blobs = {**graph.inputs, **dict.fromkeys(names, Blob(stored_shape(shape)))}
    total = 0
    for layer in graph.layers:
        if layer.layer.role != "feature" or any(bottom not in blobs for bottom in layer.bottoms):
            continue
        inputs = tuple(blobs[bottom] for bottom in layer.bottoms)
        try:
            blobs.update(zip(layer.tops, layer.layer.shapes(inputs, len(layer.tops)), strict=True))
            params = layer.layer.params(inputs)
        except ShapeError:
            return None
        total += sum(math.prod(spec.shape) for blob, spec in params.items() if blob not in layer.owners)
    return total


def _states(root: Mapping, layers: Sequence[Mapping]) -> Iterator[State]:
    """Every state in which something feeds the net."""
    sources = [layer for layer in layers if is_source(layer)]
    stages = {stage.text for layer in sources for rule in messages(layer, "include") for stage in texts(rule, "stage")}
    phases: tuple[Phase, ...] = ("TRAIN", "TEST")
    for phase in phases:
        for stage in ("", *sorted(stages)):
            state = NetState.of(root, phase, (stage,) if stage else ())
            if any(state.admits(layer) for layer in sources):
                yield State(phase, stage)
                if not stage:
                    break
    if texts(root, "input") or any(text(layer, "type") == Input.type for layer in layers):
        yield State("DEPLOY")


def _unsupported(root: Mapping, layers: Sequence[Mapping], states: Sequence[State]) -> list[str]:
    """The layer types that stand in some state and are not known."""
    found = set()
    for state in states:
        admits = NetState.of(
            root, "TRAIN" if state.phase == "TRAIN" else "TEST", [state.stage] if state.stage else ()
        ).admits
        present = [layer for layer in layers if admits(layer) and not is_source(layer)]
        kinds = [(text(layer, "type"), type_name(layer)) for layer in present]
        found |= {name for kind, name in kinds if by_type(kind) is None and kind not in SINKS}
    return sorted(found)


def _note(error: SegspecError, verdict: Verdict) -> None:
    for found in error.diagnostics:
        if found.message.startswith("nothing fills '${"):
            verdict.excuse(f"unfilled template {found.message.removeprefix('nothing fills ')}")
        elif any(text in found.message for text in REFUSED_BY_CAFFE):
            verdict.excuse(f"Caffe refuses it too: {found.message.splitlines()[0]}")
        elif " needs 'num_output'" in found.message:
            verdict.excuse("a num_output is left out, for a program to fill in")
        else:
            verdict.fail("refused", found.render())


def read_manifest(path: Path) -> list[Row]:
    """The rows of a manifest."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: dict[str, str]) -> Row:
    shape = json.loads(line.get("input") or "[]")
    params = int(line["params"]) if line.get("params") else None
    return Row(line["file"], line.get("kind", ""), params, tuple(shape))


def main(arguments: Sequence[str] | None = None) -> int:
    """Judges every file; prints a line for each and a summary. Returns 1 when some file failed."""
    parser = argparse.ArgumentParser(description="Read a folder of prototxt files and build their nets.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--manifest", type=Path, help="CSV file with the columns file, kind, params, input")
    parser.add_argument("--only", default="", help="only files whose name has this in it")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(arguments)
    if options.manifest:
        rows = read_manifest(options.manifest)
    else:
        rows = [Row(str(path.relative_to(options.folder))) for path in sorted(options.folder.rglob("*.prototxt"))]
    verdicts = [judge(options.folder, row) for row in rows if options.only in row.file]
    print(json.dumps([asdict(verdict) for verdict in verdicts], indent=1) if options.json else _report(verdicts))
    return 1 if any(verdict.status == "FAILED" for verdict in verdicts) else 0


def _report(verdicts: Sequence[Verdict]) -> str:
    lines = []
    for verdict in verdicts:
        count = f"{verdict.params:,}" if verdict.params is not None else ""
        lines.append(f"{verdict.status:6} {verdict.file}: {', '.join(verdict.phases)}  {count}".rstrip())
        lines += [f"       {line}" for note in verdict.notes for line in note.splitlines()]
    lines += ["", ", ".join(f"{count} {status}" for status, count in Counter(v.status for v in verdicts).items())]
    causes = Counter(cause.partition(": ")[0] for verdict in verdicts for cause in set(verdict.causes))
    lines += [f"{count:5}  {cause}" for cause, count in causes.most_common()]
    slowest = max(verdicts, key=lambda verdict: verdict.seconds)
    total = sum(verdict.seconds for verdict in verdicts)
    lines.append(f"{total:.1f} s in all; slowest {slowest.file} with {slowest.seconds:.1f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
