"""Solvers of Caffe say what a YAML solver says, and which nets are trained and tested."""

from __future__ import annotations

import pytest

from segspec.errors import Source, SpecError
from segspec.spec.caffe.phase import NetState
from segspec.spec.caffe.solver import CaffeSolver, read_caffe_solver

BASE = 'net: "n.prototxt" base_lr: 0.1 max_iter: 10 lr_policy: "fixed"\n'


def read(text: str, *overrides: str) -> CaffeSolver:
    return read_caffe_solver(Source("solver.prototxt", text), overrides)


def complaint(text: str, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        read(text, *overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("", "type", "SGD"),
        ('type: "AdaDelta"', "type", "AdaDelta"),
        ("solver_type: ADAGRAD", "type", "AdaGrad"),
        ("solver_type: 1", "type", "Nesterov"),
        ("solver_type: 5", "type", "Adam"),
        ('type: "RMSProp" rms_decay: 0.9', "rms_decay", 0.9),
        ("solver_mode: GPU", "solver_mode", None),
        ("solver_mode: 1", "solver_mode", None),
        ("solver_mode: 0", "solver_mode", "CPU"),
        ("base_lr: 1", "base_lr", 1.0),
        ("stepvalue: 3 stepvalue: 7", "stepvalue", (3, 7)),
        ("stepvalue: [3, 7]", "stepvalue", (3, 7)),
        ("random_seed: -1", "random_seed", 0),
        ("random_seed: 5", "random_seed", 5),
        ("test_initialization: 0", "test_initialization", False),
        ("snapshot_after_train: False", "snapshot_after_train", False),
        ("test_iter: 7 test_iter: 9", "test_iter", 7),
        ('regularization_type: "L1"', "regularization_type", "L1"),
        ("iter_size: 4", "iter_size", 4),
        ("average_loss: 20", "average_loss", 20),
        ("clip_gradients: 35", "clip_gradients", 35.0),
        ("rampup_interval: 5", "rampup_interval", 5),
        ("rampup_lr: 0.01", "rampup_lr", 0.01),
        ("min_lr: 0.01", "min_lr", 0.01),
    ],
)
def test_fields(text: str, field: str, value: object) -> None:
    found = read(BASE + text)
    assert getattr(found.solver, field) == value
    assert found.warnings == () or text.startswith("test_iter")


def test_a_device_asked_for_on_the_command_line_is_meant() -> None:
    assert read(BASE + "solver_mode: GPU", "solver_mode=GPU").solver.solver_mode == "GPU"


@pytest.mark.parametrize(
    "policy",
    [
        'lr_policy: "fixed"',
        'lr_policy: "step" gamma: 0.1 stepsize: 3',
        'lr_policy: "exp" gamma: 0.9',
        'lr_policy: "inv" gamma: 0.1 power: 0.75',
        'lr_policy: "multistep" gamma: 0.1 stepvalue: 3',
        'lr_policy: "poly" power: 0.9',
        'lr_policy: "sigmoid" gamma: -0.1 stepsize: 3',
    ],
)
def test_all_policies(policy: str) -> None:
    assert f'"{read(BASE + policy).solver.lr_policy}"' in policy


def test_what_caffe_means_by_leaving_a_field_out() -> None:
    solver = read(BASE + 'type: "Adam"').solver
    assert (solver.display, solver.snapshot, solver.momentum, solver.average_loss) == (0, 0, 0.0, 1)


def test_fields_of_forks_are_warned_of_once() -> None:
    found = read(BASE + 'larc: true\nlarc: true\nweights: "a.caffemodel"\ndevice_id: 0 snapshot_format: HDF5')
    assert [warning.message for warning in found.warnings] == [
        "the solver has no parameter 'larc'; it is left out",
        "the solver has no parameter 'weights'; it is left out",
    ]
    assert "--weights" in found.warnings[1].hint


def test_template_words_and_fields_are_set_from_outside() -> None:
    text = 'net: "${EXP}/n.prototxt" base_lr: ${LR} max_iter: 5 lr_policy: "fixed"'
    found = read(text, "LR=0.5", "EXP=voc", "max_iter=7", "display=3")
    assert (found.solver.base_lr, found.solver.max_iter, found.solver.display) == (0.5, 7, 3)
    assert found.train is not None
    assert found.train.path == "voc/n.prototxt"
    assert "--solver-set LR=..." in complaint(text)


def states(found: CaffeSolver) -> list[tuple[str, frozenset[str]]]:
    return [(use.path, use.state.stages) for use in found.tests]


def test_one_net_for_training_and_tests() -> None:
    found = read(BASE + 'test_iter: 3 train_state { stage: "fit" level: 2 }')
    assert found.train is not None
    assert (found.train.path, found.train.state) == ("n.prototxt", NetState("TRAIN", 2, frozenset(("fit",))))
    assert states(found) == [("n.prototxt", frozenset())]
    assert read(BASE).tests == ()


def test_nets_of_their_own_for_tests_come_first() -> None:
    text = BASE.replace("net:", "train_net:")
    found = read(text + 'test_net: "a" test_net: "b" test_iter: 1 test_iter: 2')
    assert states(found) == [("a", frozenset()), ("b", frozenset())]
    assert found.warnings[0].message == "only the first test net is tested"
    assert states(read(BASE + 'test_net: "a" test_iter: 1 test_iter: 2'))[1] == ("n.prototxt", frozenset())


def test_several_tests_of_one_net_differ_in_their_stages() -> None:
    found = read(BASE + "test_iter: 1 test_state { stage: 'x' } test_iter: 2 test_state { stage: 'y' }")
    assert states(found) == [("n.prototxt", frozenset("x")), ("n.prototxt", frozenset("y"))]


def test_a_net_may_stand_in_the_solver() -> None:
    found = read('net_param { name: "inner" } base_lr: 1 max_iter: 1 lr_policy: "fixed"')
    assert found.train is not None
    assert found.train.tree is not None
    assert found.train.tree.key("name") is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('net: "n" max_iter: 1', "the solver needs 'base_lr'"),
        (BASE + 'lr_policy: "step" gamma: 0.1', "'lr_policy' of the solver needs 'stepsize'"),
        (BASE + 'type: "Sgd"', "'type' of the solver must be one of 'SGD'"),
        (BASE + "solver_type: 6", "solver.prototxt:2:14: 'solver_type' is one of SGD, NESTEROV"),
        (BASE + "solver_type: { a: 1 }", "'solver_type' is one of SGD, NESTEROV"),
        (
            BASE + "solver_type: ADAGRAD momentum: 0.9",
            "must be 0 or left out with type AdaGrad",
        ),
        (BASE + 'train_net: "m"', "the solver names more than one net to train"),
        (BASE + "test_iter: 1 test_state {} test_state {}", "the solver has 2 'test_state' for 1 test nets"),
        (BASE + "iter_size: 2.5", "'iter_size' of the solver must be a whole number, got 2.5"),
        (BASE + "min_lr: 0.5", "'min_lr' of the solver must be at most base_lr (0.1)"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    assert message in complaint(text)
