"""Where the library of native kernels is, and what it can do on this processor."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import jax

VARIABLE = "SEGSPEC_NATIVE"
LIBRARY = Path(__file__).with_name("libsegspec.so")
INTERFACE = 1
"""What the library answers if its functions take what this version gives them."""


@cache
def instructions() -> str:
    """The best instruction set in use: `avx2`, `avx512`, `avx512_bf16` or `amx`; empty where there is no library."""
    if os.environ.get(VARIABLE) == "0" or not LIBRARY.exists():
        return ""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        if library.segspec_interface() != INTERFACE:
            return ""
        for target in ("segspec_convolve", "segspec_weight_gradient"):
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
    except (OSError, AttributeError, RuntimeError, ValueError):
        # Built for another JAX, from older sources, or by a compiler whose libraries are gone: as good as absent.
        return ""
    library.segspec_processor.restype = ctypes.c_char_p
    return str(library.segspec_processor().decode())
