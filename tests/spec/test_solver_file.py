"""Solver files: read, overridden, written and read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.spec.library import shipped
from segspec.spec.solver import Solver
from segspec.spec.solver_file import load_solver, read_solver, solver_text

TEXT = "type: SGD\nbase_lr: 1e-3\nmax_iter: 10\n"
SOLVERS = sorted(shipped("solvers").glob("*.yaml"))


def read(text: str, *overrides: str) -> Solver:
    return read_solver(Source("s.yaml", text), overrides)


@pytest.mark.parametrize("path", SOLVERS, ids=lambda path: path.stem)
def test_shipped_solvers_are_read_and_read_back(path: Path) -> None:
    solver = load_solver(path)
    assert read(solver_text(solver)) == solver


@pytest.mark.parametrize(
    "more",
    [
        "lr_policy: multistep\ngamma: 0.5\nstepvalue: [3, 5]\n",
        "lr_policy: multistep\ngamma: 0.5\nstepvalue: 3\n",
        "lr_policy: poly\npower: 0.9\nwarmup: 3\n",
        "snapshot_prefix: 'a: b # c'\nsolver_mode: CPU\ntest_initialization: false\n",
        "snapshot_prefix: ''\ndelta: 1e-12\nclip_gradients: 35\n",
    ],
)
def test_text_reads_back(more: str) -> None:
    solver = read(TEXT + more)
    assert read(solver_text(solver)) == solver


def test_overrides() -> None:
    solver = read(TEXT, "base_lr=0.5", "max_iter=3", "lr_policy=exp", "gamma=0.9")
    assert (solver.base_lr, solver.max_iter, solver.lr_policy) == (0.5, 3, "exp")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("max_itr=3", "nothing is called 'max_itr' here"),
        ("max_iter=3.5", "'max_iter' of the solver must be a whole number, got 3.5"),
        ("lr_policy=exp", "'lr_policy' of the solver needs 'gamma', got 'exp'"),
        ("base_lr.x=3", "'base_lr' has no parts"),
    ],
)
def test_mistakes_of_an_override_show_the_command_line(override: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(TEXT, override)
    (found,) = caught.value.diagnostics
    assert found.message == message
    assert found.span is not None
    assert found.span.source.name == "--solver-set"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "a solver is a mapping of fields, got a list of 1"),
        ("base_lr: 1e999\nmax_iter: 1\n", "a number above 1e308 is too large"),
        ("base_lr: .inf\nmax_iter: 1\n", "'base_lr' of the solver must be a finite number, got inf"),
        ("base_lr: '0.1'\nmax_iter: 1\n", "'base_lr' of the solver must be a number, got '0.1'"),
        ("max_iter: 1\n", "the solver needs 'base_lr': learning rate that the policy starts from"),
        ("net: a.yaml\nbase_lr: 1\nmax_iter: 1\n", "the solver has no parameter 'net'"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert message in [found.message for found in caught.value.diagnostics]


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_solver(tmp_path / "none.yaml")
