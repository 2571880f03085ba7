"""The net of a Caffe solver, from wherever it stands: beside the working directory, beside the solver, or inside it."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import replace
from pathlib import Path

from segspec.errors import Diagnostic, SpecError
from segspec.spec.caffe.net import net_of_tree, read_caffe_net
from segspec.spec.caffe.override import template_names
from segspec.spec.caffe.solver import CaffeSolver, NetUse
from segspec.spec.netspec import NetSpec, Phase
from segspec.syntax.tree import read_source


def load_solver_net(solver: CaffeSolver, path: Path, overrides: Items[str] = ()) -> NetSpec:
    """The net that a solver trains, with the images of the net that it tests.

    Args:
        solver: the solver.
        path: its file; the net's path is looked for in the working directory, as Caffe does, then beside this file.
        overrides: `KEY=VALUE` texts for the nets, as in `read_caffe_net`.

    Raises:
        SpecError: the solver names no net, the file is not there, or it has mistakes.
    """
    if solver.train is None:
        hint = f"name the net: segspec train NET {path}"
        raise SpecError("the solver names no net", place=str(path), hint=hint)
    net = _load(solver.train, path, overrides, "TRAIN")
    if not solver.tests:
        return net
    first = solver.tests[0]
    if replace(first, state=solver.train.state) == solver.train and first.state.stages == solver.train.state.stages:
        return net
    test = _load(first, path, overrides, "TEST").data.get("test")
    others = {phase: layer for phase, layer in net.data.items() if phase != "test"}
    return replace(net, data={**others, "test": test} if test else others)


def _load(use: NetUse, path: Path, overrides: Items[str], phase: Phase) -> NetSpec:
    stages, level = sorted(use.state.stages), use.state.level or None
    if use.tree is not None:
        return net_of_tree(use.tree, use.span.source, overrides, phase, stages=stages, level=level)
    file, warning = _find(use, path)
    net = read_caffe_net(read_source(file), overrides, phase, stages=stages, level=level)
    return replace(net, warnings=(*warning, *net.warnings))


def _find(use: NetUse, path: Path) -> tuple[Path, tuple[Diagnostic, ...]]:
    """The file of a net, with a word where it is not the one that Caffe would take."""
    names = template_names(use.path)
    if names:
        hint = " ".join(f"--solver-set {name}=..." for name in names)
        raise SpecError(Diagnostic(f"nothing fills '${{{names[0]}}}' in the path of the net", use.span, hint))
    beside = path.parent / use.path
    if Path(use.path).is_file():
        return Path(use.path), ()
    for found in (beside, path.parent / Path(use.path).name):
        if found.is_file():
            message = f"there is no '{use.path}' in the working directory; {found} is taken"
            return found, (Diagnostic(message, use.span, severity="warning"),)
    hint = f"looked for in the working directory and beside the solver; name another: segspec train NET {path}"
    raise SpecError(Diagnostic(f"there is no net '{use.path}'", use.span, hint))
