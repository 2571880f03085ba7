"""What to say when the memory of the device is full, or is going to be."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from segspec.errors import Diagnostic, RunError
from segspec.graph.memory import Setting, predict_memory
from segspec.train.session import Plan

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_MACHINE = Path("/proc/meminfo")
_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where versions 2 and 1 of Linux's control groups tell a container's limit and what is in use of it."""


def find_full_memory(plan: Plan) -> tuple[Diagnostic, ...]:
    """A warning where the iterations of a training will not find the memory that they are predicted to take.

    On a CPU nothing else would be said: the system kills a process that takes more than there is. Weights and histories
    are expected to be in memory already.
    """
    batch, free = plan.data.batch_size, _free()
    needed = iteration_bytes(plan, batch)
    if free is None or needed <= free:
        return ()
    message = (
        f"an iteration with a batch of {batch} image{'s' * (batch > 1)} takes about {_gigabytes(needed)}, "
        f"and {_gigabytes(free)} are free"
    )
    return (Diagnostic(message, severity="warning", hint=_lower(fitting_batch(plan, free), batch)),)


def iteration_bytes(plan: Plan, images: int) -> int:
    """What an iteration takes of memory beside weights and histories, for batches of so many images."""
    memory = predict_memory(plan.graph, Setting.of(plan.solver, images))
    return memory.batches + memory.step


def fitting_batch(plan: Plan, free: int) -> int | None:
    """The largest batch smaller than the plan's whose iterations take no more than so many bytes, or None."""
    fitting = bisect_right(range(1, plan.data.batch_size), free, key=lambda images: iteration_bytes(plan, images))
    return fitting or None


@contextmanager
def explain_full_memory(batch_size: int, fits: Callable[[int], int | None] | None = None) -> Iterator[None]:
    """Turns JAX's error for a full memory into a RunError that says how much was asked for, and for what batches.

    Args:
        batch_size: images in a batch.
        fits: from free bytes to a batch that fits, see `fitting_batch`; by default the batch is lowered as much as what
            is free falls short of what was asked for.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        requested, free = _requested(str(error)), _free()
        fitting = None if fits is None or free is None else fits(free)
        raise _full(batch_size, requested, free, fitting) from None


def _full(batch_size: int, requested: int | None, free: int | None, fitting: int | None) -> RunError:
    asked = f", which asked for {_gigabytes(requested)}" if requested else ""
    there = f" where {_gigabytes(free)} are free" if requested and free is not None else ""
    message = f"out of memory with a batch of {batch_size} image{'s' * (batch_size > 1)}{asked}{there}"
    if fitting is None:
        fitting = max(1, batch_size // 2)
        if requested and free is not None and free < requested:
            fitting = max(1, min(batch_size - 1, batch_size * free // requested))
    return RunError(message, hint=_lower(fitting, batch_size))


def _lower(fitting: int | None, batch_size: int) -> str:
    """What to do about a batch that does not fit."""
    if batch_size == 1 or fitting is None:
        return "train on smaller images (new_height and new_width, or crop_size), or with the solver's remat: blocks"
    return f"lower the batch: --set data.train.batch_size={fitting}, and raise the solver's iter_size in return"


def _requested(text: str) -> int | None:
    """The bytes that the message of JAX says were asked for."""
    found = re.search(r"allocat\w+ (\d+(?:\.\d+)?) ?(bytes|[KMGT]iB)", text)
    return int(float(found[1]) * _UNITS[found[2]]) if found else None


def _free() -> int | None:
    """Free bytes of the first device, or of the machine and the container where that is the CPU; None: unknown."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"]) - int(statistics.get("bytes_in_use", 0))
    known = [each for each in (_free_of_machine(), *map(_free_of_group, _GROUPS)) if each is not None]
    return min(known, default=None)


def _free_of_machine() -> int | None:
    """What programs can have, caches that the system would give up included."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _text(_MACHINE))
    return 1024 * int(found[1]) if found else None


def _free_of_group(place: tuple[str, str, str]) -> int | None:
    """What is left of a container's limit, if it has one; what is kept of files can be given up."""
    folder, *names = place
    limit, used = (_text(Path(folder) / name).strip() for name in names)
    if not limit.isdecimal() or not used.isdecimal():
        return None
    files = re.findall(r"^(?:in)?active_file (\d+)$", _text(Path(folder) / "memory.stat"), re.MULTILINE)
    return max(0, int(limit) - int(used) + sum(map(int, files)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
