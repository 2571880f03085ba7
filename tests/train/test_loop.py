"""The loop alone, with a step that only counts: when it tests, saves, logs, draws and stops."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import DataError, RunError, SpecError
from segspec.run.folder import RunFolder
from segspec.run.log import Log, read_log
from segspec.spec.solver import Solver
from segspec.train import curves, loop
from segspec.train.background import Background, Job
from segspec.train.feed import Fed
from segspec.train.loop import Training
from segspec.train.signals import Wishes
from segspec.train.step import MicroBatches


@dataclass
class Score:
    loss: float = 0.5
    miou: float = 0.25
    accuracy: float = 0.75


@dataclass
class Bench:
    """A training whose parts note what is asked of them, in order."""

    folder: RunFolder
    solver: Solver
    first: int = 0
    tested: bool = True
    events: list[str] = field(default_factory=list)
    wishes: Wishes = field(default_factory=Wishes)
    at: Callable[[int], None] = lambda iteration: None
    diverges: int = -1
    overlaps: bool = False
    score: Score | None = field(default_factory=Score)

    def step(self, state: Any, batches: MicroBatches, iteration: Any) -> Any:
        number = int(iteration)
        self.events.append(f"step {number}")
        self.at(number)
        return state + 1, {"loss": jnp.float32(number), "finite": Finite(number != self.diverges, self.overlaps)}

    def validate(self, params: Any, state: Any, stop: Callable[[], bool]) -> Score | None:
        self.events.append("test")
        return None if stop() else self.score

    def save(self, iteration: int, state: Any, score: Any) -> None:
        assert state == iteration
        self.events.append(f"save {iteration}" + (f" {score.miou}" if score else ""))

    def feed(self) -> Iterator[Fed]:
        batches = MicroBatches(jnp.zeros((1, 2, 4, 4, 3)), jnp.zeros((1, 2, 4, 4, 1)))
        for number in itertools.count():
            yield Fed(batches, (f"{number}.png",))

    def run(self) -> int:
        shown = SimpleNamespace(iteration=lambda record, display: None, test=lambda record: None)
        plan = SimpleNamespace(solver=self.solver, data=SimpleNamespace(batch_size=2), graph_at=lambda size: None)
        validate = self.validate if self.tested else None
        with Log(self.folder.log, self.first) as log:
            parts: Any = (plan, self.folder, self.step, validate, self.save, self.begun, log, shown, self.wishes)
            state, stopped = Training(*parts).run(State(self.first), self.feed(), self.first)
        assert stopped or state == self.solver.max_iter
        return stopped

    def begun(self) -> None:
        self.events.append("begun")


@dataclass
class Finite:
    """Stands for the array that tells whether an iteration was finite: ready at once, or only when it is asked."""

    value: bool
    overlaps: bool
    ndim = 0

    def is_ready(self) -> bool:
        return not self.overlaps

    def __bool__(self) -> bool:
        return self.value


class Immediate(Background):
    """Does every job at once, so that events have an order."""

    def submit(self, job: Job) -> None:
        job()


class State(int):
    """Counts updates; stands for parameters and state too."""

    params = state = None

    def __add__(self, other: int) -> State:
        return State(int(self) + other)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    def make(first: int = 0, tested: bool = True, **solver: Any) -> Bench:
        fields = {"base_lr": 0.1, "max_iter": 4, "display": 1, "snapshot": 0, "snapshot_after_train": False, **solver}
        made = Bench(RunFolder(tmp_path), Solver.model_validate(fields), first, tested)
        monkeypatch.setattr(curves, "draw_curves", lambda records, path: made.events.append("draw"))
        monkeypatch.setattr(loop, "Background", Immediate)
        return made

    return make


def test_a_training_without_anything_else_steps_and_draws(bench: Any) -> None:
    made = bench()
    assert made.run() == 0
    assert made.events == ["step 0", "begun", "step 1", "step 2", "step 3", "draw"]


def test_tests_and_snapshots_come_at_their_intervals(bench: Any) -> None:
    made = bench(test_interval=2, snapshot=2, max_iter=5, snapshot_after_train=True)
    made.run()
    assert made.events == [
        "save 0", "test", "step 0", "begun", "step 1", "test", "save 2 0.25", "step 2", "step 3", "test", "save 4 0.25",
        "step 4", "test", "save 5 0.25", "draw",
    ]  # fmt: skip


@pytest.mark.parametrize(("more", "expected"), [({"test_initialization": False}, []), ({}, ["test"])])
def test_the_first_test_can_be_left_out(more: dict[str, Any], expected: list[str], bench: Any) -> None:
    made = bench(test_interval=4, max_iter=4, **more)
    made.run()
    assert made.events[: len(expected) + 1] == [*expected, "step 0"]


def test_a_test_that_was_not_made_before_a_stop_is_made_at_resume_and_kept(bench: Any) -> None:
    made = bench(first=2, test_interval=2)
    made.run()
    assert made.events[:4] == ["test", "save 2 0.25", "step 2", "begun"]
    again = bench(first=2, test_interval=2, max_iter=2)
    again.run()
    assert again.events == ["draw"], "the log knows of it"


def test_a_test_that_gives_nothing_is_not_kept(bench: Any) -> None:
    made = bench(first=2, test_interval=2, max_iter=2)
    made.score = None
    made.run()
    assert made.events == ["test", "draw"]
    assert read_log(made.folder.log) == []


def test_a_signal_stops_after_the_iteration_with_a_snapshot(bench: Any) -> None:
    made = bench()
    made.at = lambda iteration: setattr(made.wishes, "stop", 15 if iteration == 1 else 0)
    assert made.run() == 15
    assert made.events == ["step 0", "begun", "step 1", "save 2", "draw"]


def test_a_wish_for_a_snapshot_is_met_once(bench: Any) -> None:
    made = bench()
    made.at = lambda iteration: setattr(made.wishes, "snapshot", iteration == 1)
    made.run()
    assert [event for event in made.events if event.startswith("save")] == ["save 2"]


@pytest.mark.parametrize(("display", "logged"), [(1, [1, 2, 3, 4]), (3, [1, 3, 4]), (0, [])])
def test_the_log_has_the_first_the_last_and_every_display(display: int, logged: list[int], bench: Any) -> None:
    made = bench(display=display)
    made.run()
    assert [record["iteration"] for record in read_log(made.folder.log)] == logged


def test_a_line_has_the_loss_its_mean_and_the_rate(bench: Any) -> None:
    made = bench(average_loss=2, lr_policy="step", gamma=0.5, stepsize=2)
    made.run()
    lines = read_log(made.folder.log)
    assert [line["loss"] for line in lines] == [0, 1, 2, 3]
    assert [line["smoothed_loss"] for line in lines] == [0, 0.5, 1.5, 2.5]
    np.testing.assert_allclose([line["rate"] for line in lines], [0.1, 0.1, 0.05, 0.05])


def test_what_is_not_finite_ends_the_training_without_a_snapshot(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "find_non_finite", lambda *args, **named: "conv7")
    made = bench(snapshot=1)
    made.diverges = 1
    with pytest.raises(RunError, match=r"iteration 2: NaN or Inf, first in layer 'conv7'; its images were\n    1\.png"):
        made.run()
    assert made.events == ["save 0", "step 0", "begun", "save 1", "step 1", "draw"]


def test_a_start_that_is_not_finite_has_not_begun(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "find_non_finite", lambda *args, **named: None)
    made = bench()
    made.diverges = 0
    with pytest.raises(RunError, match="in a gradient or an update, while all layers are finite"):
        made.run()
    assert "begun" not in made.events


def test_an_image_that_the_net_does_not_take_is_named(bench: Any) -> None:
    def refuse(iteration: int) -> None:
        raise SpecError("too small")

    made = bench()
    made.at = refuse
    with pytest.raises(DataError, match=r"^0\.png: the net does not fit this image: too small\n  set new_height"):
        made.run()


def test_a_step_does_not_wait_for_a_snapshot_which_holds_the_state_of_its_time(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench(snapshot=2, max_iter=3)
    monkeypatch.setattr(loop, "Background", Background)
    stepped, saved = threading.Event(), []
    made.at = lambda iteration: stepped.set() if iteration == 2 else None

    def save(iteration: int, state: Any, score: Any) -> None:
        if iteration:
            assert stepped.wait(10), "the step after a snapshot waits for it"
        saved.append((iteration, int(state)))

    made.save = save
    made.run()
    assert saved == [(0, 0), (2, 2)]


def test_a_snapshot_that_cannot_be_written_ends_the_training(bench: Any) -> None:
    made = bench(snapshot=2, max_iter=50)

    def save(iteration: int, state: Any, score: Any) -> None:
        if iteration:
            raise RunError("disk full")

    made.save = save
    with pytest.raises(RunError, match="disk full"):
        made.run()
    assert "step 10" not in made.events


@pytest.mark.parametrize(("overlaps", "expected"), [(True, [0, 1, 1, 3, 3, 4]), (False, [0, 1, 2, 3, 4, 5])])
def test_an_iteration_is_told_while_the_next_computes_but_before_its_snapshot(
    overlaps: bool, expected: list[int], bench: Any
) -> None:
    made = bench(snapshot=3, max_iter=6)
    made.overlaps = overlaps
    logged: list[int] = []
    made.at = lambda iteration: logged.append(len(read_log(made.folder.log)))
    saved: list[int] = []
    made.save = lambda iteration, state, score: saved.append(len(read_log(made.folder.log)))
    made.run()
    assert logged == expected, "the first is told at once"
    assert saved == [0, 3, 6]


def failing_feed(made: Bench, good: int) -> Callable[[], Iterator[Fed]]:
    def feed() -> Iterator[Fed]:
        yield from itertools.islice(Bench.feed(made), good)
        raise DataError("a damaged picture")

    return feed


@pytest.mark.parametrize("overlaps", [True, False])
def test_the_last_iteration_is_logged_where_the_next_batch_fails(overlaps: bool, bench: Any) -> None:
    made = bench(max_iter=6)
    made.overlaps, made.feed = overlaps, failing_feed(made, 3)
    with pytest.raises(DataError, match="damaged"):
        made.run()
    assert [record["iteration"] for record in read_log(made.folder.log)] == [1, 2, 3]


def test_the_last_iteration_is_logged_where_the_next_fails(bench: Any) -> None:
    made = bench(max_iter=6)
    made.overlaps = True

    def fail(iteration: int) -> None:
        if iteration == 3:
            raise SpecError("too small")

    made.at = fail
    with pytest.raises(DataError, match="too small"):
        made.run()
    assert [record["iteration"] for record in read_log(made.folder.log)] == [1, 2, 3]
