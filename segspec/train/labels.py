"""What images and labels decide before training: whether all can be trained on, and the weights of the classes."""

from __future__ import annotations

import os
import sys

from segspec.data.class_weights import class_weights
from segspec.data.sample import ImageSource
from segspec.data.scan import LabelCounts, scan
from segspec.messages import say, warn
from segspec.spec.classes import ClassTable
from segspec.train.session import Plan, make_plan, with_class_weights
from segspec.train.sizes import refuse_sizes

LIVE_FROM = 500
"""Images from which on the checking of labels is shown at a terminal."""


def settle_class_weights(plan: Plan, workers: int | None) -> Plan:
    """The plan after every image and label has been checked, with class weights in numbers.

    Raises:
        DataError: files that cannot be trained or tested on.
    """
    table = plan.spec.classes
    if table is None:
        return plan
    counts = _scan(plan.train, table, "training", workers)
    refuse_sizes(plan, "train", counts.sizes)
    if plan.test is not None:
        tested = _scan(plan.test, table, "test", workers)
        if plan.solver.test_interval:
            refuse_sizes(plan, "test", tested.sizes)
    spec = with_class_weights(plan.spec, lambda rule: _numbers(rule, counts, table))
    return plan if spec == plan.spec else make_plan(spec, plan.solver)


def _numbers(rule: str, counts: LabelCounts, table: ClassTable) -> tuple[float, ...]:
    """The weights of a rule such as `median_frequency`, told to the user."""
    found = class_weights(rule, counts, table.names)  # type: ignore[arg-type]
    warn(*found.warnings)
    listed = ", ".join(f"{name} {weight:.4g}" for name, weight in zip(table.names, found.weights, strict=True))
    say(f"class weights ({rule}): {listed}")
    return found.weights


def _scan(source: ImageSource, table: ClassTable, phase: str, workers: int | None) -> LabelCounts:
    live = sys.stderr.isatty() and len(source) > LIVE_FROM

    def show(done: int, total: int) -> None:
        if live:
            print(f"\rchecking {phase} images {done}/{total}", end="\n" if done == total else "", file=sys.stderr)

    return scan(source, table, workers=workers or default_workers(), progress=show)


def default_workers() -> int:
    """Threads that read images, unless told otherwise: one a core, up to 4."""
    return min(4, os.cpu_count() or 1)
