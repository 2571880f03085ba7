"""Opening what was trained: a run folder with one of its snapshots, or a spec with a file of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

from segspec.data.mean import with_channel_means
from segspec.errors import Diagnostic, RunError, UsageError
from segspec.evaluate.model import Model, empty_trees
from segspec.graph.graph import Graph
from segspec.graph.nominal import nominal_graph
from segspec.layers.normalization import BN
from segspec.net import Tree, init_shapes
from segspec.run.blobs import read_blobs
from segspec.run.folder import RunFolder, open_run
from segspec.run.intact import load_best, load_newest
from segspec.run.snapshots import Snapshot, Trees, best_snapshot, list_snapshots, load_snapshot
from segspec.spec.library import shipped_hint
from segspec.spec.net import load_net
from segspec.spec.solver_file import load_solver
from segspec.weights.files import Blobs, read_weights
from segspec.weights.fit import fit
from segspec.weights.names import load_weights_map

Choice = Literal["auto", "computed", "running", "batch"]
COMPUTED = "statistics.safetensors"


class Loaded(NamedTuple):
    """A model and where it came from.

    Attributes:
        model: ready to predict.
        folder: the run folder, or None for a spec with weights.
        iteration: of the snapshot, or None.
        weights: which weights these are, in words.
        warnings: what the user should know.
    """

    model: Model
    folder: RunFolder | None
    iteration: int | None
    weights: str
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
    spec = with_channel_means(load_net(folder.spec, overrides))
    dtype = load_solver(folder.solver).dtype
    graph = nominal_graph(spec)
    params, state = init_shapes(graph)
    found = _choose(folder, snapshot, {"params": params, "state": state})
    model = Model(spec, found.trees["params"], found.trees["state"], dtype)
    return Loaded(model, folder, found.iteration, _describe(folder, found), found.damaged)


def _describe(folder: RunFolder, found: Snapshot) -> str:
    """Which snapshot of a run this is, such as `iteration 300 (best and last)`."""
    places = {"best": best_snapshot(folder), "last": list_snapshots(folder)[-1]}
    roles = " and ".join(role for role, path in places.items() if path == found.path)
    return f"iteration {found.iteration}" + (f" ({roles})" if roles else "")


def _choose(folder: RunFolder, which: str, like: Trees) -> Snapshot:
    if which == "best":
        return load_best(folder, like)
    if which == "last":
        return load_newest(folder, like)
    known = {int(path.name): path for path in list_snapshots(folder)}
    if not which.isdecimal() or int(which) not in known:
        hint = f"there are {', '.join(map(str, known)) or 'none'}; or write best or last"
        raise RunError(f"no snapshot '{which}'", place=str(folder.snapshots), hint=hint)
    return load_snapshot(known[int(which)], like)


def load_weighted(
    spec_path: Path, weights: Path, overrides: Sequence[str] = (), weights_map: str | None = None
) -> Loaded:
    """The net of a spec with the weights of a file, a run or a snapshot, taken as a map of them says."""
    spec = with_channel_means(load_net(spec_path, overrides))
    graph, params, state = empty_trees(spec)
    found = read_blobs(weights, graph, load_weights_map(weights_map))
    params, state, transfer = fit(graph, params, state, found)
    warnings = (*spec.warnings, *found.warnings)
    transfer = replace(transfer, initial=tuple(_truly_missing(graph, transfer.initial)))
    if transfer.initial:
        message = f"blobs that the file lacks keep their initial values\n{transfer.as_text()}"
        warnings += (Diagnostic(message, place=found.place, severity="warning"),)
    return Loaded(Model(spec, params, state), None, None, found.place, warnings)


def _truly_missing(graph: Graph, initial: Sequence[str]) -> Iterator[str]:
    """The blobs without the running averages of BN, which caffe-segnet has none of: its files are whole without."""
    averages = {f"{layer.name}.{blob}" for layer in graph.layers if isinstance(layer.layer, BN) for blob in layer.state}
    return (name for name in initial if name not in averages)


def load(
    path: Path, weights: Path | None, snapshot: str, overrides: Sequence[str], weights_map: str | None = None
) -> Loaded:
    """A run folder, or a spec together with weights.

    Raises:
        UsageError: neither was given.
    """
    if path.is_dir():
        if weights is not None:
            raise UsageError("a run folder has weights of its own", hint="leave out --weights, or name a spec")
        return load_run(path, snapshot, overrides)
    if not path.exists():
        raise UsageError("there is no such run folder or spec", place=str(path), hint=shipped_hint(path))
    if weights is None:
        hint = "add --weights FILE, or name a run folder"
        raise UsageError(f"{path} is no run folder, and a spec needs --weights", hint=hint)
    return load_weighted(path, weights, overrides, weights_map)


def with_statistics(loaded: Loaded, choice: Choice) -> Loaded:
    """The model with the statistics that were asked for, and words that say which they are.

    `auto` takes the ones compute-bn-stats measured for this snapshot; else running averages, if the net kept any; else
    each image's own.
    """
    model = loaded.model
    if not _keeps_statistics(model.state):
        folded = any(isinstance(layer.layer, BN) for layer in model.spec.layers)
        origin = "expected in scale and shift (bn_mode: INFERENCE)" if folded else "none in this net"
        return loaded._replace(model=model.using({}, "layer", origin))
    computed = _read_computed(loaded)
    fitting = computed is not None and computed.iteration == str(loaded.iteration)
    if choice == "computed" and not fitting:
        raise _nothing_computed(loaded, computed)
    if choice in ("auto", "computed") and computed is not None and fitting:
        state = {name: _as_state(own, model.state[name]) for name, own in computed.blobs.items() if name in model.state}
        return loaded._replace(model=model.using(state, "running", computed.origin))
    if choice == "auto" and computed is not None:
        loaded = loaded._replace(warnings=(*loaded.warnings, _passed_over(loaded, computed)))
    if choice == "batch" or (choice == "auto" and not _has_averages(model.state)):
        return loaded._replace(model=model.using({}, "batch", "each image's own"))
    origin = "running averages of the training" if loaded.folder else "kept in the weights"
    return loaded._replace(model=model.using({}, "running", origin))


class _Computed(NamedTuple):
    """What compute-bn-stats wrote.

    Attributes:
        blobs: statistics by layer.
        iteration: the snapshot they were measured with.
        origin: how they were measured, in words.
    """

    blobs: Blobs
    iteration: str
    origin: str


def _read_computed(loaded: Loaded) -> _Computed | None:
    """The statistics beside the run, of whichever snapshot they are."""
    path = None if loaded.folder is None else loaded.folder.statistics / COMPUTED
    if path is None or not path.is_file():
        return None
    blobs, about = read_weights(path)
    origin = f"computed by compute-bn-stats ({about.get('mode')}, {about.get('images', '?')} images)"
    return _Computed(blobs, about.get("iteration", "?"), origin)


def _nothing_computed(loaded: Loaded, computed: _Computed | None) -> RunError:
    place = str(loaded.folder.path) if loaded.folder else loaded.model.spec.source.name
    others = f"; those there are belong to iteration {computed.iteration}" if computed else ""
    of = "" if loaded.iteration is None else f" for iteration {loaded.iteration}"
    hint = "run segspec compute-bn-stats first, or choose --statistics running"
    return RunError(f"no computed statistics{of}{others}", place=place, hint=hint)


def _passed_over(loaded: Loaded, computed: _Computed) -> Diagnostic:
    assert loaded.folder is not None
    message = f"these statistics belong to iteration {computed.iteration} and are not used for {loaded.iteration}"
    hint = f"measure them again: segspec compute-bn-stats {loaded.folder.path} --snapshot {loaded.iteration}"
    place = str(loaded.folder.statistics / COMPUTED)
    return Diagnostic(message, place=place, hint=hint, severity="warning")


def _keeps_statistics(state: Tree) -> bool:
    return any({"mean", "variance"} <= set(blobs) for blobs in state.values())


def _has_averages(state: Tree) -> bool:
    """Whether any running average was ever taken: weights from elsewhere may come without."""
    return any(float(blobs["factor"]) > 0 for blobs in state.values() if "factor" in blobs)


def _as_state(blobs: dict[str, np.ndarray], like: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: jax.numpy.asarray(blobs.get(name, value)) for name, value in like.items()}
