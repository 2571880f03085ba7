"""Weights from wherever they lie: a file, a snapshot, or a run's best snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segspec.errors import Diagnostic, WeightsError
from segspec.graph.graph import Graph
from segspec.run import arrays
from segspec.run.folder import RunFolder
from segspec.run.intact import read_best
from segspec.run.snapshots import is_snapshot, list_snapshots, read_arrays
from segspec.weights.caffe_blobs import name_blobs
from segspec.weights.caffemodel import read_caffemodel
from segspec.weights.files import Blobs, Found, read_weights
from segspec.weights.names import SAME_NAMES, WeightsMap, name_modules, turn_colours

CAFFE = (".caffemodel", ".h5")
"""How the names of Caffe's files of weights end."""


def read_blobs(path: Path, graph: Graph, names: WeightsMap = SAME_NAMES) -> Found:
    """The blobs by layer, parameters and state alike.

    Args:
        path: a file of weights (safetensors, or Caffe's, binary or HDF5), the folder of a snapshot, or a run folder.
        graph: the net that they are for, whose layers say what Caffe's numbered blobs are.
        names: which layer of the net takes which of the file.

    Raises:
        WeightsError: the path leads to no weights, or to a file that cannot be used; or the map of names is wrong.
        RunError: a snapshot is damaged, or every one of a run is.
    """
    if path.suffix in CAFFE and not path.is_dir():
        layers = read_caffemodel(path)
        takers = names.takers(graph, {layer.name for layer in layers})
        found = name_blobs(graph, layers, str(path), takers)
    else:
        blobs, place, damaged = _read_folder(path) if path.is_dir() else (read_weights(path)[0], path, ())
        found = replace(name_modules(graph, blobs, names, str(place)), warnings=damaged)
    return turn_colours(graph, found) if names.channels == "rgb" else found


def _read_folder(path: Path) -> tuple[Blobs, Path, tuple[Diagnostic, ...]]:
    """The blobs of a snapshot, or of a run's best, its folder, and a warning for each better one that is damaged."""
    snapshot, trees, damaged = (path, read_arrays(path), ()) if is_snapshot(path) else read_best(_run_in(path))
    blobs: Blobs = {}
    for tree in ("params", "state"):
        for name, array in trees.get(tree, {}).items():
            layer, _, blob = name.partition("/")
            blobs.setdefault(arrays.place_of(layer), {})[arrays.place_of(blob)] = array
    return blobs, snapshot, damaged


def _run_in(path: Path) -> RunFolder:
    """A folder as a run. Raises WeightsError where it is none."""
    run = RunFolder(path)
    if run.spec.is_file() or list_snapshots(run):
        return run
    hint = "name a file of weights, a run folder, or one of its snapshots"
    raise WeightsError("this folder is neither a run nor a snapshot", place=str(path), hint=hint)
