"""A contest: workers take turns, each once a round in a random order, while all others idle."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from bench.figures import spread
from bench.machine import free_memory, load_average
from bench.results import Contest, Entry, Task
from bench.worker import DeadError, FailedError, Worker

SETTLE_SECONDS = 0.05
"""Between turns: threads of the last worker that spin for work have gone to sleep by then."""

MOST_REPEATS = 50
RESERVE = 1.2
"""What is expected to need more than the free memory over this factor is not tried."""


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        name: unique in its contest.
        family: `segspec` or `torch`.
        command: the command line of its worker.
        environment: changes of the environment, None: without the variable.
        settings: added to the task that its worker is asked to do.
    """

    name: str
    family: str
    command: tuple[str, ...]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """How a contest is run.

    Attributes:
        rounds: turns of each contestant.
        turn_seconds: what a turn takes at least; quick tasks are repeated in it, up to 50 times, and averaged.
        patience: seconds after which a worker that does not answer is given up.
        seed: of the random orders.
        say: is told of progress, a line a time.
    """

    rounds: int = 7
    turn_seconds: float = 0.3
    patience: float = 1800.0
    seed: int = 0
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)


@dataclass
class _Turns:
    """What a contestant has to show in a contest under way."""

    info: dict[str, Any] = field(default_factory=dict)
    repeat: int = 1
    values: list[float] = field(default_factory=list)
    peak: int | None = None
    error: str | None = None


class Team:
    """Contestants with their workers, for one contest or several; use it in a `with` statement."""

    def __init__(self, contestants: Sequence[Contestant], rules: Rules):
        self.contestants = contestants
        self.rules = rules
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.close()

    def contest(self, suite: str, task: Task) -> Contest:
        """Does a task with every contestant. One that dies is reported with its reason; the others go on."""
        before, order = load_average(), random.Random(self.rules.seed)
        turns: dict[str, _Turns] = {}
        for contestant in self.contestants:
            most = max((each.peak or 0 for each in turns.values()), default=0)
            turns[contestant.name] = self._open(contestant, task, most)
        for number in range(self.rules.rounds):
            able = [contestant for contestant in self.contestants if turns[contestant.name].error is None]
            for contestant in order.sample(able, len(able)):
                time.sleep(SETTLE_SECONDS)
                self._turn(contestant, turns[contestant.name], number)
        entries = tuple(_entry(contestant, turns[contestant.name]) for contestant in self.contestants)
        return Contest(suite, task, entries, (before, load_average()))

    def _open(self, contestant: Contestant, task: Task, most: int) -> _Turns:
        """Starts a contestant's worker, if it has none, and has it warm up; `most` bytes are what others needed."""
        turns = _Turns()
        if reason := refuse_beside(most, free_memory(), task.get("device")):
            self._fail(contestant, turns, MemoryError(reason))
            return turns
        try:
            answer = self._worker(contestant).ask({"open": {**task, **contestant.settings}})
        except (DeadError, FailedError, OSError) as error:
            self._fail(contestant, turns, error)
            return turns
        turns.info, turns.peak = answer["info"], answer["peak"]
        turns.repeat = repeats(answer["seconds"], self.rules.turn_seconds)
        self.rules.say(f"  {contestant.name}: ready, {show_seconds(answer['seconds'])}")
        return turns

    def _worker(self, contestant: Contestant) -> Worker:
        worker = self._workers.get(contestant.name)
        if worker is not None and worker.is_alive:
            return worker
        if worker is not None:
            worker.close()
        worker = Worker(contestant.command, contestant.environment, self.rules.patience)
        self._workers[contestant.name] = worker
        return worker

    def _turn(self, contestant: Contestant, turns: _Turns, number: int) -> None:
        try:
            answer = self._workers[contestant.name].ask({"repeat": turns.repeat})
        except (DeadError, FailedError) as error:
            self._fail(contestant, turns, error)
            return
        turns.values.append(sum(answer["seconds"]) / len(answer["seconds"]))
        turns.peak = answer["peak"]
        turns.info["last"] = answer["last"]
        median = show_seconds(spread(turns.values).median)
        self.rules.say(f"  {contestant.name}: round {number + 1} of {self.rules.rounds}, median {median}")

    def _fail(self, contestant: Contestant, turns: _Turns, error: Exception) -> None:
        turns.error = str(error)
        self.rules.say(f"  {contestant.name}: fell out: {error}")


def _entry(contestant: Contestant, turns: _Turns) -> Entry:
    info = {**turns.info, "repeat": turns.repeat}
    return Entry(contestant.name, contestant.family, tuple(turns.values), turns.peak, info, turns.error)


def refuse_beside(needed: int, free: int | None, device: str | None) -> str | None:
    """Why one more worker that may need so many bytes cannot be started beside the others, or None."""
    if device == "gpu" or free is None or needed * RESERVE <= free:
        return None
    return f"may need {needed / 1e9:.1f} GB of memory beside the others, where {free / 1e9:.1f} GB are free"


def repeats(seconds: float, turn_seconds: float) -> int:
    """How often a task of so many seconds is done in a turn."""
    return max(1, min(MOST_REPEATS, math.ceil(turn_seconds / max(seconds, 1e-9))))


def show_seconds(seconds: float) -> str:
    """`1.23 s`, `45.6 ms` or `78.9 us`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e6:.3g} us"
