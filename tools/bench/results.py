"""What a bench found, as it stands in its JSON file: contests, their contestants, and ratios between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from bench.figures import Spread, pair_ratios, spread

Task = Mapping[str, Any]
"""What all contestants of a contest do: network, size, batch, precision, device; or the operation and its shapes."""


@dataclass(frozen=True)
class Entry:
    """A contestant's outcome in one contest.

    Attributes:
        name: of the contestant.
        family: `segspec` or `torch`.
        values: seconds, one a round.
        peak: most bytes held: resident in the process, or on the device where that is a GPU. None: not measured.
        info: what the contestant tells of itself, such as how many parameters its net has.
        error: why it fell out, or None.
    """

    name: str
    family: str
    values: tuple[float, ...] = ()
    peak: int | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @cached_property
    def spread(self) -> Spread | None:
        """The quartiles of its seconds; None where it fell out."""
        return None if self.error or not self.values else spread(self.values)

    @property
    def median(self) -> float:
        """Seconds; infinite where it fell out."""
        return self.spread.median if self.spread else float("inf")


class Ratio(NamedTuple):
    """One contestant's time over another's.

    Attributes:
        of, to: their names.
        pairs: one ratio a round.
    """

    of: str
    to: str
    pairs: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """The quartiles of the pairs."""
        return spread(self.pairs)


@dataclass(frozen=True)
class Contest:
    """One task, done by all contestants in turn.

    Attributes:
        suite: which part of the bench it belongs to.
        task: what was done.
        entries: one a contestant.
        load: the machine's load average over a minute, before and after.
    """

    suite: str
    task: Task
    entries: tuple[Entry, ...]
    load: tuple[float, ...] = ()

    def entry(self, name: str) -> Entry | None:
        """A contestant's outcome, if it took part and came through."""
        return next((entry for entry in self.entries if entry.name == name and entry.spread), None)

    @cached_property
    def best(self) -> Entry | None:
        """PyTorch's fastest contestant of this run."""
        there = [entry for entry in self.entries if entry.family == "torch" and entry.spread]
        return min(there, key=lambda entry: entry.median, default=None)

    def ratio(self, name: str) -> Ratio | None:
        """A contestant's time over that of PyTorch's best, pair by pair."""
        ours, theirs = self.entry(name), self.best
        if ours is None or theirs is None:
            return None
        return Ratio(name, theirs.name, pair_ratios(ours.values, theirs.values))

    def memory_ratio(self, name: str) -> float | None:
        """A contestant's peak over the smallest of PyTorch's."""
        ours = self.entry(name)
        peaks = [entry.peak for entry in self.entries if entry.family == "torch" and entry.spread and entry.peak]
        return ours.peak / min(peaks) if ours and ours.peak and peaks else None


def as_json(contest: Contest) -> dict[str, Any]:
    """A contest with its medians and ratios, as the file has it."""
    ratios = [ratio for entry in contest.entries if entry.family != "torch" and (ratio := contest.ratio(entry.name))]
    return {
        "suite": contest.suite,
        "task": dict(contest.task),
        "load": list(contest.load),
        "contestants": [_entry_json(entry) for entry in contest.entries],
        "best": contest.best.name if contest.best else None,
        "ratios": [{**ratio._asdict(), **_spread_json(ratio.spread)} for ratio in ratios],
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "family": entry.family,
        "values": list(entry.values),
        **_spread_json(entry.spread),
        "peak_bytes": entry.peak,
        "info": dict(entry.info),
        "error": entry.error,
    }


def _spread_json(found: Spread | None) -> dict[str, float | list[float] | None]:
    return {"median": found.median if found else None, "quartiles": [found.low, found.high] if found else None}


def contests_of(document: Mapping[str, Any]) -> Sequence[Contest]:
    """The contests of a file that `as_json` made entries of; raises KeyError or TypeError where it is another."""
    return [
        Contest(item["suite"], item["task"], tuple(map(_entry_of, item["contestants"])), tuple(item["load"]))
        for item in document["contests"]
    ]


def _entry_of(item: Mapping[str, Any]) -> Entry:
    values = tuple(item["values"])
    return Entry(item["name"], item["family"], values, item["peak_bytes"], item["info"], item["error"])
