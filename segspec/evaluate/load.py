"""Opening what was trained: a run folder with one of its snapshots, or a spec with a file of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

from segspec.errors import Diagnostic, RunError, UsageError
from segspec.evaluate.model import Model, empty_trees
from segspec.net import Tree
from segspec.run.folder import RunFolder, open_run
from segspec.run.snapshots import Snapshot, best_snapshot, list_snapshots, load_newest, load_snapshot
from segspec.spec.net import load_net
from segspec.spec.netspec import NetSpec
from segspec.spec.solver_file import load_solver
from segspec.weights.files import Blobs, read_weights
from segspec.weights.fit import fit

Choice = Literal["auto", "computed", "running", "batch"]
COMPUTED = "statistics.safetensors"


class Loaded(NamedTuple):
    """A model and where it came from.

    Attributes:
        model: ready to predict.
        folder: the run folder, or None for a spec with weights.
        iteration: of the snapshot, or None.
        warnings: what the user should know.
    """

    model: Model
    folder: RunFolder | None
    iteration: int | None
    warnings: tuple[Diagnostic, ...] = ()


def load_run(path: Path, snapshot: str = "best", overrides: Sequence[str] = ()) -> Loaded:
    """The net of a run folder with a snapshot's arrays.

    Args:
        path: the run folder.
        snapshot: `best`, `last`, or an iteration.
        overrides: changes to the run's spec.

    Raises:
        RunError: it is no run folder, or no snapshot can be used.
    """
    folder = open_run(path)
    spec = load_net(folder.spec, overrides)
    precision = load_solver(folder.solver).precision
    channels = next((layer.channels for layer in spec.data.values()), 3)
    _, params, state = empty_trees(spec, channels)
    found = _choose(folder, snapshot, params, state)
    dtype = "bfloat16" if precision == "bfloat16" else "float32"
    model = Model(spec, found.trees["params"], found.trees["state"], dtype)
    return Loaded(model, folder, found.iteration, found.damaged)


def _choose(folder: RunFolder, which: str, params: Tree, state: Tree) -> Snapshot:
    like = {"params": jax.eval_shape(lambda: params), "state": jax.eval_shape(lambda: state)}
    if which == "best":
        best = best_snapshot(folder)
        return load_newest(folder, like) if best is None else load_snapshot(best, like)
    if which == "last":
        return load_newest(folder, like)
    known = {int(path.name): path for path in list_snapshots(folder)}
    if not which.isdigit() or int(which) not in known:
        hint = f"there are {', '.join(map(str, known)) or 'none'}; or write best or last"
        raise RunError(f"no snapshot '{which}'", place=str(folder.snapshots), hint=hint)
    return load_snapshot(known[int(which)], like)


def load_weighted(spec_path: Path, weights: Path, overrides: Sequence[str] = ()) -> Loaded:
    """The net of a spec with a file's weights."""
    spec = load_net(spec_path, overrides)
    channels = next((layer.channels for layer in spec.data.values()), spec.input.channels if spec.input else 3)
    graph, params, state = empty_trees(spec, channels)
    blobs, _ = read_weights(weights)
    params, state, transfer = fit(graph, params, state, blobs, place=str(weights))
    warnings: tuple[Diagnostic, ...] = ()
    if transfer.initial:
        message = f"blobs that the file lacks keep their initial values\n{transfer.as_text()}"
        warnings = (Diagnostic(message, place=str(weights), severity="warning"),)
    return Loaded(Model(spec, params, state), None, None, warnings)


def load(path: Path, weights: Path | None, snapshot: str, overrides: Sequence[str]) -> Loaded:
    """A run folder, or a spec together with weights.

    Raises:
        UsageError: neither was given.
    """
    if path.is_dir():
        if weights is not None:
            raise UsageError("a run folder has weights of its own", hint="leave out --weights, or name a spec")
        return load_run(path, snapshot, overrides)
    if weights is None:
        hint = f"segspec test {path} --weights FILE IMAGES, or segspec test RUN IMAGES"
        raise UsageError(f"{path} is no run folder, and a spec needs --weights", hint=hint)
    return load_weighted(path, weights, overrides)


def with_statistics(loaded: Loaded, choice: Choice) -> Loaded:
    """The model with the statistics that were asked for, and words that say which they are.

    `auto` takes the ones compute-bn-stats measured for this snapshot; else running averages, if the net kept any.
    """
    model = loaded.model
    if not _keeps_statistics(model.state):
        return loaded._replace(model=model.using({}, "layer", "none in this net"))
    computed = _computed(loaded)
    if choice == "computed" and computed is None:
        place = str(loaded.folder.path) if loaded.folder else model.spec.source.name
        hint = "run segspec compute-bn-stats first, or choose --statistics running"
        raise RunError(f"no computed statistics for iteration {loaded.iteration}", place=place, hint=hint)
    if choice in ("auto", "computed") and computed is not None:
        blobs, about = computed
        state = {name: _as_state(own, model.state[name]) for name, own in blobs.items() if name in model.state}
        images = about.get("images", "?")
        origin = f"computed by compute-bn-stats ({about.get('mode')}, {images} images)"
        return loaded._replace(model=model.using(state, "running", origin))
    if choice == "batch":
        return loaded._replace(model=model.using({}, "batch", "each image's own"))
    return loaded._replace(model=model.using({}, "running", "running averages of the training"))


def _keeps_statistics(state: Tree) -> bool:
    return any({"mean", "variance"} <= set(blobs) for blobs in state.values())


def _as_state(blobs: dict[str, np.ndarray], like: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: jax.numpy.asarray(blobs.get(name, value)) for name, value in like.items()}


def _computed(loaded: Loaded) -> tuple[Blobs, dict[str, str]] | None:
    """The statistics beside the run, if they belong to the snapshot that was loaded."""
    if loaded.folder is None:
        return None
    path = loaded.folder.statistics / COMPUTED
    if not path.is_file():
        return None
    blobs, about = read_weights(path)
    return (blobs, about) if about.get("iteration") == str(loaded.iteration) else None
