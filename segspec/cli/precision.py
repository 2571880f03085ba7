"""The precision of runs, for the verbs that ask their nets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def prepare_as(nets: Sequence[Path]) -> None:
    """Sets JAX up as the trainings of these runs did, so that a net is asked at the precision it was trained with.

    Of several runs the strictest precision holds for all; a spec, which has no solver, is computed in strict float32.
    """
    from segspec.run.folder import RunFolder, is_run
    from segspec.spec.solver_file import load_solver
    from segspec.train.runtime import prepare, strictest

    solvers = [load_solver(RunFolder(path).solver) for path in nets if is_run(path)]
    prepare(strictest(solvers) if len(solvers) == len(nets) else None)
