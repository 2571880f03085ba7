"""Solvers between YAML and prototxt: the same solver comes back, and what is lost on the way is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.cli import main
from segspec.convert.solver import solver_prototxt
from segspec.errors import Source, SpecError
from segspec.spec.caffe.solver import read_caffe_solver
from segspec.spec.solver import Solver
from segspec.spec.solver_file import load_solver

CAFFE = """net: "nets/n.prototxt"
base_lr: 0.1
lr_policy: "multistep"
gamma: 0.5
stepvalue: 2
stepvalue: 4
max_iter: 9
snapshot_prefix: "runs/\\"a\\""
colour: "red"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("solver.prototxt").write_text(CAFFE)
    return tmp_path


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "Adam", "momentum": 0.9, "delta": 1e-7},
        {"lr_policy": "step", "gamma": 0.5, "stepsize": 3, "display": 0, "snapshot": 20, "snapshot_after_train": False},
        {"regularization_type": "L1", "weight_decay": 5e-4, "solver_mode": "CPU", "snapshot_prefix": 'a/"b"\\c'},
        {"rampup_interval": 2, "rampup_lr": 0.01, "min_lr": 0.001, "random_seed": 7},
    ],
)
def test_caffes_words_read_back_as_the_same_solver(fields: dict[str, object]) -> None:
    solver = Solver.model_validate({"base_lr": 0.1, "max_iter": 10, **fields})
    assert read_caffe_solver(Source("s.prototxt", solver_prototxt(solver))).solver == solver


def test_what_caffe_takes_otherwise_when_it_is_left_out_is_written() -> None:
    text = solver_prototxt(Solver(base_lr=0.1, max_iter=10))
    assert text == ('base_lr: 0.1\nmax_iter: 10\nlr_policy: "fixed"\ndisplay: 20\nsnapshot: 1000\nrandom_seed: 0\n')


def test_what_caffe_lacks_is_refused_at_once() -> None:
    lacking = {"type": "Lion", "momentum": 0.9, "lr_policy": "cosine", "warmup": 2, "solver_mode": "TPU"}
    solver = Solver.model_validate({"base_lr": 0.1, "max_iter": 10, **lacking})
    with pytest.raises(SpecError, match="no type Lion and no lr_policy cosine and no warmup and no solver_mode TPU"):
        solver_prototxt(solver)


def test_a_prototxt_keeps_its_net_in_a_prototxt(folder: Path) -> None:
    assert main(["convert", "solver.prototxt", "again.prototxt"]) == 0
    assert load_solver(Path("again.prototxt")) == load_solver(Path("solver.prototxt"))
    assert Path("again.prototxt").read_text().startswith('net: "nets/n.prototxt"\n')


def test_what_a_yaml_does_not_hold_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "solver.prototxt", "solver.yaml"]) == 0
    said = capsys.readouterr().err
    assert "solver.prototxt:9:1: warning: the solver has no parameter 'colour'" in said
    assert "solver.prototxt:1:6: warning: a solver in YAML does not name its net" in said
    assert "segspec train NET solver.yaml" in said
    assert load_solver(Path("solver.yaml")) == load_solver(Path("solver.prototxt"))


def test_a_solver_without_a_rate_is_a_solver_all_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("solver.prototxt").write_text('net: "n.prototxt" max_iter: 3')
    assert main(["convert", "solver.prototxt", "solver.yaml"]) == 2
    assert "the solver needs 'base_lr'" in capsys.readouterr().err


def test_overrides_are_for_nets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "solver.prototxt", "solver.yaml", "--set", "max_iter=3"]) == 2
    assert "--set changes a net" in capsys.readouterr().err
    assert not Path("solver.yaml").exists()


@pytest.mark.parametrize("rule", ["Adam", "AdaDelta", "Nesterov", "SGD"])
def test_momentum_that_caffe_takes_as_0_is_read_back(rule: str, folder: Path) -> None:
    Path("solver.prototxt").write_text(f'type: "{rule}" base_lr: 0.1 lr_policy: "fixed" max_iter: 5')
    assert main(["convert", "solver.prototxt", "solver.yaml"]) == 0
    assert load_solver(Path("solver.yaml")) == load_solver(Path("solver.prototxt"))
