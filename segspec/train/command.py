"""`segspec train`: from files to a run folder, and on from where one stopped."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax

from segspec.atomic import write_atomically
from segspec.data.class_weights import class_weights
from segspec.data.loader import training_batches
from segspec.data.scan import LabelCounts, scan
from segspec.data.sources import ImageSource
from segspec.errors import Diagnostic, RunError
from segspec.net import Tree, init
from segspec.run.environment import compare_environments, describe_environment
from segspec.run.folder import RunFolder, require_space, resume_run, run_name, start_run
from segspec.run.log import Log
from segspec.run.snapshots import load_newest, remove_unfinished, save_snapshot, snapshot_bytes
from segspec.spec.classes import ClassTable
from segspec.spec.flatten import flat_text
from segspec.spec.net import load_net
from segspec.spec.netspec import NetSpec
from segspec.spec.solver import Solver
from segspec.spec.solver_file import load_solver, solver_text
from segspec.train.feed import feed
from segspec.train.loop import Training
from segspec.train.optimizer import make_optimizer
from segspec.train.progress import Progress
from segspec.train.runtime import compute_dtype, prepare
from segspec.train.session import MakeValidator, Plan, Score, make_plan, with_absolute_sources, with_class_weights
from segspec.train.signals import listen
from segspec.train.step import TrainState, make_step, start
from segspec.weights.files import read_weights
from segspec.weights.fit import fit


@dataclass(frozen=True)
class Request:
    """What the command line asks of a new training.

    Attributes:
        spec, solver: the files.
        run: the run folder; None: what the solver says, else runs/ and the net's name.
        overrides, solver_overrides: `KEY=VALUE` texts.
        weights: a file of weights to start from, or None.
        skip: layers that the weights leave alone.
        overwrite: whether an existing run folder is removed first.
        workers: threads that read images; None: one a core, up to 4.
    """

    spec: Path
    solver: Path
    run: Path | None = None
    overrides: tuple[str, ...] = ()
    solver_overrides: tuple[str, ...] = ()
    weights: Path | None = None
    skip: tuple[str, ...] = ()
    overwrite: bool = False
    workers: int | None = None


def train(request: Request, make_validator: MakeValidator) -> int:
    """Trains a net from the start. Returns the exit status."""
    spec = with_absolute_sources(load_net(request.spec, request.overrides))
    solver = load_solver(request.solver, request.solver_overrides)
    prepare(solver)
    plan = _settle_weights(make_plan(spec, solver, Path()), request.workers)
    params, state = init(plan.graph, solver.random_seed)
    if request.weights is not None:
        params, state = _load_weights(plan, params, state, request.weights, request.skip)
    path = request.run or Path(solver.snapshot_prefix or f"runs/{run_name(spec.name)}")
    if request.overwrite:
        _remove_run(path)
    with start_run(path) as folder:
        folder.spec.write_text(flat_text(plan.spec), encoding="utf-8")
        folder.solver.write_text(solver_text(solver), encoding="utf-8")
        trainer = _Trainer(plan, folder, make_validator, request.workers)
        return trainer.go(start(plan.graph, params, state, trainer.optimizer), 0)


def resume(
    path: Path,
    overrides: Sequence[str],
    solver_overrides: Sequence[str],
    make_validator: MakeValidator,
    workers: int | None,
) -> int:
    """Goes on with a run from its newest good snapshot. Returns the exit status."""
    with resume_run(path) as folder:
        spec = load_net(folder.spec, overrides)
        solver = load_solver(folder.solver, solver_overrides)
        prepare(solver)
        plan = make_plan(spec, solver, Path())
        if overrides or solver_overrides:
            say(f"changed from here on: {' '.join((*overrides, *solver_overrides))}")
            write_atomically(folder.spec, flat_text(spec).encode())
            write_atomically(folder.solver, solver_text(solver).encode())
        trainer = _Trainer(plan, folder, make_validator, workers)
        like = jax.eval_shape(lambda: start(plan.graph, *init(plan.graph, 0), trainer.optimizer))
        snapshot = load_newest(folder, like._asdict())
        warn(*snapshot.damaged)
        then = snapshot.meta.get("environment", {})
        for difference in compare_environments(then, describe_environment()):
            warn(Diagnostic(f"the run goes on elsewhere: {difference}", severity="warning"))
        say(f"resuming {path} after iteration {snapshot.iteration}")
        return trainer.go(TrainState(**snapshot.trees), snapshot.iteration)


class _Trainer:
    """A plan with a run folder: what training and resuming share."""

    def __init__(self, plan: Plan, folder: RunFolder, make_validator: MakeValidator, workers: int | None):
        self.plan = plan
        self.folder = folder
        self.make_validator = make_validator
        self.workers = default_workers() if workers is None else workers
        multipliers = {layer.name: dict(layer.multipliers) for layer in plan.graph.layers}
        self.optimizer = make_optimizer(plan.solver, multipliers)

    def go(self, state: TrainState, first: int) -> int:
        """Trains from iteration `first`; returns the exit status."""
        plan, solver = self.plan, self.plan.solver
        remove_unfinished(self.folder)
        require_space(self.folder.path, 2 * snapshot_bytes(state._asdict()))
        dtype = compute_dtype(solver.precision)
        step = make_step(plan.graph, plan.data, self.optimizer, seed=solver.random_seed, dtype=dtype)
        validate = None
        if plan.test is not None:
            validate = self.make_validator(plan.spec, plan.test, dtype, solver.test_iter, self.workers)
        loader = training_batches(
            plan.train,
            plan.data.batch_size,
            seed=solver.random_seed,
            shuffle=plan.data.shuffle,
            start=first * solver.iter_size,
            workers=self.workers,
        )
        say(self._describe(first))
        progress: AbstractContextManager[Progress] = Progress(solver.max_iter, first)
        with listen() as wishes, loader, Log(self.folder.log, first) as log, progress as shown:
            training = Training(plan, self.folder, step, validate, self._save, log, shown, wishes)
            _, stopped = training.run(state, feed(loader, solver.iter_size), first)
        if stopped:
            say(f"stopped; go on with: segspec train --resume {self.folder.path}")
            return 128 + stopped
        say(f"done: {self.folder.path} (log.jsonl, curves.png, snapshots/)")
        return 0

    def _describe(self, first: int) -> str:
        plan, solver = self.plan, self.plan.solver
        data = plan.graph.inputs["data"].shape
        batch = f"{solver.iter_size} x {data[0]}" if solver.iter_size > 1 else str(data[0])
        return (
            f"{plan.spec.name}: {plan.graph.parameters:,} parameters, {len(plan.train):,} training images of "
            f"{data[1]}x{data[2]}, batches of {batch}, iterations {first} to {solver.max_iter}, "
            f"{solver.precision} on {jax.devices()[0].platform.upper()}"
        )

    def _save(self, iteration: int, state: TrainState, score: Score | None) -> None:
        metrics = {} if score is None else {"miou": score.miou, "loss": score.loss, "accuracy": score.accuracy}
        meta: dict[str, Any] = {
            "metrics": metrics,
            "environment": describe_environment(),
            "spec": flat_text(self.plan.spec),
            "solver": solver_text(self.plan.solver),
            "batches": iteration * self.plan.solver.iter_size,
        }
        save_snapshot(self.folder, iteration, state._asdict(), meta, keep=self.plan.solver.keep)


def _settle_weights(plan: Plan, workers: int | None) -> Plan:
    """The plan after every label has been checked, with class weights in numbers."""
    counts = {phase: _scan(source, plan.spec.classes, phase, workers) for phase, source in _sources(plan)}
    found = counts.get("train")

    def numbers(rule: str) -> tuple[float, ...]:
        assert found is not None
        assert plan.spec.classes is not None
        names = plan.spec.classes.names
        weights = class_weights(rule, found, names)  # type: ignore[arg-type]
        warn(*weights.warnings)
        listed = ", ".join(f"{name} {weight:.4g}" for name, weight in zip(names, weights.weights, strict=True))
        say(f"class weights ({rule}): {listed}")
        return weights.weights

    spec = with_class_weights(plan.spec, numbers)
    return plan if spec is plan.spec else make_plan(spec, plan.solver, Path())


def _sources(plan: Plan) -> list[tuple[str, ImageSource]]:
    pairs = (("train", plan.train), ("test", plan.test))
    return [(phase, source) for phase, source in pairs if source is not None]


def _scan(source: ImageSource, table: ClassTable | None, phase: str, workers: int | None) -> LabelCounts | None:
    if table is None:
        return None
    live = sys.stderr.isatty() and len(source) > 500

    def show(done: int, total: int) -> None:
        if live:
            print(f"\rchecking {phase} labels {done}/{total}", end="\n" if done == total else "", file=sys.stderr)

    return scan(source, table, workers=workers or default_workers(), progress=show)


def _load_weights(
    plan: Plan, params: Tree, state: Tree, path: Path, skip: Sequence[str]
) -> tuple[Tree, Tree]:
    blobs, _ = read_weights(path)
    params, state, transfer = fit(plan.graph, params, state, blobs, skip=skip, place=str(path))
    say(f"weights from {path}\n{transfer.as_text()}")
    return params, state


def _remove_run(path: Path) -> None:
    """Removes a run folder that the user gave up; refuses to remove anything else."""
    if not path.exists():
        return
    if not (path / "spec.yaml").is_file() and any(path.iterdir()):
        raise RunError("is not a run folder and is not removed", place=str(path), hint="name another with --run")
    with resume_run(path) if (path / "solver.yaml").is_file() else start_run(path):
        shutil.rmtree(path)


def default_workers() -> int:
    """Threads that read images, unless told otherwise: one a core, up to 4."""
    return min(4, os.cpu_count() or 1)


say = partial(print, file=sys.stderr, flush=True)


def warn(*diagnostics: Diagnostic) -> None:
    """Prints warnings to standard error."""
    for diagnostic in diagnostics:
        say(diagnostic.render())
