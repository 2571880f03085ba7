"""`segspec train`: from files to a run folder, and on from where one stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from segspec.atomic import write_atomically
from segspec.data.loader import training_batches
from segspec.data.sources import tell_start
from segspec.errors import Diagnostic, RunError
from segspec.graph.trainable import find_idleness, find_need_of_batch
from segspec.messages import say, warn
from segspec.net import Tree, init, init_shapes
from segspec.run.blobs import read_blobs
from segspec.run.environment import compare_environments, describe_device, describe_environment
from segspec.run.folder import RunFolder, require_space, resume_run, run_name, snapshot_iterations, start_run
from segspec.run.intact import load_newest
from segspec.run.log import Log
from segspec.run.replace import forget_replaced, is_replacing, replace_run, restore_run
from segspec.run.snapshots import remove_unfinished, save_snapshot, snapshot_bytes
from segspec.spec.flatten import flat_text
from segspec.spec.net import load_net
from segspec.spec.solver_file import load_solver, solver_text
from segspec.spec.training import load_training
from segspec.train.feed import Ahead, feed
from segspec.train.from_caffe import read_caffe_training
from segspec.train.labels import default_workers, settle_class_weights
from segspec.train.loop import Training
from segspec.train.memory import find_full_memory
from segspec.train.optimizer import make_optimizer
from segspec.train.progress import Progress
from segspec.train.runtime import prepare
from segspec.train.session import MakeValidator, Plan, Score, make_plan, with_absolute_sources
from segspec.train.signals import listen
from segspec.train.sizes import make_sized_step
from segspec.train.step import TrainState, start
from segspec.train.stuck import find_stuck
from segspec.weights.fit import fit
from segspec.weights.names import load_weights_map


@dataclass(frozen=True)
class Request:
    """What the command line asks of a new training.

    Attributes:
        spec, solver: the files; no spec where the solver names it, as Caffe's does.
        run: the run folder; None: what the solver says, else runs/ and the net's name.
        overrides, solver_overrides: `KEY=VALUE` texts.
        weights: weights to start from (a file, a run folder or a snapshot), or None.
        weights_map: which layers of the weights the net's layers take; None: those of the same names.
        skip: layers that the weights leave alone.
        solverstate: the state of a solver of Caffe whose training goes on, or None; its weights are found beside it.
        overwrite: whether an existing run folder is removed first.
        workers: threads that read images; None: one a core, up to 4.
    """

    spec: Path | None
    solver: Path
    run: Path | None = None
    overrides: tuple[str, ...] = ()
    solver_overrides: tuple[str, ...] = ()
    weights: Path | None = None
    weights_map: str | None = None
    skip: tuple[str, ...] = ()
    solverstate: Path | None = None
    overwrite: bool = False
    workers: int | None = None


def train(request: Request, make_validator: MakeValidator) -> int:
    """Trains a net from the start. Returns the exit status."""
    spec, solver, warnings = load_training(request.spec, request.solver, request.overrides, request.solver_overrides)
    warn(*warnings)
    path = _nameable(request.run or Path(solver.snapshot_prefix or f"runs/{run_name(spec.name)}"))
    _restore(path)
    if request.overwrite:
        _refuse_foreign(path)
    else:
        _refuse_taken(path)
    caffe = None if request.solverstate is None else read_caffe_training(request.solverstate, solver)
    weights = caffe.find_weights() if caffe and not request.weights else request.weights
    prepare(solver)
    spec = with_absolute_sources(spec)
    plan = make_plan(spec, solver)
    starts = (word for phase, layer in spec.data.items() for word in tell_start(layer, plan.spec.data[phase]))
    warn(*dict.fromkeys(starts))  # training and test may read one list
    plan = settle_class_weights(plan, request.workers)
    warn(*find_idleness(plan.graph, plan.spec.source.name), *_find_need_of_batch(plan))
    params, state = init(plan.graph, solver.random_seed)
    if weights is not None:
        params, state = _load_weights(plan, params, state, weights, request)
    warn(*find_stuck(plan.graph, params, plan.spec.source.name))
    history = () if caffe is None else caffe.history(plan.graph)
    with _replacing(path), start_run(path) as folder:
        _write_texts(plan, folder)
        trainer = _Trainer(plan, folder, make_validator, request.workers)
        begun = start(params, state, trainer.optimizer)
        return trainer.go(begun, 0) if caffe is None else trainer.go(caffe.go_on(begun, history), caffe.iteration)


def resume(
    path: Path,
    overrides: Sequence[str],
    solver_overrides: Sequence[str],
    make_validator: MakeValidator,
    workers: int | None,
) -> int:
    """Goes on with a run from its newest good snapshot. Returns the exit status."""
    path = _nameable(path)
    if not snapshot_iterations(RunFolder(path)):
        _restore(path)
    with resume_run(path) as folder:
        if not snapshot_iterations(folder):
            hint = f"start it again: segspec train SPEC SOLVER --run {path} --overwrite"
            raise RunError("the run was stopped before its first snapshot", hint=hint, place=str(path))
        spec = with_absolute_sources(load_net(folder.spec, overrides))
        solver = load_solver(folder.solver, solver_overrides)
        prepare(solver)
        plan = settle_class_weights(make_plan(spec, solver), workers)
        trainer = _Trainer(plan, folder, make_validator, workers)
        begin = partial(start, optimizer=trainer.optimizer)
        like = jax.eval_shape(begin, *init_shapes(plan.graph))
        snapshot = load_newest(folder, like._asdict())
        warn(*snapshot.damaged)
        _refuse_past(snapshot.iteration, solver.max_iter, path)
        now = describe_environment(solver.precision)
        for difference in compare_environments(snapshot.meta.get("environment", {}), now):
            warn(Diagnostic(f"the run goes on elsewhere: {difference}", severity="warning"))
        if overrides or solver_overrides:
            say(f"changed from here on: {' '.join((*overrides, *solver_overrides))}")
            _write_texts(plan, folder)
        say(f"resuming {path} after iteration {snapshot.iteration}")
        if snapshot.iteration == solver.max_iter:
            say(f"already at {solver.max_iter} of {solver.max_iter}; --solver-set max_iter=M prolongs the training")
        return trainer.go(TrainState(**snapshot.trees), snapshot.iteration)


class _Trainer:
    """A plan with a run folder: what training and resuming share."""

    def __init__(self, plan: Plan, folder: RunFolder, make_validator: MakeValidator, workers: int | None):
        self.plan = plan
        self.folder = folder
        self.make_validator = make_validator
        self.workers = default_workers() if workers is None else workers
        self.optimizer = make_optimizer(plan.solver, plan.graph.multipliers)

    def go(self, state: TrainState, first: int) -> int:
        """Trains from iteration `first`; returns the exit status."""
        plan, solver = self.plan, self.plan.solver
        remove_unfinished(self.folder)
        require_space(self.folder.path, 2 * snapshot_bytes(state._asdict()))
        warn(*find_full_memory(plan))
        step = make_sized_step(plan, self.optimizer, solver.dtype)
        validate = None
        if plan.test is not None:
            validate = self.make_validator(plan.spec, plan.test, solver.dtype, solver.test_iter, self.workers)
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
        ahead = Ahead(feed(loader, solver.iter_size))
        with listen() as wishes, loader, ahead, Log(self.folder.log, first) as log, progress as shown:
            training = Training(plan, self.folder, step, validate, self._save, self._begun, log, shown, wishes)
            _, stopped = training.run(state, ahead, first)
        if stopped:
            say(f"stopped; go on with: segspec train --resume {self.folder.path}")
            return 128 + stopped
        say(f"{training.waiting:.1%} of the time was spent waiting for data")
        say(f"done: {self.folder.path} (log.jsonl, curves.png, snapshots/)")
        return 0

    def _describe(self, first: int) -> str:
        plan, solver = self.plan, self.plan.solver
        data = plan.graph.inputs["data"].shape
        batch = f"{solver.iter_size} x {data[0]}" if solver.iter_size > 1 else str(data[0])
        return (
            f"{plan.spec.name}: {plan.graph.parameters:,} parameters, {len(plan.train):,} training images of "
            f"{data[1]}x{data[2]}, batches of {batch}, iterations {first} to {solver.max_iter}, "
            f"{solver.precision} on {describe_device(solver.precision)}"
        )

    def _begun(self) -> None:
        forget_replaced(self.folder.path)

    def _save(self, iteration: int, state: TrainState, score: Score | None) -> None:
        metrics = {} if score is None else {"miou": score.miou, "loss": score.loss, "accuracy": score.accuracy}
        meta: dict[str, Any] = {
            "metrics": metrics,
            "environment": describe_environment(self.plan.solver.precision),
            "spec": flat_text(self.plan.spec),
            "solver": solver_text(self.plan.solver),
            "batches": iteration * self.plan.solver.iter_size,
        }
        save_snapshot(self.folder, iteration, state._asdict(), meta, keep=self.plan.solver.keep)


def _refuse_past(iteration: int, max_iter: int, path: Path) -> None:
    """Raises RunError when a run is to end before the iteration that it has come to."""
    if iteration > max_iter:
        hint = f"--solver-set max_iter=M with M greater than {iteration} prolongs the training"
        raise RunError(f"the run is at iteration {iteration}, and max_iter is {max_iter}", hint=hint, place=str(path))


def _load_weights(plan: Plan, params: Tree, state: Tree, path: Path, request: Request) -> tuple[Tree, Tree]:
    found = read_blobs(path, plan.graph, load_weights_map(request.weights_map))
    warn(*found.warnings)
    params, state, transfer = fit(plan.graph, params, state, found, skip=request.skip)
    say(f"weights from {found.place}\n{transfer.as_text()}")
    return params, state


def _find_need_of_batch(plan: Plan) -> tuple[Diagnostic, ...]:
    batch, height, width, channels = plan.graph.inputs["data"].shape
    return find_need_of_batch(plan.spec, batch, (height, width), channels)


def _write_texts(plan: Plan, folder: RunFolder) -> None:
    write_atomically(folder.spec, flat_text(plan.spec).encode())
    write_atomically(folder.solver, solver_text(plan.solver).encode())


def _refuse_taken(path: Path, hint: str = "") -> None:
    """Raises RunError when a run cannot be started in a folder, before anything is read that takes time."""
    if not path.exists():
        return
    try:
        with start_run(path):
            return
    except RunError as error:
        first = error.diagnostics[0]
        raise RunError(replace(first, hint=hint or first.hint)) from None


def _refuse_foreign(path: Path) -> None:
    """Raises RunError where --overwrite would remove something other than a run."""
    if not RunFolder(path).spec.is_file():
        _refuse_taken(path, "--overwrite removes runs only, and this is none; name another folder with --run")


def _nameable(path: Path) -> Path:
    """The folder by a path that other names can be put beside: a link or `..` by what it leads to."""
    return path.resolve() if path.is_symlink() or path.name in ("", "..") else path


def _restore(path: Path) -> None:
    if restore_run(path):
        say(f"the start that was to replace {path} was killed before its first iteration; the earlier run is back")


@contextmanager
def _replacing(path: Path) -> Iterator[None]:
    """Keeps the run that is in a folder, if there is one, until another has made its first iteration there."""
    if not RunFolder(path).spec.is_file():
        yield
        return
    with replace_run(path):
        try:
            yield
        except BaseException:
            if is_replacing(path):
                say(f"there was no first iteration: the run that was to be replaced is kept in {path}")
            raise
