"""What to say when the memory of the device is full."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from segspec.errors import RunError

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@contextmanager
def explain_full_memory(batch_size: int) -> Iterator[None]:
    """Turns JAX's error for a full memory into a RunError that says how much was asked for, and for what batches.

    The arrays of a step are one request, which grows with the batch; so a batch smaller in the measure of what is free
    is expected to fit.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise _full(batch_size, _requested(str(error)), _free()) from None


def _full(batch_size: int, requested: int | None, free: int | None) -> RunError:
    asked = f", which asked for {_gigabytes(requested)}" if requested else ""
    there = f" where {_gigabytes(free)} are free" if requested and free is not None else ""
    message = f"out of memory with a batch of {batch_size} image{'s' * (batch_size > 1)}{asked}{there}"
    if batch_size == 1:
        return RunError(message, hint="train on smaller images (new_height and new_width, or crop_size)")
    fitting = max(1, batch_size // 2)
    if requested and free is not None and free < requested:
        fitting = max(1, min(batch_size - 1, batch_size * free // requested))
    hint = f"lower the batch: --set data.train.batch_size={fitting}, and raise the solver's iter_size in return"
    return RunError(message, hint=hint)


def _requested(text: str) -> int | None:
    """The bytes that the message of JAX says were asked for."""
    found = re.search(r"allocat\w+ (\d+(?:\.\d+)?) ?(bytes|[KMGT]iB)", text)
    return int(float(found[1]) * _UNITS[found[2]]) if found else None


def _free() -> int | None:
    """Free bytes of the first device, or of the machine where that is the CPU."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"]) - int(statistics.get("bytes_in_use", 0))
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
