"""What a training starts from: a net and a solver, from one file or two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segspec.errors import Diagnostic, UsageError
from segspec.spec.caffe.phase import NetState
from segspec.spec.caffe.solver_net import load_solver_net
from segspec.spec.net import load_net
from segspec.spec.netspec import NetSpec
from segspec.spec.solver import Solver
from segspec.spec.solver_file import is_solver, load_caffe_solver, load_solver
from segspec.syntax.prototxt import is_prototxt


class Training(NamedTuple):
    """A net and how it is trained, with what was noticed in their files."""

    spec: NetSpec
    solver: Solver
    warnings: tuple[Diagnostic, ...]


def load_training(
    net: Path | None, solver: Path, overrides: Sequence[str] = (), solver_overrides: Sequence[str] = ()
) -> Training:
    """Reads a solver and its net.

    Args:
        net: the net's file; None where the solver names it, as Caffe's does.
        solver: the solver's file.
        overrides, solver_overrides: `KEY=VALUE` texts for the two.

    Raises:
        UsageError: no net is given, and the file given as solver is none that could name one.
        SpecError: with every mistake that was found.
    """
    if net is None and not (is_prototxt(solver) and is_solver(solver)):
        raise UsageError("train takes a network spec and a solver", hint="segspec train SPEC SOLVER, or --resume RUN")
    if not is_prototxt(solver):
        assert net is not None
        spec = load_net(net, overrides)
        return Training(spec, load_solver(solver, solver_overrides), spec.warnings)
    caffe = load_caffe_solver(solver, solver_overrides)
    if net is None:
        spec = load_solver_net(caffe, solver, overrides)
    else:
        state = caffe.train.state if caffe.train else NetState("TRAIN")
        spec = load_net(net, overrides, stages=sorted(state.stages), level=state.level or None)
    return Training(spec, caffe.solver, (*caffe.warnings, *spec.warnings))
