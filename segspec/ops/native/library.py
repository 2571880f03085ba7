"""Where the library of native kernels is, and what it can do on this processor."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import jax

from segspec.errors import RunError

VARIABLE = "SEGSPEC_NATIVE"
VALUES = ("", "0", "none", "avx2", "avx512", "avx512_bf16", "amx")
"""What the variable may say: nothing, no library, no instructions it could use, or the best that it may use."""
LIBRARY = Path(__file__).with_name("libsegspec.so")
INTERFACE = 1
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
        library = ctypes.CDLL(str(LIBRARY))
        if library.segspec_interface() != INTERFACE:
            return ""
        for target in ("segspec_convolve", "segspec_weight_gradient"):
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(library, target)), platform="cpu")
        library.segspec_processor.restype = ctypes.c_char_p
        return str(library.segspec_processor().decode())
    except (OSError, AttributeError, RuntimeError, ValueError):
        # Built for another JAX, from older sources, or by a compiler whose libraries are gone: as good as absent.
        return ""
