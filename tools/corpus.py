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
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from segspec.errors import SegspecError, Source
from segspec.graph.build import build
from segspec.graph.inputs import declared_size, net_inputs
from segspec.layers import by_type
from segspec.layers.data import Input
from segspec.spec.caffe.fields import messages, text, texts
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.caffe.phase import NetState
from segspec.spec.caffe.rewrite import rewrite, type_name
from segspec.spec.caffe.sources import is_source
from segspec.spec.caffe.upgrade import upgrade
from segspec.spec.netspec import Phase
from segspec.spec.solver_file import load_solver
from segspec.syntax.prototxt import parse_prototxt
from segspec.syntax.tree import Mapping, Problems, read_source

USUAL_SIZE = (360, 480)
"""Height and width of images where neither the file nor the manifest says them."""


@dataclass(frozen=True)
class Row:
    """What the manifest says of a file."""

    file: str
    kind: str = ""
    params: int | None = None
    size: tuple[int, int] | None = None


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
            load_solver(folder / row.file)
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
    counts = []
    for state in states:
        stages = (state.stage,) if state.stage else ()
        spec = read_caffe_net(source, (), state.phase, stages=stages)
        size = declared_size(spec) or row.size or USUAL_SIZE
        graph = build(spec, state.phase, net_inputs(spec, size, labels=state.phase != "DEPLOY"))
        verdict.phases.append(str(state))
        counts.append(graph.parameters)
    verdict.params = max(counts)
    if row.params is not None and row.params not in counts:
        verdict.fail("count", f"counts {verdict.params:,}, the manifest says {row.params:,}")


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
        admits = NetState.of(root, "TRAIN" if state.phase == "TRAIN" else "TEST", filter(None, (state.stage,))).admits
        present = [layer for layer in layers if admits(layer)]
        found |= {
            type_name(layer) for layer in present if by_type(text(layer, "type")) is None and not is_source(layer)
        }
    return sorted(found)


def _note(error: SegspecError, verdict: Verdict) -> None:
    for found in error.diagnostics:
        if found.message.startswith("nothing fills '${"):
            verdict.excuse(f"unfilled template {found.message.removeprefix('nothing fills ')}")
        else:
            verdict.fail("refused", found.render())


def read_manifest(path: Path) -> list[Row]:
    """The rows of a manifest."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: dict[str, str]) -> Row:
    shape = json.loads(line.get("input") or "[]")
    params = int(line["params"]) if line.get("params") else None
    return Row(line["file"], line.get("kind", ""), params, (shape[2], shape[3]) if len(shape) == 4 else None)


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
    causes = Counter(cause for verdict in verdicts for cause in set(verdict.causes))
    lines += [f"{count:5}  {cause}" for cause, count in causes.most_common()]
    slowest = max(verdicts, key=lambda verdict: verdict.seconds)
    total = sum(verdict.seconds for verdict in verdicts)
    lines.append(f"{total:.1f} s in all; slowest {slowest.file} with {slowest.seconds:.1f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
