"""Kills a real `segspec train` with SIGKILL at random instants, resumes it, and compares it with one left alone.

    python tools/kill_train.py 500

Every loss and every array of the last snapshot must be the same, no snapshot may be lost and no temporary left. The net
has batch normalisation and dropout, the images are shuffled and mirrored, and an iteration has two batches.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from segspec.run.snapshots import read_arrays

ITERATIONS = 40
SPEC = """\
segspec: 1
name: kill
classes: 2
data:
  train: {type: SyntheticSquares, batch_size: 2, count: 12, height: 24, width: 24, shuffle: true, mirror: true}
layers:
  - Convolution: {num_output: 8, kernel_size: 3, pad: 1}
  - BatchNorm
  - ReLU
  - Dropout
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
  - SoftmaxWithLoss
"""
SOLVER = (
    "{base_lr: 0.05, momentum: 0.9, iter_size: 2, display: 1, snapshot: 1, keep: 2, test_interval: 0, max_iter: %d}\n"
)


def main() -> int:
    """Kills as often as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, help="how many times a trainer is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        survived = kill_and_compare(Path(folder), options.kills, options.seed)
    print(f"killed {options.kills} times, {survived} trainings finished, each equal to the one left alone")
    return 0


def kill_and_compare(folder: Path, kills: int, seed: int = 0) -> int:
    """Trains, and trains under fire, until there were so many kills.

    Returns:
        How many trainings under fire came to their end.

    Raises:
        AssertionError: something was lost or is different.
    """
    (folder / "net.yaml").write_text(SPEC)
    (folder / "solver.yaml").write_text(SOLVER % ITERATIONS)
    alone = folder / "alone"
    assert start(folder, alone).wait() == 0
    rng = random.Random(seed)
    survived = 0
    while kills > 0:
        run = folder / f"run{survived}"
        kills -= train_under_fire(folder, run, rng, kills)
        compare(alone, run)
        survived += 1
    return survived


def train_under_fire(folder: Path, run: Path, rng: random.Random, most: int) -> int:
    """One training to its end, killed on the way at most so many times. Returns how many times it was."""
    kills = 0
    process = start(folder, run)
    while kills < most and strike(process, run, rng):
        kills += 1
        process = start(folder, run)
    assert process.wait() == 0, "a trainer could not go on where another was killed"
    return kills


def start(folder: Path, run: Path) -> subprocess.Popen[bytes]:
    """A trainer that goes on with the run where there is a snapshot, else begins it."""
    begin = [str(folder / "net.yaml"), str(folder / "solver.yaml"), "--run", str(run), "--overwrite"]
    arguments = ["--resume", str(run)] if newest(run) >= 0 else begin
    environment = {
        **os.environ,
        "SEGSPEC_CACHE": str(folder / "compiled"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-m", "segspec.cli", "train", *arguments, "--workers", "2"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def strike(process: subprocess.Popen[bytes], run: Path, rng: random.Random) -> bool:
    """Kills a trainer some iterations on, at any instant of one. Returns whether it was still at work."""
    first = max(0, newest(run))
    until = first + rng.randrange(ITERATIONS // 2) - 2  # sometimes before the first iteration
    while process.poll() is None and newest(run) < until:
        time.sleep(0.002)
    time.sleep(rng.random() * (2.0 if until < first else 0.05))
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def newest(run: Path) -> int:
    """The iteration of the newest snapshot; -1 where there is none."""
    return max((int(path.name) for path in (run / "snapshots").glob("0*")), default=-1)


def compare(alone: Path, run: Path) -> None:
    """Asserts that two runs came to the same end by the same way."""
    assert list(losses(alone)) == list(losses(run)), "a loss is different"
    expected, found = (read_arrays(path / "snapshots" / f"{ITERATIONS:09d}") for path in (alone, run))
    assert {tree: sorted(flat) for tree, flat in expected.items()} == {
        tree: sorted(flat) for tree, flat in found.items()
    }
    for tree, flat in expected.items():
        for name, array in flat.items():
            assert array.tobytes() == found[tree][name].tobytes(), f"{tree} {name} is different"
    assert files(alone) == files(run), "something was left behind, or is missing"


def losses(run: Path) -> Iterator[tuple[int, float]]:
    """Iterations and losses as the log has them, in its order."""
    for line in (run / "log.jsonl").read_text().splitlines():
        record = json.loads(line)
        yield record["iteration"], record["loss"]


def files(run: Path) -> Sequence[str]:
    """Everything in a run folder."""
    return sorted(str(path.relative_to(run)) for path in run.rglob("*"))


if __name__ == "__main__":
    sys.exit(main())
