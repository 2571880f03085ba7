"""Contests between whole programs: how long after its start a command says a certain thing, or ends."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.contest import SETTLE_SECONDS, Rules, show_seconds
from bench.machine import load_average
from bench.results import Contest, Entry, Task
from bench.worker import SHOWN_LETTERS, describe_status, environment_of


@dataclass(frozen=True)
class Launch:
    """A program that is started again and again.

    Attributes:
        name: unique in its contest.
        family: `segspec` or `torch`.
        command: its command line.
        until: the text that ends the time, in a line of its output; empty: its end.
        environment: changes of the environment.
        emptied: folders that are removed before each start.
    """

    name: str
    family: str
    command: tuple[str, ...]
    until: str = ""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    emptied: tuple[Path, ...] = ()


class LaunchError(Exception):
    """A program ended without saying what it was started for; the text says why."""


def race(suite: str, task: Task, launches: Sequence[Launch], rules: Rules, *, warm_up: bool) -> Contest:
    """Starts every program once a round in a random order, one at a time.

    Args:
        suite, task: of the contest.
        launches: who takes part.
        rules: its rules.
        warm_up: whether each is started once before, outside the time.
    """
    before, order = load_average(), random.Random(rules.seed)
    values: dict[str, list[float]] = {launch.name: [] for launch in launches}
    stages: dict[str, list[dict[str, float]]] = {launch.name: [] for launch in launches}
    errors: dict[str, str] = {}
    for number in range(0 if warm_up else 1, rules.rounds + 1):
        able = [launch for launch in launches if launch.name not in errors]
        for launch in order.sample(able, len(able)):
            time.sleep(SETTLE_SECONDS)
            try:
                seconds, line = run_until(launch, rules.patience)
            except (LaunchError, OSError) as error:
                errors[launch.name] = str(error)
                rules.say(f"  {launch.name}: fell out: {error}")
                continue
            if number:
                values[launch.name].append(seconds)
                stages[launch.name].append(_stages(line))
                median = show_seconds(statistics.median(values[launch.name]))
                rules.say(f"  {launch.name}: round {number} of {rules.rounds}, median {median}")

    def entry(launch: Launch) -> Entry:
        name = launch.name
        return Entry(name, launch.family, tuple(values[name]), None, _medians(stages[name]), errors.get(name))

    return Contest(suite, task, tuple(map(entry, launches)), (before, load_average()))


def run_until(launch: Launch, patience: float) -> tuple[float, str]:
    """Seconds from a program's start until it said what it was started for, and the line that said so.

    Raises:
        LaunchError: it ended, or the patience did, before it said so; or it failed.
    """
    for folder in launch.emptied:
        shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    process = subprocess.Popen(
        launch.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment_of(launch.environment),
        start_new_session=True,
    )
    try:
        return _watch(process, launch.until, began, patience)
    finally:
        _end(process)


def _watch(process: subprocess.Popen[str], until: str, began: float, patience: float) -> tuple[float, str]:
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        seconds = time.perf_counter() - began
        if until and until in line:
            return seconds, line
        if seconds > patience:
            raise LaunchError(f"not ready within {patience:g} seconds")
        last = line.strip() or last
    status = process.wait()
    if until or status:
        raise LaunchError(f"{describe_status(status)}: {last[-SHOWN_LETTERS:]}")
    return time.perf_counter() - began, last


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a program and all that it started."""
    assert process.stdout is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def _stages(line: str) -> dict[str, float]:
    """What a program says of the parts of its start, if its line is such an account."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _medians(stages: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The median of each number that all accounts have."""
    names = [name for name, value in (stages[0] if stages else {}).items() if isinstance(value, int | float)]
    return {name: statistics.median(stage[name] for stage in stages) for name in names}
