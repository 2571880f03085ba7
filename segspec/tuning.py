"""Settings of the process that make training on a CPU faster; they must be in place before JAX first computes.

The C library gives large blocks of memory back to the system when they are freed, and every step faults them in anew.
It is told to keep them; `release_memory` gives back what a while of other work has left. `SEGSPEC_TUNE=0` in the
environment leaves everything as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys

VARIABLE = "SEGSPEC_TUNE"
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Names of glibc's mallopt for: bytes kept at the top of the heap, blocks mapped singly, heaps."""


def tune_process() -> None:
    """Tells the C library to keep freed memory, if it is glibc and the user did not opt out."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if _may_tune() else None
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def release_memory() -> None:
    """Gives memory that is free within the process back to the system; to be called when the kind of work changes.

    Compiling a step leaves some hundred megabytes free between small blocks that stay, where no array of a step fits.
    Does nothing where the user opted out, or where the C library cannot.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _may_tune() else None
    if trim is not None:
        trim(0)


def _may_tune() -> bool:
    return os.environ.get(VARIABLE) != "0" and sys.platform.startswith("linux")
