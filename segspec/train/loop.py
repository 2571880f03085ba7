"""The loop of a training: iterations, tests, snapshots, the log and its curves, until done or told to stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax.numpy as jnp

from segspec.errors import DataError, Diagnostic, RunError, SpecError
from segspec.run.folder import RunFolder
from segspec.run.log import Log, read_log
from segspec.train.curves import draw_curves
from segspec.train.feed import Fed
from segspec.train.memory import explain_full_memory
from segspec.train.progress import Progress, Record, Speed
from segspec.train.rate import learning_rate
from segspec.train.session import Plan, Score, Validator
from segspec.train.signals import Wishes
from segspec.train.step import Metrics, MicroBatches, Step, TrainState, batch_key, find_non_finite

CURVE_SECONDS = 20.0
SHOWN_IMAGES = 8
Save = Callable[[int, TrainState, Score | None], None]


@dataclass
class Training:
    """What the loop works with.

    Attributes:
        plan: net, solver and images.
        folder: the run folder.
        step: one iteration.
        validate: a test pass, or None without test images.
        save: writes a snapshot: iterations done, state, and the score at that iteration if there is one.
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
    _losses: deque[float] = field(default_factory=deque)
    _drawn: float = 0.0

    def run(self, state: TrainState, feed: Iterator[Fed], first: int) -> tuple[TrainState, int]:
        """Trains from iteration `first` on.

        Returns:
            The last state, and the number of the signal that stopped the training (0: it is done).
        """
        solver = self.plan.solver
        self._losses = deque(maxlen=solver.average_loss)
        self._drawn = time.monotonic()
        rate = learning_rate(solver)
        speed = Speed(solver.iter_size * self.plan.data.batch_size)
        self._begin(state, first)
        fed = next(feed) if first < solver.max_iter else None
        for iteration in range(first, solver.max_iter):
            assert fed is not None
            with explain_full_memory(self.plan.data.batch_size):
                state, metrics = self._step(state, fed, iteration)
                ahead = next(feed) if iteration + 1 < solver.max_iter else None
                values = {name: float(value) for name, value in metrics.items() if jnp.ndim(value) == 0}
            if not values.pop("finite"):
                self._draw()
                raise self._diverged(state, fed, iteration)
            if iteration == first:
                self.begun()
            speed.mark(fed.waited)
            self._report(values, iteration + 1, float(rate(jnp.int32(iteration))), speed)
            fed = ahead
            if self._settle(state, iteration + 1):
                return state, self.wishes.stop
        self._draw()
        return state, 0

    def _begin(self, state: TrainState, first: int) -> None:
        """A snapshot before the first iteration, so that a run can be resumed from then on; a test that is yet due."""
        solver = self.plan.solver
        if first == 0 and solver.snapshot:
            self.save(0, state, None)
        due = self._is_test_due(first) if first else bool(solver.test_interval) and solver.test_initialization
        if not due or any("miou" in record and record["iteration"] == first for record in read_log(self.folder.log)):
            return
        score = self._test(state)
        if score is not None and first:
            self.save(first, state, score)
        self._tell(score, first)

    def _is_test_due(self, done: int) -> bool:
        solver = self.plan.solver
        return bool(solver.test_interval) and (done == solver.max_iter or done % solver.test_interval == 0)

    def _step(self, state: TrainState, fed: Fed, iteration: int) -> tuple[TrainState, Metrics]:
        try:
            return self.step(state, fed.batches, jnp.int32(iteration))
        except SpecError as error:
            reason, place = error.diagnostics[0], fed.names[0]
            hint = "set new_height and new_width, or crop_size, to give all images one size that fits"
            diagnostic = Diagnostic(f"the net does not fit this image: {reason.message}", hint=hint, place=place)
            raise DataError(diagnostic) from None

    def _report(self, values: dict[str, float], done: int, rate: float, speed: Speed) -> None:
        solver = self.plan.solver
        self._losses.append(values["loss"])
        record = {
            **values,
            "iteration": done,
            "smoothed_loss": sum(self._losses) / len(self._losses),
            "rate": rate,
            "images_per_second": speed.rate,
            "seconds_per_iteration": speed.seconds,
            "waiting": speed.waiting,
        }
        due = bool(solver.display) and (done % solver.display == 0 or done in (1, solver.max_iter))
        self.progress.iteration(record, display=due)
        if due:
            self._keep(record)

    def _settle(self, state: TrainState, done: int) -> bool:
        """What is due after an iteration: a test, a snapshot. Returns whether to stop."""
        solver = self.plan.solver
        last = done == solver.max_iter
        score = self._test(state) if self._is_test_due(done) else None
        self._tell(score, done)
        stopping = self._is_stopping()
        regular = bool(solver.snapshot) and done % solver.snapshot == 0
        if regular or stopping or self.wishes.snapshot or (last and solver.snapshot_after_train):
            self.save(done, state, score)
            self.wishes.snapshot = False
        if stopping:
            self._draw()
        return stopping

    def _is_stopping(self) -> bool:
        return bool(self.wishes.stop)

    def _test(self, state: TrainState) -> Score | None:
        """A test pass; None where there is nothing to test on, or a signal cut it short."""
        return None if self.validate is None else self.validate(state.params, state.state, self._is_stopping)

    def _tell(self, score: Score | None, done: int) -> None:
        """Shows and logs the outcome of a test, if there was one."""
        if score is None:
            return
        record = {"iteration": done, "loss": score.loss, "miou": score.miou, "accuracy": score.accuracy}
        self.progress.test(record)
        self._keep(record)

    def _keep(self, record: Record) -> None:
        """Logs a record, and draws the curves anew when the last picture is old."""
        self.log.append(record)
        if time.monotonic() - self._drawn > CURVE_SECONDS:
            self._draw()

    def _draw(self) -> None:
        draw_curves(read_log(self.folder.log), self.folder.curves)
        self._drawn = time.monotonic()

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
