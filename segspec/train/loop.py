"""The loop of a training: iterations, tests, snapshots, the log and its curves, until done or told to stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from segspec.errors import DataError, Diagnostic, RunError, SpecError
from segspec.run.folder import RunFolder
from segspec.run.log import Log, read_log
from segspec.train.background import Background
from segspec.train.feed import Fed
from segspec.train.memory import explain_full_memory, fitting_batch
from segspec.train.progress import Pace, Progress, Record, Speed
from segspec.train.rate import learning_rate
from segspec.train.session import Plan, Score, Validator
from segspec.train.signals import Wishes
from segspec.train.step import Metrics, MicroBatches, Step, TrainState, batch_key, find_non_finite

CURVE_SECONDS = 20.0
CURVE_SHARE = 50
"""The curves are drawn again after this many times the time that the last drawing took, if that is longer."""
SHOWN_IMAGES = 8
Save = Callable[[int, TrainState, Score | None], None]


class _Done(NamedTuple):
    """An iteration that is made and not yet told: how many are, its metrics, and the speed."""

    iterations: int
    metrics: Metrics
    speed: Pace


@dataclass
class Training:
    """What the loop works with.

    The device is kept at work: the images of an iteration are ready before it, figures of the iteration before are told
    while it computes, snapshots and curves are written by threads.

    Attributes:
        plan: net, solver and images.
        folder: the run folder.
        step: one iteration.
        validate: a test pass, or None without test images.
        save: writes a snapshot: iterations done, state (NumPy arrays), and the score at that iteration if there is one.
        begun: called when the first iteration has been made.
        log, progress: where figures go.
        wishes: what signals ask for.
    """

    plan: Plan
    folder: RunFolder
    step: Step
    validate: Validator | None
    save: Save
    begun: Callable[[], None]
    log: Log
    progress: Progress
    wishes: Wishes
    _next_drawing: float = field(default=0.0, init=False)
    _untold: _Done | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        solver = self.plan.solver
        self._losses: deque[float] = deque(maxlen=solver.average_loss)
        self._rate = jax.jit(learning_rate(solver))
        self._speed = Speed(solver.iter_size * self.plan.data.batch_size)
        self._writer = Background("segspec-snapshots")
        self._artist = Background("segspec-curves")

    def run(self, state: TrainState, feed: Iterator[Fed], first: int) -> tuple[TrainState, int]:
        """Trains from iteration `first` on.

        Returns:
            The last state, and the number of the signal that stopped the training (0: it is done).
        """
        self._next_drawing = time.monotonic() + CURVE_SECONDS
        with self._writer, self._artist:
            self._begin(state, first)
            try:
                state, stopped = self._iterate(state, feed, first)
            except BaseException:
                with suppress(RunError):  # what ended the training matters more
                    self._report()
                raise
        self._draw()
        return state, stopped

    @property
    def waiting(self) -> float:
        """Share of the time since the first iteration, 0..1, that the training waited for images."""
        return self._speed.total_waiting

    def _iterate(self, state: TrainState, feed: Iterator[Fed], first: int) -> tuple[TrainState, int]:
        max_iter = self.plan.solver.max_iter
        fed = next(feed) if first < max_iter else None
        for iteration in range(first, max_iter):
            assert fed is not None
            with explain_full_memory(self.plan.data.batch_size, partial(fitting_batch, self.plan)):
                state, metrics = self._step(state, fed, iteration)
                # On a CPU the call may have computed all of it, and the next one would too, before anything is told.
                overlaps = not metrics["finite"].is_ready()  # type: ignore[attr-defined]
                self._report()
                finite = bool(metrics["finite"])  # waits for the step
            if not finite:
                self._artist.wait()
                self._draw()
                raise self._diverged(state, fed, iteration)
            if iteration == first:
                self._writer.wait()  # an earlier run is given up only for one that has a snapshot
                self.begun()
            free = time.monotonic()
            try:
                fed = next(feed) if iteration + 1 < max_iter else None
            finally:
                self._untold = _Done(iteration + 1, metrics, self._speed.mark(time.monotonic() - free))
            self._writer.check()
            if not overlaps or iteration == first:
                self._report()
            if self._is_due(iteration + 1):
                self._report()
                if self._settle(state, iteration + 1):
                    return state, self.wishes.stop
        return state, 0

    def _begin(self, state: TrainState, first: int) -> None:
        """A snapshot before the first iteration, so that a run can be resumed from then on; a test that is yet due."""
        solver = self.plan.solver
        if first == 0 and solver.snapshot:
            self._save(0, state, None)
        due = self._is_test_due(first) if first else bool(solver.test_interval) and solver.test_initialization
        if not due or any("miou" in record and record["iteration"] == first for record in read_log(self.folder.log)):
            return
        score = self._test(state)
        if score is not None and first:
            self._save(first, state, score)
        self._tell(score, first)

    def _is_test_due(self, done: int) -> bool:
        solver = self.plan.solver
        return bool(solver.test_interval) and (done == solver.max_iter or done % solver.test_interval == 0)

    def _step(self, state: TrainState, fed: Fed, iteration: int) -> tuple[TrainState, Metrics]:
        try:
            return self.step(state, fed.batches, jax.device_put(np.int32(iteration)))
        except SpecError as error:
            reason, place = error.diagnostics[0], fed.names[0]
            hint = "set new_height and new_width, or crop_size, to give all images one size that fits"
            diagnostic = Diagnostic(f"the net does not fit this image: {reason.message}", hint=hint, place=place)
            raise DataError(diagnostic) from None

    def _report(self) -> None:
        """Shows and logs the last iteration, unless it was already."""
        done, self._untold = self._untold, None
        if done is None:
            return
        solver, number = self.plan.solver, done.iterations
        scalars = {name: value for name, value in done.metrics.items() if jnp.ndim(value) == 0 and name != "finite"}
        values = {name: float(value) for name, value in jax.device_get(scalars).items()}
        self._losses.append(values["loss"])
        record = {
            **values,
            "iteration": number,
            "smoothed_loss": sum(self._losses) / len(self._losses),
            "rate": float(self._rate(np.int32(number - 1))),
            "images_per_second": done.speed.rate,
            "seconds_per_iteration": done.speed.seconds,
            "waiting": done.speed.waiting,
        }
        due = bool(solver.display) and (number % solver.display == 0 or number in (1, solver.max_iter))
        self.progress.iteration(record, display=due)
        if due:
            self._keep(record)

    def _is_due(self, done: int) -> bool:
        """Whether anything is to be done with the state after an iteration."""
        asked = self._is_stopping() or self.wishes.snapshot
        return asked or self._is_test_due(done) or self._is_snapshot_due(done) or done == self.plan.solver.max_iter

    def _is_snapshot_due(self, done: int) -> bool:
        solver = self.plan.solver
        regular = bool(solver.snapshot) and done % solver.snapshot == 0
        return regular or (done == solver.max_iter and solver.snapshot_after_train)

    def _settle(self, state: TrainState, done: int) -> bool:
        """What is due after an iteration: a test, a snapshot. Returns whether to stop."""
        score = self._test(state) if self._is_test_due(done) else None
        self._tell(score, done)
        stopping = self._is_stopping()
        if stopping or self.wishes.snapshot or self._is_snapshot_due(done):
            self._save(done, state, score)
            self.wishes.snapshot = False
        return stopping

    def _save(self, done: int, state: TrainState, score: Score | None) -> None:
        """Has a snapshot written beside the training, of a copy: the next step takes the arrays themselves."""
        self._writer.submit(partial(self.save, done, jax.tree.map(np.array, state), score))

    def _is_stopping(self) -> bool:
        return bool(self.wishes.stop)

    def _test(self, state: TrainState) -> Score | None:
        """A test pass; None where there is nothing to test on, or a signal cut it short."""
        if self.validate is None:
            return None
        started = time.monotonic()
        score = self.validate(state.params, state.state, self._is_stopping)
        self._speed.leave_out(time.monotonic() - started)
        return score

    def _tell(self, score: Score | None, done: int) -> None:
        """Shows and logs the outcome of a test, if there was one."""
        if score is None:
            return
        record = {"iteration": done, "loss": score.loss, "miou": score.miou, "accuracy": score.accuracy}
        self.progress.test(record)
        self._keep(record)

    def _keep(self, record: Record) -> None:
        """Logs a record, and has the curves drawn anew when the last picture is old."""
        self.log.append(record)
        self._artist.check()
        if time.monotonic() > self._next_drawing and not self._artist.busy:
            self._artist.submit(self._draw)

    def _draw(self) -> None:
        from segspec.train.curves import draw_curves  # here, since it takes Matplotlib long to load

        started = time.monotonic()
        draw_curves(read_log(self.folder.log), self.folder.curves)
        took = time.monotonic() - started
        self._next_drawing = time.monotonic() + max(CURVE_SECONDS, CURVE_SHARE * took)

    def _diverged(self, state: TrainState, fed: Fed, iteration: int) -> RunError:
        """The error for an iteration that is not finite; the state is still the one before it."""
        layer = self._layer_at_fault(state, fed.batches, iteration)
        where = f"first in layer '{layer}'" if layer else "in a gradient or an update, while all layers are finite"
        files = [f"    {name}" for name in fed.names[:SHOWN_IMAGES]]
        if len(fed.names) > SHOWN_IMAGES:
            files.append(f"    and {len(fed.names) - SHOWN_IMAGES} more")
        message = "\n".join([f"iteration {iteration + 1}: NaN or Inf, {where}; its images were", *files])
        hint = "lower base_lr, add clip_gradients or warmup, or look at these images and their labels"
        return RunError(message, hint=hint)

    def _layer_at_fault(self, state: TrainState, batches: MicroBatches, iteration: int) -> str | None:
        plan = self.plan
        height, width = batches.data.shape[2:4]
        graph, dtype = plan.graph_at((height, width)), plan.solver.dtype
        for number in range(batches.data.shape[0]):
            batch = MicroBatches(batches.data[number], batches.label[number])
            key = batch_key(plan.solver.random_seed, iteration, number)
            if layer := find_non_finite(graph, plan.data, state, batch, key=key, dtype=dtype):
                return layer
        return None
