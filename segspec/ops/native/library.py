"""Where the library of native kernels is, and what it can do on this processor."""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from pathlib import Path

import jax

from segspec.errors import RunError

VARIABLE = "SEGSPEC_NATIVE"
VALUES = ("", "0", "none", "avx2", "avx512", "avx512_bf16", "amx")
"""What the variable may say: nothing, no library, no instructions it could use, or the best that it may use."""
LIBRARY = Path(__file__).with_name("libsegspec.so")
TARGETS = (
    "segspec_convolve",
    "segspec_weight_gradient",
    "segspec_sum_channels",
    "segspec_moments",
    "segspec_normalize_backward",
)
"""The library's functions that XLA calls."""
INTERFACE = 2
"""What the library answers if its functions take what this version gives them."""


@cache
def instructions() -> str:
    """The best instruction set in use: `avx2`, `avx512`, `avx512_bf16` or `amx`; empty where there is no library.

    Raises:
        RunError: the environment's variable says what nobody knows.
    """
    wish = os.environ.get(VARIABLE, "")
    if wish not in VALUES:
        hint = f"it may be {', '.join(VALUES[1:-1])} or {VALUES[-1]}, or be left out"
        raise RunError(f"the environment's {VARIABLE} is '{wish}'", hint=hint)
    if wish == "0" or not LIBRARY.exists():
        return ""
    try:
        if not _is_whole(LIBRARY):
            return ""
        library = ctypes.CDLL(str(LIBRARY))
        if library.segspec_interface() != INTERFACE:
            return ""
        for target in TARGETS:
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
        library.segspec_processor.restype = ctypes.c_char_p
        return str(library.segspec_processor().decode())
    except (OSError, AttributeError, RuntimeError, ValueError, struct.error):
        # Built for another JAX, from older sources, or by a compiler whose libraries are gone: as good as absent.
        return ""


def _is_whole(path: Path) -> bool:
    """Whether an ELF file of 64 bits is long enough for the segments that its header names.

    A library that lacks some, because a copy or a disk broke off, ends the process when it is loaded.
    """
    with path.open("rb") as file:
        header = file.read(64)
        start, size, count = *struct.unpack_from("<Q", header, 32), *struct.unpack_from("<HH", header, 54)
        file.seek(start)
        segments = file.read(size * count)
        ends = [sum(struct.unpack_from("<Q16xQ", segments, number * size + 8)) for number in range(count)]
        return header.startswith(b"\x7fELF\2\1") and max(ends, default=0) <= file.seek(0, os.SEEK_END)
