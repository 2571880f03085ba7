"""Compares whole nets, trainings and statistics of batch normalisation with arrays that Caffe wrote.

    python tools/golden_nets.py nets traj bnstats

A folder holds any of these, told apart by their names and contents:

* NAME.prototxt, NAME.npz and a caffemodel: every blob, the loss and the gradients of a net;
* NAME_solver.prototxt and NAME.npz: losses, rates and parameters of a training;
* NAME_Nseeds*.npz beside NAME_solver.prototxt: trainings from N random starts, compared statistically;
* NAME_calc_bn.prototxt and NAME_bn.npz: statistics of batch normalisation, and what a net infers with them.

Paths in a prototxt are relative to the folder above (`--root`). Weights may lie in the folder or in its neighbours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from golden_net import run_net
from golden_parts import Case
from golden_run import run_training
from golden_seeds import run_seeds
from golden_statistics import run_statistics

from segspec.errors import SegspecError
from segspec.spec.solver import Precision


def run_folder(folder: Path, root: Path, words: Sequence[str] = (), precision: Precision = "float32") -> Iterator[Case]:
    """Runs every case of a folder, in order of name.

    Args:
        folder: holds the cases.
        root: what paths in the prototxts are relative to.
        words: only cases whose name contains one of these; all when empty.
        precision: of nets and trainings; statistics of batch normalisation are taken in float32.
    """
    folders = [folder, *sorted(other for other in root.iterdir() if other.is_dir() and other != folder)]
    for path in sorted(folder.glob("*.npz")):
        if words and not any(word in path.stem for word in words):
            continue
        try:
            yield _run(path, root, folders, precision)
        except SegspecError as error:
            yield Case(f"{folder.name}/{path.stem}", (), str(error))


def _run(path: Path, root: Path, folders: list[Path], precision: Precision) -> Case:
    beside = {ending: path.with_name(f"{path.stem}{ending}.prototxt") for ending in ("", "_solver")}
    if beside["_solver"].is_file():
        return run_training(beside["_solver"], root, folders, precision)
    if beside[""].is_file():
        return run_net(beside[""], folders, precision)
    if path.stem.endswith("_bn"):
        return run_statistics(path, root)
    if "seeds" in path.stem:
        return run_seeds(path, root, precision)
    return Case(f"{path.parent.name}/{path.stem}", (), "no prototxt of this name lies beside it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the folders named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="nets, trainings or statistics")
    parser.add_argument("--root", type=Path, help="what paths in prototxts are relative to (default: the folder above)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="only cases named so; may be repeated"
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="of nets and trainings, with limits to match, see golden_precision.py (default: float32, the strictest)",
    )
    options = parser.parse_args(arguments)
    cases = []
    for folder in options.folders:
        for case in run_folder(folder, options.root or folder.resolve().parent, options.only, options.precision):
            print(case, flush=True)
            cases.append(case)
    counts = {word: sum(case.outcome == word for case in cases) for word in ("ok", "known", "FAIL")}
    print(f"{len(cases)} cases: " + ", ".join(f"{count} {word}" for word, count in counts.items()))
    return 1 if counts["FAIL"] or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
