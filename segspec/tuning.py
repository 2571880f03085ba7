"""Settings of the process that make training on a CPU faster; they must be in place before JAX first computes.

Two of them, each with the reason it is there:

* XLA hands convolutions on a CPU to a library whose weight gradients are slow (2.4 times the time of a whole training
  step of SegNet's 7x7 convolutions). One flag keeps convolutions out of it. The flag is experimental, and an unknown
  flag would end the process, so it is set for the versions of jaxlib it was tried with and no others.
* The C library gives large blocks of memory back to the system when they are freed, and every step faults them in anew.
  It is told to keep them; `release_memory` gives back what a while of other work has left.

`SEGSPEC_TUNE=0` in the environment leaves everything as it is; flags that the user set himself win.
"""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.metadata import PackageNotFoundError, version

VARIABLE = "SEGSPEC_TUNE"
_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_TRIED = ("0.10.",)
"""Beginnings of the versions of jaxlib that know the flag."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Names of glibc's mallopt for: bytes kept at the top of the heap, blocks mapped singly, heaps."""


def tune_process() -> None:
    """Applies the settings, unless the user opted out. Does nothing where they are not known to help."""
    if not _may_tune():
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if _jaxlib().startswith(_TRIED) and _FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_FLAG}=-individual_convolution".strip()
    _keep_memory()


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


def _jaxlib() -> str:
    try:
        return version("jaxlib")
    except PackageNotFoundError:
        return ""


def _keep_memory() -> None:
    """Tells glibc to keep freed memory; other C libraries have no mallopt and are left alone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
