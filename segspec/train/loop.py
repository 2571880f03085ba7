"""The loop of a training: iterations, tests, snapshots, the log and its curves, until done or told to stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from segspec.errors import RunError
from segspec.train.curves import draw_curves
from segspec.train.feed import Fed
from segspec.run.log import Log, read_log
from segspec.train.progress import Progress, Speed
from segspec.train.rate import learning_rate
from segspec.train.runtime import compute_dtype
from segspec.run.folder import RunFolder
from segspec.train.session import Plan, Score, Validator
from segspec.train.signals import Wishes
from segspec.train.step import Step, TrainState, find_non_finite

CURVE_SECONDS = 20.0
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
        log, progress: where figures go.
        wishes: what signals ask for.
    """

    plan: Plan
    folder: RunFolder
    step: Step
    validate: Validator | None
    save: Save
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
        rate = learning_rate(solver)
        speed = Speed(solver.iter_size * self.plan.data.batch_size)
        if first == 0 and solver.test_initialization and solver.test_interval:
            self._test(state, 0)
        fed = next(feed) if first < solver.max_iter else None
        for iteration in range(first, solver.max_iter):
            assert fed is not None
            state, metrics = self._step(state, fed, iteration)
            ahead = next(feed) if iteration + 1 < solver.max_iter else None
            values = {name: float(value) for name, value in metrics.items() if jnp.ndim(value) == 0}
            if not values.pop("finite"):
                raise self._diverged(state, fed, iteration + 1)
            speed.mark(fed.waited)
            self._report(values, iteration + 1, float(rate(jnp.int32(iteration))), speed)
            fed = ahead
            if self._settle(state, iteration + 1):
                return state, self.wishes.stop
        self._draw()
        return state, 0

    def _step(self, state: TrainState, fed: Fed, iteration: int) -> tuple[TrainState, dict[str, jax.Array]]:
        try:
            return self.step(state, fed.batches, jnp.int32(iteration))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            size = self.plan.data.batch_size
            hint = f"lower the batch: --set data.train.batch_size={max(1, size // 2)}, and raise iter_size in return"
            raise RunError(f"out of memory with batches of {size} images", hint=hint) from None

    def _report(self, values: dict[str, float], done: int, rate: float, speed: Speed) -> None:
        solver = self.plan.solver
        self._losses.append(values["loss"])
        record = {
            "iteration": done,
            **values,
            "smoothed_loss": sum(self._losses) / len(self._losses),
            "rate": rate,
            "images_per_second": speed.rate,
            "seconds_per_iteration": speed.seconds,
            "waiting": speed.waiting,
        }
        due = bool(solver.display) and (done % solver.display == 0 or done in (1, solver.max_iter))
        self.progress.iteration(record, display=due)
        if due:
            self.log.append(record)
            if time.monotonic() - self._drawn > CURVE_SECONDS:
                self._draw()

    def _settle(self, state: TrainState, done: int) -> bool:
        """What is due after an iteration: a test, a snapshot. Returns whether to stop."""
        solver, stopping = self.plan.solver, bool(self.wishes.stop)
        last = done == solver.max_iter
        score = None
        if solver.test_interval and not stopping and (last or done % solver.test_interval == 0):
            score = self._test(state, done)
        regular = bool(solver.snapshot) and done % solver.snapshot == 0
        if regular or stopping or self.wishes.snapshot or (last and solver.snapshot_after_train):
            self.save(done, state, score)
            self.wishes.snapshot = False
        if stopping:
            self._draw()
        return stopping

    def _test(self, state: TrainState, done: int) -> Score | None:
        if self.validate is None:
            return None
        score = self.validate(state.params, state.state)
        record = {"iteration": done, "loss": score.loss, "miou": score.miou, "accuracy": score.accuracy}
        self.log.append(record)
        self.progress.test(record)
        self._draw()
        return score

    def _draw(self) -> None:
        draw_curves(read_log(self.folder.log), self.folder.curves)
        self._drawn = time.monotonic()

    def _diverged(self, state: TrainState, fed: Fed, iteration: int) -> RunError:
        """The error for a loss or gradient that is not finite; the state is still the one before it."""
        layer = None
        for index in range(fed.batches.data.shape[0]):
            images, labels = jnp.asarray(fed.batches.data[index]), jnp.asarray(fed.batches.label[index])
            layer = layer or find_non_finite(
                self.plan.graph, self.plan.data, state, images, labels, dtype=compute_dtype(self.plan.solver.precision)
            )
        where = f"first in layer '{layer}'" if layer else "in the gradient, while every layer's output is finite"
        files = "\n".join(f"    {name}" for name in fed.names[:8])
        hint = "lower base_lr, add clip_gradients or warmup, or look at these images and their labels"
        return RunError(f"iteration {iteration}: not finite, {where}; its images were\n{files}", hint=hint)
