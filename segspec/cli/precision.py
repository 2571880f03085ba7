"""The precision of a run, for the verbs that ask its net."""

from __future__ import annotations

from pathlib import Path


def prepare_as(run: Path) -> None:
    """Sets JAX up as the training of a run did, so that its net is asked at the precision it was trained with."""
    from segspec.run.folder import RunFolder
    from segspec.spec.solver_file import load_solver
    from segspec.train.runtime import prepare

    solver = RunFolder(run).solver
    prepare(load_solver(solver) if solver.is_file() else None)
