"""Snapshots of a training: complete or absent, checked when read, the newest few and the best kept.

A snapshot is a folder named after its iteration. It holds one safetensors file for each tree, `meta.json`,
`metrics.json` where it was tested only after it was written, and `manifest.json` with the SHA-256 of the others. All
are written and flushed to the disk under a temporary name, then the folder is renamed: a trainer that is killed, or a
machine that loses power, leaves the earlier snapshots as they were.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from segspec.errors import Diagnostic, RunError
from segspec.run import arrays
from segspec.run.checked import (
    MANIFEST,
    WRITING,
    DamagedError,
    add_file,
    flush_to_disk,
    is_intact,
    read_checked,
    read_sums,
    write_file,
    write_manifest,
)
from segspec.run.folder import RunFolder, snapshot_iterations
from segspec.run.log import finite_or_null

Trees = Mapping[str, Any]
"""Trees of arrays by name: `params`, `state`, `optimizer`."""

_META, _METRICS, _ARRAYS = "meta.json", "metrics.json", ".safetensors"
_REMOVING = ".removing-"


class Snapshot(NamedTuple):
    """A snapshot that was read.

    Attributes:
        iteration: updates made before it; training goes on with this iteration.
        path: its folder.
        trees: as asked for.
        meta: what was saved beside them.
        damaged: a warning for each snapshot that would have been taken before it, but is damaged.
    """

    iteration: int
    path: Path
    trees: dict[str, Any]
    meta: dict[str, Any]
    damaged: tuple[Diagnostic, ...] = ()


def save_snapshot(run: RunFolder, iteration: int, trees: Trees, meta: Mapping[str, Any], *, keep: int) -> Path:
    """Writes a snapshot, then removes old ones.

    An intact snapshot of the same iteration keeps its arrays: the same iteration of the same run is the same state.
    What a test has found since is added to it.

    Args:
        run: a run folder whose lock is held.
        iteration: updates made so far.
        trees: nested dicts, tuples and named tuples of arrays.
        meta: what JSON can say; `metrics` with `miou` or `loss` decides which snapshot is the best.
        keep: how many of the newest are kept, the best one besides.

    Returns:
        The folder of the snapshot.

    Raises:
        RunError: a number is not finite, or the disk fails; earlier snapshots are as they were.
    """
    target = run.snapshots / f"{iteration:09d}"
    flat = {name: arrays.flatten(tree) for name, tree in trees.items()}
    _refuse_non_finite(iteration, flat)
    try:
        if not is_intact(target):
            _write_snapshot(run, target, flat, _meta_text(iteration, meta))
        elif metrics := _finite(meta):
            _add_metrics(target, metrics)
    except OSError as error:
        message = f"cannot write the snapshot of iteration {iteration}: {error.strerror or error}"
        raise RunError(message, hint="earlier snapshots are as they were", place=str(run.snapshots)) from error
    _remove_old(run, keep)
    return target


def load_snapshot(path: Path, like: Trees) -> Snapshot:
    """One snapshot by its folder.

    Args:
        path: its folder.
        like: the trees to read, with arrays (or shapes and types of arrays) in place of the ones in the file; arrays
            come back on the devices where these are.

    Raises:
        RunError: it is damaged, or of another net or solver.
    """
    try:
        return read_snapshot(path, like)
    except DamagedError as fault:
        raise RunError(f"damaged snapshot: {fault}", place=str(path)) from None


def read_arrays(path: Path) -> dict[str, arrays.Flat]:
    """The arrays of a snapshot by tree and name, whatever net they are of.

    Raises:
        RunError: it is damaged.
    """
    try:
        return read_trees(path)
    except DamagedError as fault:
        raise RunError(f"damaged snapshot: {fault}", place=str(path)) from None


def read_trees(path: Path) -> dict[str, arrays.Flat]:
    """As `read_arrays`, but raises DamagedError where it is damaged."""
    sums = _read_sums(path)
    files = [name for name in sums if name.endswith(_ARRAYS)]
    return {name.removesuffix(_ARRAYS): arrays.decode(read_checked(path, name, sums)) for name in files}


def list_snapshots(run: RunFolder) -> list[Path]:
    """The folders of the snapshots, oldest first; they are not checked."""
    return [run.snapshots / f"{iteration:09d}" for iteration in snapshot_iterations(run)]


def is_snapshot(path: Path) -> bool:
    """Whether a folder is a snapshot, damaged or not."""
    return (path / MANIFEST).is_file()


def best_snapshot(run: RunFolder) -> Path | None:
    """The snapshot with the greatest mIoU, else the least loss; None where no snapshot says either."""
    merits = [(merit, path) for path in list_snapshots(run) if (merit := _merit(path)) is not None]
    return max(merits)[1] if merits else None


def remove_unfinished(run: RunFolder) -> None:
    """Removes what a killed trainer left half written or half removed. The lock of the run must be held."""
    for start in (WRITING, _REMOVING):
        for path in run.snapshots.glob(f"{start}*"):
            shutil.rmtree(path, ignore_errors=True)
    for path in run.snapshots.glob(f"*/{WRITING}*"):
        path.unlink(missing_ok=True)


def snapshot_bytes(trees: Trees) -> int:
    """About how much disk a snapshot of these trees takes."""
    return sum(array.nbytes for tree in trees.values() for array in arrays.flatten(tree).values())


def _write_snapshot(run: RunFolder, target: Path, flat: Mapping[str, arrays.Flat], meta: bytes) -> None:
    temporary = target.with_name(WRITING + target.name)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _make_folder(run)
        os.mkdir(temporary)
        files = {f"{name}{_ARRAYS}": arrays.encode(flat[name]) for name in flat}
        sums = {name: write_file(temporary / name, chunks) for name, chunks in files.items()}
        sums[_META] = write_file(temporary / _META, [meta])
        write_manifest(temporary, sums)
        flush_to_disk(temporary)
        if target.exists():
            os.rename(target, target.with_name(_REMOVING + target.name))
        os.rename(temporary, target)
        flush_to_disk(run.snapshots)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _make_folder(run: RunFolder) -> None:
    """Makes the folder of the snapshots, and has the disk know it together with what a resumed training reads."""
    if run.snapshots.is_dir():
        return
    os.mkdir(run.snapshots)
    for path in (run.spec, run.solver, run.path, run.path.absolute().parent):
        if path.exists():
            flush_to_disk(path)


def _meta_text(iteration: int, meta: Mapping[str, Any]) -> bytes:
    return json.dumps({**meta, "iteration": iteration, "metrics": _finite(meta)}, indent=1, allow_nan=False).encode()


def _finite(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics, null where they are not finite."""
    return {name: finite_or_null(value) for name, value in meta.get("metrics", {}).items()}


def _add_metrics(target: Path, metrics: Mapping[str, Any]) -> None:
    """Adds metrics to a snapshot that was written without any."""
    if not _read_metrics(target, _read_sums(target)):
        add_file(target, _METRICS, json.dumps(metrics, indent=1, allow_nan=False).encode())


def _read_metrics(path: Path, sums: Mapping[str, str]) -> dict[str, Any]:
    """What tests have found; empty where there was none."""
    if _METRICS in sums:
        found: dict[str, Any] = json.loads(read_checked(path, _METRICS, sums))
    else:
        found = json.loads(read_checked(path, _META, sums))["metrics"]
    return found


def _refuse_non_finite(iteration: int, flat: Mapping[str, arrays.Flat]) -> None:
    for tree, leaves in flat.items():
        for name, array in leaves.items():
            if not arrays.is_finite(array):
                raise RunError(
                    f"no snapshot of iteration {iteration}: {tree} '{arrays.place_of(name)}' holds NaN or Inf"
                )


def read_snapshot(path: Path, like: Trees) -> Snapshot:
    """As `load_snapshot`, but raises DamagedError where it is damaged."""
    sums = _read_sums(path)
    meta: dict[str, Any] = json.loads(read_checked(path, _META, sums))
    meta["metrics"] = _read_metrics(path, sums)
    trees = {}
    for name, tree in like.items():
        flat = arrays.decode(read_checked(path, f"{name}{_ARRAYS}", sums))
        try:
            trees[name] = arrays.unflatten(flat, tree)
        except arrays.MisfitError as misfit:
            hint = "resume with the net and solver that the run was started with"
            raise RunError(f"the snapshot is of another net or solver: {misfit}", hint=hint, place=str(path)) from None
    return Snapshot(int(meta["iteration"]), path, trees, meta)


def _read_sums(path: Path) -> dict[str, str]:
    """The checksums of a snapshot's files by name."""
    sums = read_sums(path)
    if _META not in sums:
        raise DamagedError(f"{MANIFEST} cannot be read")
    return sums


def _merit(path: Path) -> tuple[int, float] | None:
    """How good a snapshot is: a mean IoU outranks every loss. None where it cannot be told."""
    try:
        metrics = _read_metrics(path, _read_sums(path))
    except DamagedError:
        return None
    for rank, name, sign in ((1, "miou", 1), (0, "loss", -1)):
        value = metrics.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            return rank, sign * float(value)
    return None


def _remove_old(run: RunFolder, keep: int) -> None:
    """Removes all but the newest and the best; what cannot be removed now is removed at the next start."""
    kept = {*list_snapshots(run)[-keep:], best_snapshot(run)}
    for path in list_snapshots(run):
        if path not in kept:
            removing = path.with_name(_REMOVING + path.name)
            shutil.rmtree(removing, ignore_errors=True)
            with suppress(OSError):
                os.rename(path, removing)
    for path in run.snapshots.glob(f"{_REMOVING}*"):
        shutil.rmtree(path, ignore_errors=True)
