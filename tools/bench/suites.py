"""The suites of the bench by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bench.options import Options
from bench.results import Contest
from bench.suite_data import run_data
from bench.suite_nets import run_infer, run_train
from bench.suite_ops import run_convolution, run_pool
from bench.suite_scaling import run_scaling
from bench.suite_startup import run_startup

SUITES: Mapping[str, Callable[[Options], Iterator[Contest]]] = {
    "train": run_train,
    "infer": run_infer,
    "startup": run_startup,
    "data": run_data,
    "pool": run_pool,
    "conv": run_convolution,
    "scaling": run_scaling,
}
IN_TABLE = ("train", "infer", "scaling", "startup", "data")
"""What `table` measures: every figure that has a bar."""
