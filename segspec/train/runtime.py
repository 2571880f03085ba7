"""How JAX is set up before anything is compiled: device, cache of compiled programs, precision, memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

import jax

from segspec.cache import cache_folder
from segspec.errors import RunError
from segspec.spec.solver import Precision, Solver

MATMUL: dict[Precision, str | None] = {"float32": "highest", "high": "high", "bfloat16": None}
"""JAX's name of each precision, strictest first; its own default, None, is TF32 or bfloat16 where that is quicker."""
_ASYNCHRONOUS = "jax_cpu_enable_async_dispatch"
"""A setting that versions of JAX have and may lose."""


def prepare(solver: Solver | None = None) -> None:
    """Sets JAX up for a command; called once, before the first computation. Without a solver, float32 is strict.

    Compiled programs are kept in `jax` of the cache folder, if there is one, so that a second start compiles nothing.

    Raises:
        RunError: the solver asks for a kind of device that JAX does not find.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
    # A CPU would set about a step while the arrays of the last one wait to be freed, and hold both.
    if _ASYNCHRONOUS in jax.config.values:
        jax.config.update(_ASYNCHRONOUS, False)
    folder = cache_folder()
    if folder is not None:
        # JAX warns of an entry that a killed process left torn, and of a folder it cannot write to; it then compiles.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache", UserWarning)
        jax.config.update("jax_compilation_cache_dir", str(folder / "jax"))
        # Whatever was compiled is kept, however quickly and small: a start has some, and each takes longer than a file.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if solver is not None and solver.solver_mode is not None:
        _select(solver.solver_mode)
    jax.config.update("jax_default_matmul_precision", MATMUL["float32" if solver is None else solver.precision])


def strictest(solvers: Iterable[Solver]) -> Solver:
    """The first of the solvers with the strictest precision."""
    ranks = list(MATMUL)
    return min(solvers, key=lambda solver: ranks.index(solver.precision))


def _select(mode: str) -> None:
    platform = mode.lower()
    try:
        jax.devices(platform)
    except RuntimeError:
        found = ", ".join(sorted({device.platform.upper() for device in jax.devices()}))
        hint = "leave solver_mode out to use what there is, or install segspec[gpu] or segspec[tpu]"
        raise RunError(f"solver_mode {mode}: JAX finds only {found}", hint=hint) from None
    jax.config.update("jax_default_device", jax.devices(platform)[0])
