"""A contestant's process from within: `python -m bench.serve KIND` does what standard input asks.

Requests and answers are lines of JSON. `{"open": task}` prepares a task and warms up, `{"repeat": n}` does it n times
and says how many seconds each took, the end of input ends the process. What goes wrong is answered with `error`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any, TextIO

from bench.case import Case, Memory
from bench.machine import peak_resident, resident

KINDS = ("net_segspec", "net_torch", "ops_segspec", "ops_torch", "data_segspec", "data_torch")
WARM_STEPS = 3


def main(kind: str) -> int:
    """Serves until standard input ends."""
    answers = _keep_stdout()
    if kind.endswith("segspec"):
        # As the command line does before it imports anything of JAX.
        from segspec.tuning import tune_process

        tune_process()
    module = import_module(f"bench.{kind}")
    case: Case | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "open" in request:
                case = None
                case, answer = _open(module.open_case, request["open"])
            else:
                assert case is not None
                answer = _measure(case, request["repeat"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


def _keep_stdout() -> TextIO:
    """Standard output for answers alone: what libraries print there goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _open(open_case: Any, task: Mapping[str, Any]) -> tuple[Case, dict[str, Any]]:
    """A task made ready: compiled, and done a few times."""
    began = time.perf_counter()
    case: Case = open_case(task)
    before = _memory(case)
    seconds = [_timed(case) for _ in range(WARM_STEPS)]
    info = {
        **case.info,
        "seconds_before_first_step": time.perf_counter() - began - sum(seconds),
        "seconds_of_first_step": seconds[0],
        "bytes_before_first_step": before.held,
    }
    return case, {"info": info, "seconds": seconds[-1], "peak": _memory(case).peak}


def _measure(case: Case, repeat: int) -> dict[str, Any]:
    case.begin_turn()
    seconds = [_timed(case) for _ in range(repeat)]
    return {"seconds": seconds, "peak": _memory(case).peak, "last": case.last}


def _memory(case: Case) -> Memory:
    """Of the device, else of this process."""
    return case.device_memory() or Memory(resident() or 0, peak_resident())


def _timed(case: Case) -> float:
    began = time.perf_counter()
    case.last = case.step()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
