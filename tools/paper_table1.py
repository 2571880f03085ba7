"""Trains the variants of the SegNet paper's Table 1 on CamVid, and sets their scores beside the paper's.

python tools/paper_table1.py --minutes 10             goes on for ten minutes; call it again until all is done
python tools/paper_table1.py --variants segnet_basic --size 90x120 --iterations 300 --device cpu

Each variant is trained with median-frequency and with natural-frequency balancing by `segspec train`, and its best
snapshot is scored by `segspec test`. A call goes on where the last one stopped and writes table.md and table.json anew.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import TIMEOUT_MAX, Event, Thread
from types import FrameType
from typing import Any, NamedTuple

from segspec import cli
from segspec.atomic import write_atomically
from segspec.errors import SegspecError, UsageError
from segspec.run.folder import RunFolder, snapshot_iterations

ROOT = Path(__file__).resolve().parent.parent
SPECS = ROOT / "specs" / "segnet_paper"
SOLVER = ROOT / "solvers" / "sgd.yaml"
SHARED = Path(os.environ.get("SEGSPEC_SHARED") or ROOT.parent / "shared")
BALANCINGS = ("median", "natural")
TESTS = 10
"""How often a training is tested, and a snapshot kept."""
REMIND_SECONDS = 0.05
TIME_IS_UP, INTERRUPTED = 128 + signal.SIGTERM, 128 + signal.SIGINT

_PAPER = """
bilinear_interpolation: Bilinear-Interpolation 77.9 61.1 43.3 20.83 82.7 52.5 43.8 23.08
segnet_basic: SegNet-Basic 82.7 62.0 47.7 35.78 84.0 54.6 46.3 36.67
segnet_basic_encoder_addition: SegNet-Basic-EncoderAddition 83.4 63.6 48.5 35.92 84.2 56.5 47.7 36.27
segnet_single_channel_decoder: SegNet-SingleChannelDecoder 81.2 60.7 46.1 31.62 83.5 53.9 45.2 32.45
fcn_basic: FCN-Basic 81.7 62.4 47.3 38.11 83.9 55.6 45.0 37.33
fcn_basic_no_addition: FCN-Basic-NoAddition 80.5 58.6 44.1 31.96 82.3 53.9 44.2 29.43
fcn_basic_no_dim_reduction: FCN-Basic-NoDimReduction 84.1 63.4 50.1 37.37 83.5 57.3 47.0 37.13
fcn_basic_no_addition_no_dim_reduction: FCN-Basic-NoAddition-NoDimReduction 80.5 61.6 45.9 30.47 83.7 54.8 45.5 33.17
"""
"""Spec, name, and the scores with median-frequency and with natural-frequency balancing."""
_BEFORE = """# Table 1 of the SegNet paper

Written by `tools/paper_table1.py`. Global accuracy (G), class average (C), mean IoU and boundary F1 (BF), in %. *Here*:
on CamVid's validation images, {seen}, by the snapshot of best mIoU on these same images. *Paper*: Badrinarayanan,
Kendall, Cipolla 2017, on CamVid's test images. A row without scores is not done.
"""
_HEAD = (
    "| variant | balancing | iterations | G here | C here | mIoU here | BF here "
    "| G paper | C paper | mIoU paper | BF paper |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


class Scores(NamedTuple):
    """What the table compares, in percent, by the names of `table.json`."""

    global_accuracy: float
    class_average: float
    mean_iou: float
    boundary_f1: float


class Published(NamedTuple):
    """A row of the paper's table."""

    name: str
    scores: dict[str, Scores]


def published() -> dict[str, Published]:
    """The paper's table, by the names of the specs and of the balancings."""
    table = {}
    for line in _PAPER.strip().splitlines():
        spec, name, *numbers = re.split(r":? ", line)
        values = [float(number) for number in numbers]
        table[spec] = Published(name, {"median": Scores(*values[:4]), "natural": Scores(*values[4:])})
    return table


@dataclass(frozen=True)
class Settings:
    """What the trainings of a folder have in common.

    Attributes:
        camvid: folder of train.txt and val.txt.
        size: height and width that the nets see; empty: those of the images.
        overrides, solver_overrides: further `KEY=VALUE` for each training.
    """

    camvid: str
    size: Sequence[int] = ()
    overrides: Sequence[str] = ()
    solver_overrides: Sequence[str] = ()


@dataclass(frozen=True)
class Training:
    """One variant with one balancing.

    Attributes:
        spec: name of the spec.
        balancing: `median` or `natural`.
        run: the folder of the run.
    """

    spec: str
    balancing: str
    run: Path

    @property
    def snapshots(self) -> list[int]:
        return snapshot_iterations(RunFolder(self.run))

    @property
    def done(self) -> int:
        """Iterations that need not be made again."""
        return max(self.snapshots, default=0)

    @property
    def record(self) -> Path:
        """Where the scores are kept."""
        return self.run.with_name(f"{self.run.name}.json")

    def scored(self) -> dict[str, Any] | None:
        """What `score` found after the last iteration that was made, or None."""
        found: dict[str, Any] = json.loads(self.record.read_text("utf-8")) if self.record.is_file() else {}
        return found if found and found["iterations"] == self.done else None

    def is_finished(self, iterations: int) -> bool:
        return self.done >= iterations and self.scored() is not None


def go_on(training: Training, settings: Settings, iterations: int, device: str | None) -> int:
    """Trains on, or begins, by `segspec train`. Returns its exit status."""
    solver = [f"max_iter={iterations}", *([f"solver_mode={device.upper()}"] if device else [])]
    if training.snapshots:
        return cli.main(["train", "--resume", str(training.run), *_each("--solver-set", solver)])
    interval = max(1, iterations // TESTS)
    solver += [f"test_interval={interval}", f"snapshot={interval}", "test_initialization=false"]
    files = [str(SPECS / f"{training.spec}.yaml"), str(SOLVER), "--run", str(training.run), "--overwrite"]
    solver += settings.solver_overrides
    return cli.main(["train", *files, *_each("--set", _changes(training, settings)), *_each("--solver-set", solver)])


def _changes(training: Training, settings: Settings) -> list[str]:
    """What is set in the spec."""
    changes = [f"camvid={settings.camvid}", *(["weights="] if training.balancing == "natural" else [])]
    if settings.size:
        height, width = settings.size
        for phase in ("train", "test"):
            changes += [f"data.{phase}.new_height={height}", f"data.{phase}.new_width={width}"]
    return [*changes, *settings.overrides]


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def score(training: Training) -> int:
    """Scores the best snapshot by `segspec test`, and keeps what it found. Returns the exit status."""
    status = cli.main(["test", str(training.run), "--sheets", "0"])
    if status == 0:
        table = json.loads((RunFolder(training.run).test / "table.json").read_text("utf-8"))
        shares = {name: table["totals"][name] for name in Scores._fields}
        scores = {name: None if share is None else 100 * share for name, share in shares.items()}
        found = {"iterations": training.done, "best": table["iteration"], "images": table["images"], "scores": scores}
        write_atomically(training.record, json.dumps(found).encode())
    return status


@contextmanager
def stop_at(deadline: float) -> Iterator[None]:
    """Within this context SIGTERM is sent once the time is over, until a training has taken notice and stopped.

    A training that listens stops after the iteration under way, so that every call makes at least one. What stands
    before and after it takes no notice. As long as there is time, a SIGTERM from elsewhere interrupts.
    """
    over = Event()

    def remind() -> None:
        over.wait(min(max(0.0, deadline - time.monotonic()), TIMEOUT_MAX))
        while not over.wait(REMIND_SECONDS):
            os.kill(os.getpid(), signal.SIGTERM)

    def notice(number: int, frame: FrameType | None) -> None:
        if time.monotonic() < deadline:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, notice)
    thread = Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)


def work(
    trainings: Sequence[Training], settings: Settings, iterations: int, device: str | None, deadline: float
) -> int:
    """Trains and scores what is not finished, one after the other, until the time is over. Returns the exit status."""
    failed = 0
    for number, training in enumerate(each for each in trainings if not each.is_finished(iterations)):
        if number and time.monotonic() >= deadline:
            break
        print(f"{training.run.name}: {training.done} of {iterations} iterations are done", flush=True)
        # one that was stopped after its last iteration has its last test yet before it, which nothing may cut short
        with stop_at(deadline if training.done < iterations else math.inf):
            status = go_on(training, settings, iterations, device)
        if status == 0:
            status = score(training)
        if status == TIME_IS_UP:
            break
        if status == INTERRUPTED or (status and not training.snapshots):
            return status
        failed = failed or status  # one that diverged keeps no other from its turn
    return failed


def rows(trainings: Sequence[Training]) -> Iterator[dict[str, Any]]:
    """What is known of each training, with the paper's scores."""
    paper = published()
    for training in trainings:
        found = training.scored() or {}
        yield {
            "variant": paper[training.spec].name,
            "spec": training.spec,
            "balancing": training.balancing,
            "iterations": training.done,
            "best": found.get("best"),
            "images": found.get("images"),
            "here": found.get("scores"),
            "paper": paper[training.spec].scores[training.balancing]._asdict(),
        }


def as_markdown(table: Sequence[dict[str, Any]], settings: Settings) -> str:
    """The page that shows the rows."""
    size = "x".join(map(str, settings.size))
    images = next((str(row["images"]) for row in table if row["images"]), "all")
    seen = f"{images} of them" + (f", which the nets saw at {size}" if size else "")
    lines = []
    for row in table:
        cells = [row["variant"], row["balancing"], f"{row['iterations']:,}"]
        lines.append(f"| {' | '.join([*cells, *_cells(row['here']), *_cells(row['paper'])])} |")
    return "\n".join([_BEFORE.format(seen=seen), _HEAD, *lines]) + "\n"


def _cells(scores: dict[str, float | None] | None) -> list[str]:
    found = [(scores or {}).get(name) for name in Scores._fields]
    digits = (1, 1, 1, 2)  # as the paper has them
    return ["-" if value is None else f"{value:.{places}f}" for value, places in zip(found, digits, strict=True)]


def keep_to(settings: Settings, out: Path) -> None:
    """Notes the settings of a folder. Raises UsageError where it was begun with others."""
    path, text = out / "settings.json", json.dumps(asdict(settings), indent=1)
    if path.is_file() and path.read_text("utf-8") != text:
        hint = "give the settings that are in it, or name another folder with --out"
        raise UsageError("the trainings here were begun with other settings", place=str(path), hint=hint)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Works as long as it may and writes the table. Returns the exit status."""
    options = _options(arguments)
    settings = Settings(str(options.camvid.absolute()), options.size, options.overrides, options.solver_overrides)
    pairs = [(spec, balancing) for spec in options.variants for balancing in options.balancing]
    trainings = [Training(spec, balancing, options.out / f"{spec}-{balancing}") for spec, balancing in pairs]
    deadline = time.monotonic() + 60 * options.minutes
    try:
        keep_to(settings, options.out)
        status = work(trainings, settings, options.iterations, options.device, deadline)
    except SegspecError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    table = list(rows(trainings))
    text = as_markdown(table, settings)
    document = {"settings": asdict(settings), "rows": table}
    write_atomically(options.out / "table.json", (json.dumps(document, indent=1) + "\n").encode())
    write_atomically(options.out / "table.md", text.encode())
    left = sum(not training.is_finished(options.iterations) for training in trainings)
    print(f"{text}\n{len(trainings) - left} of {len(trainings)} done; the table is in {options.out}")
    return status


def _size(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no size, such as 90x120")
    return tuple(map(int, text.split("x")))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    help = "variants, by the names of their specs (default: all)"
    parser.add_argument("--variants", nargs="+", choices=list(published()), default=list(published()), help=help)
    parser.add_argument("--balancing", nargs="+", choices=BALANCINGS, default=BALANCINGS, help="default: both")
    parser.add_argument("--iterations", type=int, default=10_000, help="of each training (default 10000)")
    parser.add_argument("--size", type=_size, default=(), metavar="HxW", help="what the nets see (default: the images)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long (default: when done)")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="default: the best that is found")
    help = "folder of CamVid's train.txt and val.txt (default: data/camvid in the folder that SEGSPEC_SHARED names)"
    parser.add_argument("--camvid", type=Path, default=SHARED / "data" / "camvid", metavar="DIR", help=help)
    parser.add_argument("--out", type=Path, default=Path("runs/paper_table1"), metavar="DIR", help="where all goes")
    for name, help in (("--set", "change a value of each spec"), ("--solver-set", "change a value of the solver")):
        kept = "solver_overrides" if "solver" in name else "overrides"
        parser.add_argument(name, dest=kept, metavar="KEY=VALUE", action="append", default=[], help=help)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
