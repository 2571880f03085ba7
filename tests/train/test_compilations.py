"""A training compiles when it first meets a shape, and never again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from PIL import Image

from segspec.cli import main
from segspec.run.log import Log

COMPILING = "/jax/core/compile/backend_compile_duration"
RARE = ("--solver-set", "snapshot=1", "--solver-set", "test_interval=2", "--solver-set", "max_iter=8")


class Count:
    """How many programs were compiled, in all and by each record of the log."""

    def __init__(self) -> None:
        self.programs = 0
        self.at: dict[int, int] = {}

    def hear(self, event: str, duration: float, **details: Any) -> None:
        self.programs += event == COMPILING

    def note(self, record: dict[str, Any]) -> None:
        self.at[record["iteration"]] = self.programs


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Iterator[Count]:
    counted = Count()
    append = Log.append

    def noting(self: Log, record: dict[str, Any]) -> None:
        append(self, record)
        counted.note(record)

    monkeypatch.setattr(Log, "append", noting)
    jax.monitoring.register_event_duration_secs_listener(counted.hear)
    yield counted
    jax.monitoring.unregister_event_duration_listener(counted.hear)


def train(project: Any, run: Path, *more: str) -> None:
    assert main(["train", str(project.spec), str(project.solver), "--run", str(run), *more]) == 0


def test_tests_snapshots_and_a_last_short_batch_compile_once(project: Any, tmp_path: Path, count: Count) -> None:
    run = tmp_path / "run"
    train(project, run, *RARE)
    assert count.at[1] > 0, "the listener hears nothing"
    assert count.at[2] == count.at[8] == count.programs, "the third iteration or a later test compiled"
    before = count.programs
    assert main(["train", "--resume", str(run), "--solver-set", "max_iter=14"]) == 0
    assert before < count.at[10] == count.at[14] == count.programs


def test_each_size_of_image_compiles_once(project: Any, tmp_path: Path, count: Count) -> None:
    for name in ("train1.png", "train1_label.png"):
        path = project.folder / name
        Image.open(path).crop((0, 0, 16, 12)).save(path)
    train(project, tmp_path / "run", "--set", "data.train.batch_size=1", "--solver-set", "iter_size=1", *RARE[2:],
          "--solver-set", "max_iter=24")  # fmt: skip
    assert count.at[12] == count.at[24] == count.programs, "two epochs of six images showed both sizes"


def test_a_start_compiles_few_programs(project: Any, tmp_path: Path, count: Count) -> None:
    train(project, tmp_path / "run", "--solver-set", "test_interval=0")
    assert count.programs <= 4, "the step, the state of the optimizer, the rate, and a trial of an option"


def test_a_second_start_reads_every_program_from_the_cache(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGSPEC_CACHE", str(tmp_path / "cache"))
    events: list[str] = []

    def hear(event: str, **details: Any) -> None:
        events.append(event)

    jax.monitoring.register_event_listener(hear)
    try:
        train(project, tmp_path / "first")
        events.clear()
        jax.clear_caches()
        train(project, tmp_path / "second")
    finally:
        jax.monitoring.unregister_event_listener(hear)
        jax.config.update("jax_compilation_cache_dir", None)
    asked = events.count("/jax/compilation_cache/compile_requests_use_cache")
    assert asked > 0
    assert events.count("/jax/compilation_cache/cache_hits") == asked
