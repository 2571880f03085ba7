from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from segspec.errors import Source, SpecError
from segspec.schema.read import read_model
from segspec.spec.library import shipped
from segspec.spec.solver import NEEDS, Precision, Solver
from segspec.syntax.tree import Mapping, Problems
from segspec.syntax.yaml import parse_yaml


def read(text: str) -> Solver:
    problems = Problems()
    root = parse_yaml(Source("solver.yaml", text))
    assert isinstance(root, Mapping)
    solver = read_model(Solver, root, problems, "the solver")
    problems.raise_any()
    assert solver is not None
    return solver


def complaint(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        read(text)
    return str(caught.value)


def test_the_least_solver_has_the_defaults_of_caffe() -> None:
    solver = read("{base_lr: 0.1, max_iter: 40000}")
    assert (solver.type, solver.lr_policy, solver.momentum, solver.momentum2) == ("SGD", "fixed", 0.0, 0.999)
    assert (solver.rms_decay, solver.delta, solver.weight_decay, solver.clip_gradients) == (0.99, 1e-8, 0.0, -1.0)
    assert (solver.iter_size, solver.average_loss, solver.regularization_type) == (1, 1, "L2")


def test_what_is_written_out_reads_back_as_the_same_solver() -> None:
    solver = read("{base_lr: 1, max_iter: 9, lr_policy: multistep, gamma: 0.5, stepvalue: [3, 6], solver_mode: null}")
    assert Solver(**solver.model_dump()) == solver
    assert solver.stepvalue == (3, 6)


@pytest.mark.parametrize(("policy", "fields"), [(policy, fields) for policy, fields in NEEDS.items() if fields])
def test_a_policy_names_every_field_it_needs(policy: str, fields: tuple[str, ...]) -> None:
    text = complaint(f"base_lr: 0.1\nmax_iter: 10\nlr_policy: {policy}\n")
    assert "solver.yaml:3:12: 'lr_policy' of the solver needs " in text
    assert all(f"'{field}'" in text for field in fields)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("lr_policy: step\ngamma: 0\nstepsize: 5", "'gamma' of the solver must be greater than 0"),
        ("lr_policy: multistep\ngamma: 0.1\nstepvalue: [5, 5]", "'stepvalue' of the solver must be iterations from 1"),
        ("lr_policy: multistep\ngamma: 0.1\nstepvalue: [9, 5]", "in ascending order"),
        ("stepvalue: [0, 5]", "from 1 upwards"),
        ("stepsize: 0", "'stepsize' of the solver must be at least 1"),
        ("warmup: 11", "'warmup' of the solver must be at most max_iter (10)"),
        ("type: AdaGrad\nmomentum: 0.9", "'momentum' of the solver must be 0 or left out with type AdaGrad"),
        ("type: RMSProp\nmomentum: 0.9", "must be 0 or left out with type RMSProp"),
        ("type: Adam", "'type' of the solver needs 'momentum', usually 0.9"),
        ("type: AdamW\nmomentum: 0.9\nregularization_type: L1", "must be L2 with type AdamW"),
        ("clip_gradients: 0", "'clip_gradients' of the solver must not be 0"),
        ("momentum: 1", "'momentum' of the solver must be less than 1"),
        ("weight_decay: -1", "'weight_decay' of the solver must be at least 0"),
        ("delta: 0", "'delta' of the solver must be greater than 0"),
        ("iter_size: 0", "'iter_size' of the solver must be at least 1"),
        ("gamma: .nan", "'gamma' of the solver must be a finite number"),
        ("power: '2'", "remove the quotes"),
        ("random_seed: -1", "'random_seed' of the solver must be at least 0"),
        ("type: sgd", "did you mean 'SGD'?"),
        ("momentun: 0.9", "did you mean 'momentum'?"),
    ],
)
def test_a_mistake_is_one_message_at_its_line(extra: str, message: str) -> None:
    text = complaint(f"base_lr: 0.1\nmax_iter: 10\n{extra}\n")
    assert message in text
    assert text.count("solver.yaml:") == 1


def test_all_combinations_that_cannot_be_meant_are_reported_at_once() -> None:
    text = complaint("base_lr: 0.1\nmax_iter: 10\nlr_policy: poly\nclip_gradients: 0\ntype: RMSProp\nmomentum: 0.9\n")
    assert [line.split(":")[1] for line in text.splitlines() if line.startswith("solver.yaml")] == ["3", "4", "6"]


def test_momentum_0_may_be_meant_when_it_is_written() -> None:
    assert read("{base_lr: 0.1, max_iter: 10, type: Adam, momentum: 0}").momentum == 0


def test_the_sigmoid_may_fall() -> None:
    text = "{base_lr: 0.1, max_iter: 10, lr_policy: sigmoid, gamma: -1, stepsize: 5}"
    assert read(text).gamma == -1


def test_a_solver_cannot_be_changed() -> None:
    solver = Solver(base_lr=0.1, max_iter=1)
    with pytest.raises(ValidationError, match="frozen"):
        solver.base_lr = 0.2  # type: ignore[misc]


def test_every_field_says_what_it_means() -> None:
    assert [name for name, info in Solver.model_fields.items() if not (info.description or "").endswith(".")] == []


@pytest.mark.parametrize("path", sorted(shipped("solvers").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_solver_is_right_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert read(text).max_iter > 0


def test_solvers_are_shipped() -> None:
    assert {path.stem for path in shipped("solvers").glob("*.yaml")} >= {"sgd", "adam", "squares"}


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", "float32"), ("high", "float32"), ("bfloat16", "bfloat16")]
)
def test_the_precision_settles_what_convolutions_compute_in(precision: Precision, dtype: str) -> None:
    assert Solver(base_lr=0.1, max_iter=1, precision=precision).dtype == dtype
