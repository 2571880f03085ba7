"""A training's way to its first loss, stage by stage: `python -m bench.stages FAMILY TASK` prints a line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from bench.net_task import NetTask


def main(family: str, settings: dict[str, Any]) -> int:
    """Prints seconds by stage once the first loss is known."""
    marks = {"start": time.perf_counter()}

    def mark(name: str) -> None:
        marks[name] = time.perf_counter()

    loss = {"segspec": _segspec, "torch": _torch}[family](settings, mark)
    times = list(marks.items())
    stages = {name: now - before for (_, before), (name, now) in pairwise(times)}
    print(json.dumps({**stages, "loss": loss}), flush=True)
    return 0


def _segspec(settings: dict[str, Any], mark: Callable[[str], None]) -> float:
    """As `segspec train` does, but tracing, compiling and computing one after the other."""
    from segspec.tuning import tune_process

    tune_process()
    import jax
    import jax.numpy as jnp

    from bench.net_segspec import open_training

    mark("import")
    run, state, batches, _ = open_training(NetTask.of(settings))
    mark("build")
    lowered = run.lower(state, batches, jnp.int32(0))
    mark("trace")
    compiled = lowered.compile()
    mark("compile")
    loss = float(jax.block_until_ready(compiled(state, batches, jnp.int32(0)))[1]["loss"])
    mark("first step")
    return loss


def _torch(settings: dict[str, Any], mark: Callable[[str], None]) -> float:
    from bench.net_torch import open_case

    mark("import")
    case = open_case(settings)
    mark("build")
    loss = case.step()
    mark("first step")
    assert loss is not None
    return loss


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
