"""A training that Caffe began goes on: from its weights and the state of its solver, as a user starts it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from segspec.cli import main
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.net import init
from segspec.run.snapshots import read_arrays
from segspec.spec.net import load_net
from segspec.spec.solver_file import load_solver
from segspec.train.caffe_history import history_of
from segspec.train.optimizer import make_optimizer
from segspec.train.step import TrainState, start
from segspec.weights.caffe_blobs import number_blobs
from segspec.weights.caffemodel import write_caffemodel
from segspec.weights.solverstate import SolverState, number_history, write_solverstate


def graph_of(project: Any) -> Graph:
    return build(load_net(project.spec), "TRAIN", image_inputs(2, 24, 24, 3))


def snapshot(project: Any, run: Path, iteration: int) -> TrainState:
    """The state that a run has kept."""
    from segspec.run.folder import RunFolder
    from segspec.run.snapshots import load_snapshot

    graph = graph_of(project)
    optimizer = make_optimizer(load_solver(project.solver), graph.multipliers)
    like = jax.eval_shape(lambda: start(*init(graph, 0), optimizer))
    return TrainState(**load_snapshot(RunFolder(run).snapshots / f"{iteration:09d}", like._asdict()).trees)


def leave_as_caffe(project: Any, folder: Path, iteration: int, after: TrainState) -> Path:
    """The files that Caffe would leave of a training; returns its solverstate."""
    graph = graph_of(project)
    folder.mkdir()
    write_caffemodel(folder / "net.caffemodel", "net", number_blobs(graph, after.params, after.state))
    history = number_history(graph, [jax.tree.map(np.asarray, tree) for tree in history_of(after.optimizer)])
    write_solverstate(folder / "net.solverstate", SolverState(iteration, history, "/elsewhere/net.caffemodel"))
    return folder / "net.solverstate"


def train(project: Any, run: Path, *more: str) -> int:
    return main(["train", str(project.spec), str(project.solver), "--run", str(run), *more])


@pytest.mark.parametrize("rule", ["type=SGD", "type=Adam"])
def test_a_training_goes_on_where_caffe_left_it(rule: str, project: Any, tmp_path: Path) -> None:
    project.solver.write_text(project.solver.read_text().replace("{", "{" + rule.replace("=", ": ") + ", "))
    assert train(project, tmp_path / "whole") == 0
    state = leave_as_caffe(project, tmp_path / "caffe", 2, snapshot(project, tmp_path / "whole", 2))
    assert train(project, tmp_path / "rest", "--solverstate", str(state)) == 0
    ours, theirs = (read_arrays(tmp_path / run / "snapshots" / "000000006") for run in ("rest", "whole"))
    for part in ("params", "optimizer"):
        for name, array in theirs[part].items():
            np.testing.assert_allclose(ours[part][name], array, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rule", ["type=SGD", "type=AdaDelta"])
def test_a_run_goes_to_caffe_and_back(rule: str, project: Any, tmp_path: Path) -> None:
    more = ", delta: 0.001" if "AdaDelta" in rule else ""
    text = project.solver.read_text().replace("{", "{" + rule.replace("=", ": ") + more + ", ")
    project.solver.write_text(text)
    assert train(project, tmp_path / "whole") == 0
    assert train(project, tmp_path / "half", "--solver-set", "max_iter=4") == 0
    state = tmp_path / "half.solverstate"
    assert main(["convert", str(tmp_path / "half"), str(state)]) == 0
    assert state.with_suffix(".caffemodel").is_file()
    assert train(project, tmp_path / "rest", "--solverstate", str(state)) == 0
    ours, theirs = (read_arrays(tmp_path / run / "snapshots" / "000000006") for run in ("rest", "whole"))
    for part in ("params", "optimizer"):
        for name, array in theirs[part].items():
            np.testing.assert_allclose(ours[part][name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    assert main(["convert", str(tmp_path / "half"), str(state)]) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--solver-set", "max_iter=2"), "the training is at iteration 2, and max_iter is 2"),
        (("--solver-set", "type=AdamW"), "a training of Caffe cannot go on with type AdamW"),
        (("--solver-set", "type=Adam"), "a history of another net or update rule: 9 arrays, the net has 18"),
        (("--weights", "none.caffemodel"), "none.caffemodel: no such file"),
    ],
)
def test_what_cannot_go_on_is_refused(
    more: Sequence[str], message: str, project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = graph_of(project)
    fresh = start(*init(graph, 0), make_optimizer(load_solver(project.solver), graph.multipliers))
    state = leave_as_caffe(project, tmp_path / "caffe", 2, fresh)
    assert train(project, tmp_path / "run", "--solverstate", str(state), *more) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_that_are_nowhere_are_asked_for(
    project: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "net.solverstate"
    write_solverstate(state, SolverState(2, (np.zeros(3, np.float32),), "gone.caffemodel"))
    assert train(project, tmp_path / "run", "--solverstate", str(state)) == 1
    assert "its weights 'gone.caffemodel' are not there\n  name them with --weights" in capsys.readouterr().err
