"""Suites between networks: `train` and `infer`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from bench.contest import Team
from bench.contestants import net_contestants
from bench.options import Options
from bench.results import Contest, Entry


def run_train(options: Options) -> Iterator[Contest]:
    """Iterations of a training, at every combination of what the options name."""
    return _run("train", options)


def run_infer(options: Options) -> Iterator[Contest]:
    """From images on the device to the class of each pixel."""
    return _run("infer", options)


def _run(action: str, options: Options) -> Iterator[Contest]:
    combinations = product(options.networks, options.sizes, options.batches, options.precisions)
    for network, size, batch, precision in combinations:
        task = {
            "action": action,
            "network": network,
            "size": list(size),
            "batch": batch,
            "precision": precision,
            "device": options.device,
        }
        yield run_net(action, task, options)


def run_net(suite: str, task: dict[str, Any], options: Options) -> Contest:
    """One contest between networks."""
    options.rules.say(f"{suite}: {describe_net(task)}")
    names = (options.contestants, options.torch_python)
    contestants = net_contestants(task["precision"], task["device"], *names)
    with Team(contestants, options.rules) as team:
        return refuse_other_networks(team.contest(suite, task))


def describe_net(task: dict[str, Any]) -> str:
    """`segnet 180x240, batch 1, float32`."""
    height, width = task["size"]
    return f"{task['network']} {height}x{width}, batch {task['batch']}, {task['precision']}"


def refuse_other_networks(contest: Contest) -> Contest:
    """The contest without those of PyTorch whose network learns more or fewer numbers than the spec's."""
    ours = [entry.info["parameters"] for entry in contest.entries if entry.family == "segspec" and entry.spread]
    if not ours:
        return contest
    return replace(contest, entries=tuple(_checked(entry, ours[0]) for entry in contest.entries))


def _checked(entry: Entry, expected: int) -> Entry:
    found = entry.info.get("parameters")
    if entry.error or found == expected:
        return entry
    return replace(entry, error=f"another network: {found} parameters, where the spec has {expected}")
