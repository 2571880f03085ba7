"""Suites of single operations: `pool`, `conv`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bench.contest import Team
from bench.contestants import Variants, plain_contestants
from bench.ops_task import convolution_tasks, pool_tasks
from bench.options import Options
from bench.results import Contest

POOLING: Variants = {
    "segspec": ("segspec", {}),
    "torch-nchw": ("torch", {"channels_last": False}),
    "torch-channels-last": ("torch", {"channels_last": True}),
}
CONVOLVING: Variants = {**POOLING, "pure-jax": ("segspec", {})}


def run_pool(options: Options) -> Iterator[Contest]:
    """Argmax pooling, unpooling, and the backward pass of each."""
    for precision in options.precisions:
        tasks = pool_tasks(max(options.sizes), options.batches[0], precision, options.device)
        if precision != "high":  # pooling multiplies nothing
            yield from _run("pool", POOLING, tasks, options)


def run_convolution(options: Options) -> Iterator[Contest]:
    """Convolutions of SegNet and SegNet-Basic: forward, input gradient, weight gradient."""
    for precision in options.precisions:
        tasks = convolution_tasks(max(options.sizes), options.batches[0], precision, options.device)
        yield from _run("conv", CONVOLVING, tasks, options)


def _run(suite: str, variants: Variants, tasks: Iterable[dict[str, Any]], options: Options) -> Iterator[Contest]:
    """Contests one after the other by the same workers, as few as there are contestants."""
    contestants = plain_contestants("ops", variants, options.device, options.torch_python)
    wanted = [each for each in contestants if not options.contestants or each.name in options.contestants]
    with Team(wanted, options.rules) as team:
        for task in tasks:
            options.rules.say(f"{suite}: {describe_op(task)}")
            yield team.contest(suite, task)


def describe_op(task: dict[str, Any]) -> str:
    """`weight-gradient 1x180x240x64 to 64, 7x7, float32`."""
    shape = "x".join(map(str, task["shape"]))
    filters = f" to {task['outputs']}, {task['kernel']}x{task['kernel']}" if "kernel" in task else ""
    return f"{task['op']} {shape}{filters}, {task['precision']}"
