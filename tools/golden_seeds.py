"""Trainings from several random starts against Caffe's, statistically."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from golden_parts import Case, Figure
from golden_run import Setting, read_setting, train

from segspec.net import init
from segspec.spec.solver import Precision
from segspec.train.runtime import prepare


def run_seeds(path: Path, root: Path, precision: Precision = "float32") -> Case:
    """Compares trainings from several random starts with Caffe's, statistically: the last 12 losses and accuracies.

    Args:
        path: NAME_5seeds_200it.npz or the like; the training is NAME_solver.prototxt beside it.
        root: what paths in the prototxts are relative to.
        precision: of our trainings.
    """
    stem = re.sub(r"_\d+seeds.*", "", path.stem)
    with np.load(path) as file:
        golden = dict(file)
    seeds = sorted(key for key in golden if key.startswith("loss_seed"))
    setting = read_setting(path.with_name(f"{stem}_solver.prototxt"), root, golden, len(golden[seeds[0]]))
    setting = replace(setting, solver=setting.solver.model_copy(update={"precision": precision}))
    prepare(setting.solver)
    ours = [_last(setting, seed, len(golden[seeds[0]])) for seed in range(len(seeds))]
    figures = []
    for what, index in (("loss", 0), ("acc", 1)):
        theirs = [float(np.mean(golden[key][-12:])) for key in golden if key.startswith(f"{what}_seed")]
        mine = [found[index] for found in ours]
        error = np.hypot(np.std(theirs, ddof=1), np.std(mine, ddof=1)) / np.sqrt(len(seeds))
        figures.append(
            Figure(f"mean {what} of the last 12, in standard errors", abs(np.mean(mine) - np.mean(theirs)) / error, 3.0)
        )
    return Case(f"{path.parent.name}/{path.stem}", tuple(figures), f"{len(seeds)} seeds, {precision}")


def _last(setting: Setting, seed: int, iterations: int) -> tuple[float, float]:
    params, state = init(setting.graph, seed)
    metrics = [metrics for _, metrics in train(setting, params, state, iterations)][-12:]
    return float(np.mean([m["loss"] for m in metrics])), float(np.mean([m["accuracy"] for m in metrics]))
