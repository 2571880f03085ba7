"""Trainings by the command line, and what they leave in their folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segspec.cli import main
from segspec.run.snapshots import read_arrays

Hook = Callable[[dict[str, Any]], None]
TESTED = ("--solver-set", "test_interval=3")


def train(project: Any, run: Path, *more: str) -> int:
    return main(["train", str(project.spec), str(project.solver), "--run", str(run), *more])


def resume(run: Path, *more: str) -> int:
    return main(["train", "--resume", str(run), *more])


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[tuple[int, float]]:
    return [(record["iteration"], record["loss"]) for record in records(run) if "rate" in record]


def scores(run: Path) -> list[tuple[int, float, float]]:
    return [(each["iteration"], each["loss"], each["miou"]) for each in records(run) if "miou" in each]


def snapshots(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "snapshots").iterdir())


def metrics(run: Path, iteration: int) -> dict[str, float]:
    """What is kept of a test with the snapshot of an iteration."""
    folder = run / "snapshots" / f"{iteration:09d}"
    added = folder / "metrics.json"
    kept = (
        json.loads(added.read_text()) if added.exists() else json.loads((folder / "meta.json").read_text())["metrics"]
    )
    return dict(kept)


def digest(run: Path, iteration: int = 6) -> str:
    """Of every array of a snapshot: parameters, running averages and the optimizer's."""
    trees = read_arrays(run / "snapshots" / f"{iteration:09d}")
    text = [(tree, name, array.tobytes()) for tree in sorted(trees) for name, array in sorted(trees[tree].items())]
    return hashlib.sha256(repr(text).encode()).hexdigest()
