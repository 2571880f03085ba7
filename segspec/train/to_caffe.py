"""A run as Caffe would have left it: the state of its solver, and the weights that belong to it."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from segspec.atomic import refuse_taken
from segspec.errors import UsageError
from segspec.graph.nominal import nominal_graph
from segspec.messages import warn
from segspec.net import init_shapes
from segspec.run.folder import open_run
from segspec.run.intact import load_newest
from segspec.spec.net import load_net
from segspec.spec.solver_file import load_solver
from segspec.train.caffe_history import current_step, history_of, rounds_of
from segspec.train.optimizer import make_optimizer
from segspec.train.step import TrainState, start
from segspec.weights.caffe_blobs import number_blobs
from segspec.weights.caffemodel import write_caffemodel
from segspec.weights.solverstate import SolverState, number_history, write_solverstate


def write_caffe_training(run: Path, target: Path, *, overwrite: bool = False) -> None:
    """Writes the newest snapshot of a run as `NAME.solverstate`, and beside it `NAME.caffemodel`.

    Args:
        run: the run folder.
        target: the `.solverstate` to make.
        overwrite: whether the two files may exist.

    Raises:
        UsageError: a file exists, or the training's rule is none of Caffe's.
        RunError: the folder is no run, or has no snapshot that can be used.
    """
    weights = target.with_suffix(".caffemodel")
    for path in (target, weights):
        refuse_taken(path, overwrite=overwrite)
    folder = open_run(run)
    spec, solver = load_net(folder.spec), load_solver(folder.solver)
    if not rounds_of(solver.type):
        raise UsageError(f"Caffe has no solver of type {solver.type} to go on with", place=str(run))
    graph = nominal_graph(spec, "TRAIN")
    optimizer = make_optimizer(solver, graph.multipliers)
    like = jax.eval_shape(lambda params, state: start(params, state, optimizer), *init_shapes(graph))
    snapshot = load_newest(folder, like._asdict())
    warn(*snapshot.damaged)
    now = TrainState(**snapshot.trees)
    rounds = [jax.tree.map(np.asarray, tree) for tree in history_of(now.optimizer)]
    step = current_step(solver, snapshot.iteration)
    write_caffemodel(weights, spec.name, number_blobs(graph, now.params, now.state))
    write_solverstate(target, SolverState(snapshot.iteration, number_history(graph, rounds), weights.name, step))
    print(f"{target}: state after iteration {snapshot.iteration}; its weights: {weights}")
