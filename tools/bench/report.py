"""A bench's outcome as a page of Markdown: a table a suite, the machine it was measured on, and the bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.bars import PRECISIONS, Row, further_rows, main_rows
from bench.contest import show_seconds
from bench.figures import Spread
from bench.machine import explain_load
from bench.ops_task import flops
from bench.results import Contest, Entry
from bench.suite_nets import describe_net
from bench.suite_ops import describe_op
from bench.suite_scaling import find_growths

Cells = Sequence[str]


def page(documents: Sequence[Mapping[str, Any]], contests: Sequence[Contest], *, with_bars: bool) -> str:
    """The whole page.

    Args:
        documents: machine, options and time of every run that contests are from, as the JSON file has them.
        contests: what was measured.
        with_bars: whether it begins with the bars.
    """
    parts = ["# segspec beside PyTorch"]
    for document in documents:
        parts += [f"Measured {document['made']}:", _machine(document)]
        if busy := explain_load(document["machine"]):
            parts.append(f"**When it began, {busy}.**")
    if with_bars:
        parts += ["## Bars", bars(contests)]
    for suite in dict.fromkeys(contest.suite for contest in contests):
        parts += [f"## {suite}", _suite(suite, [contest for contest in contests if contest.suite == suite])]
    return "\n\n".join(parts) + "\n"


def bars(contests: Sequence[Contest]) -> str:
    """The two tables of what is asked, with the figures and whether they meet it."""
    title = "time over that of PyTorch's best, the same run"
    return "\n\n".join((table((title, *PRECISIONS), _cells(main_rows(contests))), _further(contests)))


def _further(contests: Sequence[Contest]) -> str:
    return table(("besides", "figure"), _cells(further_rows(contests)))


def _cells(rows: Iterable[Row]) -> Iterator[Cells]:
    for title, columns in rows:
        yield (title, *(" / ".join(cell.text for cell in cells) for cells in columns))


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """A table of Markdown, its columns in line so that it can be read as text."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _machine(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    memory = f"{machine['memory_bytes'] / 1e9:.0f} GB" if machine["memory_bytes"] else "unknown"
    facts = {
        "processor": f"{machine['cpu']}, {machine['usable_cores']} of {machine['cores']} cores, memory {memory}",
        "instructions": ", ".join(machine["cpu_flags"]) or "none of interest known",
        "GPU": ", ".join(machine["gpus"]) or "none",
        "system": f"{machine['system']}, Python {machine['python']}",
        "versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "commit": f"{machine['commit'] or 'unknown'}, {machine['changed_files']} files changed since",
        "environment": ", ".join(f"{key}={value}" for key, value in machine["environment"].items()) or "nothing set",
        "rounds": str(document["options"]["rounds"]),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _suite(suite: str, contests: Sequence[Contest]) -> str:
    head, columns = COLUMNS.get(suite, COLUMNS["train"])
    rows = [(*columns(contest, entry), *_ending(contest, entry)) for contest in contests for entry in contest.entries]
    text = table((*head, "time over best", "quartiles", "load"), rows)
    return f"{text}\n\n{_growths(contests)}" if suite == "scaling" else text


def _ending(contest: Contest, entry: Entry) -> Cells:
    """Ratio to PyTorch's best, with quartiles, and the load; or why it fell out."""
    load = " to ".join(f"{value:g}" for value in contest.load)
    if entry.error:
        return (f"fell out: {entry.error.replace('|', '/')}", "", load)
    ratio = contest.ratio(entry.name)
    if ratio is None:
        return ("", "", load)
    mark = " (best)" if entry.name == ratio.to else ""
    return (f"{ratio.spread.median:.2f}{mark}", _range(ratio.spread), load)


def _range(found: Spread) -> str:
    return f"{found.low:.2f} to {found.high:.2f}"


def _time(entry: Entry) -> str:
    return show_seconds(entry.median) if entry.spread else ""


def _megabytes(count: float | None) -> str:
    return f"{count / 1e6:,.0f} MB" if count else ""


def _of_net(contest: Contest, entry: Entry) -> Cells:
    native = sum((entry.info.get("custom_calls") or {}).values())
    names = entry.name + (f" ({native} native calls)" if native else "")
    ratio = contest.memory_ratio(entry.name)
    peak = _megabytes(entry.peak) + (f" ({ratio:.2f})" if ratio else "")
    return (describe_net(dict(contest.task)), names, _time(entry), peak)


def _of_scaling(contest: Contest, entry: Entry) -> Cells:
    before = entry.info.get("bytes_before_first_step")
    grown = entry.peak - before if entry.peak and before else None
    return (*_of_net(contest, entry), _megabytes(grown))


def _of_operation(contest: Contest, entry: Entry) -> Cells:
    count = flops(contest.task)
    speed = f"{count / entry.median / 1e9:,.0f}" if count and entry.spread else ""
    return (describe_op(dict(contest.task)), entry.name, _time(entry), speed)


def _of_loader(contest: Contest, entry: Entry) -> Cells:
    speed = f"{entry.info['images'] / entry.median:,.0f}" if entry.spread else ""
    height, width = contest.task["size"]
    return (f"{contest.task['op']}, {height}x{width}", entry.name, speed)


def _of_start(contest: Contest, entry: Entry) -> Cells:
    stages = ", ".join(f"{name} {show_seconds(value)}" for name, value in entry.info.items() if name != "loss")
    return (f"{contest.task['command']}, {contest.task['network']}", entry.name, _time(entry), stages)


COLUMNS: Mapping[str, tuple[Cells, Callable[[Contest, Entry], Cells]]] = {
    "train": (("task", "contestant", "median", "peak memory (over PyTorch's least)"), _of_net),
    "scaling": (("task", "contestant", "median", "peak memory", "beyond the start"), _of_scaling),
    "pool": (("task", "contestant", "median", "GFLOP/s"), _of_operation),
    "conv": (("task", "contestant", "median", "GFLOP/s"), _of_operation),
    "data": (("task", "contestant", "images/s"), _of_loader),
    "startup": (("task", "contestant", "median", "stages"), _of_start),
}
"""The columns before the ratio of each suite; those of `train` serve the others."""


def _growths(contests: Sequence[Contest]) -> str:
    rows = [
        (f"{found.network} by {found.axis}", found.name, _power(found.time), _power(found.memory), str(found.points))
        for found in find_growths(contests)
    ]
    return table(("exponent of growth", "contestant", "time", "memory", "points"), rows)


def _power(exponent: float | None) -> str:
    return "" if exponent is None else f"{exponent:.2f}"
