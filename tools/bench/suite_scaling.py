"""The suite `scaling`: how time and memory grow with pixels and with the batch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bench.contest import RESERVE, Contestant, Rules, Team
from bench.contestants import net_contestants
from bench.figures import log_slope
from bench.machine import free_memory
from bench.options import Options
from bench.results import Contest, Entry
from bench.suite_nets import describe_net

SIZES = ((90, 120), (180, 240), (360, 480), (720, 960))
BATCHES = (1, 2, 4, 8)
BATCH_SIZE = (180, 240)
"""Size of the images at which the batch grows."""

CONTESTANTS = ("segspec", "torch-channels-last")
ROUNDS = 3


def run_scaling(options: Options) -> Iterator[Contest]:
    """Trainings that grow in size at batch 1, then in batch at one size, in the first precision of the options."""
    names = options.contestants or CONTESTANTS
    rules = replace(options.rules, rounds=min(ROUNDS, options.rules.rounds))
    options = replace(options, contestants=names, rules=rules)
    sizes, batches = (SIZES[:2], BATCHES[:2]) if options.quick else (SIZES, BATCHES)
    base = BATCH_SIZE if BATCH_SIZE in sizes else sizes[0]
    for network in options.networks:
        yield from _grow(network, [("size", size, 1) for size in sizes], options)
        yield from _grow(network, [("batch", base, batch) for batch in batches], options)


def _grow(network: str, steps: Sequence[tuple[str, tuple[int, int], int]], options: Options) -> Iterator[Contest]:
    """Contests of growing tasks; a contestant takes part as long as its next task is expected to fit into memory."""
    before: Contest | None = None
    for axis, size, batch in steps:
        task: dict[str, Any] = {
            "action": "train",
            "network": network,
            "axis": axis,
            "size": list(size),
            "batch": batch,
            "precision": options.precisions[0],
            "device": options.device,
        }
        options.rules.say(f"scaling by {axis}: {describe_net(task)}")
        before = _contest(task, before, options)
        yield before


def _contest(task: dict[str, Any], before: Contest | None, options: Options) -> Contest:
    """One contest, each contestant in a process that has nothing else in memory, and with no other beside it."""
    entries: list[Entry] = []
    load: tuple[float, ...] = ()
    names = (options.contestants, options.torch_python)
    for contestant in net_contestants(task["precision"], task["device"], *names):
        reason = None if before is None else refuse_size(before, contestant.name, pixels(task), free_memory())
        if reason is not None and task["device"] == "cpu":
            options.rules.say(f"  {contestant.name}: left out: {reason}")
            entries.append(Entry(contestant.name, contestant.family, error=reason))
            continue
        found = _measure(contestant, task, options.rules)
        entries.extend(found.entries)
        load = (*load[:1], *found.load[len(load[:1]) :])
    return Contest("scaling", task, tuple(entries), load)


def _measure(contestant: Contestant, task: dict[str, Any], rules: Rules) -> Contest:
    """A contest of one. Its programs are compiled by a process before: compiling takes memory of its own."""
    with tempfile.TemporaryDirectory() as folder:
        warm = replace(contestant, environment={**contestant.environment, "SEGSPEC_CACHE": folder})
        if contestant.family == "segspec":
            with Team([warm], replace(rules, rounds=0)) as team:
                team.contest("scaling", task)
        with Team([warm], rules) as team:
            return team.contest("scaling", task)


def refuse_size(before: Contest, name: str, wanted: int, free: int | None) -> str | None:
    """Why a contestant had better not try so many pixels after an earlier contest, or None."""
    earlier = before.entry(name)
    if earlier is None:
        return "it did not come through the smaller task"
    if earlier.peak is None or free is None:
        return None
    expected = earlier.peak * wanted / pixels(before.task)
    if expected * RESERVE <= free:
        return None
    return f"expected to need {expected / 1e9:.1f} GB of memory, where {free / 1e9:.1f} GB are free"


def pixels(task: Mapping[str, Any]) -> int:
    """Pixels of a batch."""
    height, width = task["size"]
    return int(height * width * task["batch"])


class Growth(NamedTuple):
    """How a contestant's cost grows with the pixels of a batch.

    Attributes:
        network, axis, name: of what it was fitted to.
        time: exponent of the seconds of an iteration.
        memory: exponent of the bytes beyond those held before the first iteration.
        points: contests it was fitted to.
    """

    network: str
    axis: str
    name: str
    time: float | None
    memory: float | None
    points: int


def find_growths(contests: Sequence[Contest]) -> list[Growth]:
    """The exponents of every network, axis and contestant that there are contests of."""
    keys: dict[tuple[str, str, str], None] = {}
    for contest in contests:
        if contest.suite == "scaling":
            task = contest.task
            keys.update({(task["network"], task["axis"], entry.name): None for entry in contest.entries})
    return [_growth(contests, *key) for key in keys]


def _growth(contests: Sequence[Contest], network: str, axis: str, name: str) -> Growth:
    points = [
        (pixels(contest.task), entry)
        for contest in contests
        if contest.suite == "scaling" and (contest.task["network"], contest.task["axis"]) == (network, axis)
        if (entry := contest.entry(name)) is not None
    ]
    x = [count for count, _ in points]
    time = log_slope(x, [entry.median for _, entry in points])
    memory = log_slope(x, [_beyond_start(entry) for _, entry in points])
    return Growth(network, axis, name, time, memory, len(points))


def _beyond_start(entry: Entry) -> float:
    """Bytes of the peak that were not yet held before the first iteration; 0 where that is not known."""
    before = entry.info.get("bytes_before_first_step")
    return float(entry.peak - before) if entry.peak and before else 0.0
