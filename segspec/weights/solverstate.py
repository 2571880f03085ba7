"""A `.solverstate`: where a training of Caffe stands, and the history of its solver for every learned blob.

The history has one array for each blob of the net, in the order of the layers; of AdaDelta and Adam it has two such
rounds. A blob that layers share stands there once; in Caffe before 2015, and in caffe-segnet, once for each layer.
BatchNorm's averages count as blobs too, with a history of zeros. Source: BVLC Caffe, sgd_solver.cpp and its kin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segspec.errors import WeightsError
from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.normalization import BatchNorm
from segspec.proto import encode
from segspec.proto.blob import Array, read_blob
from segspec.proto.wire import BYTES, VARINT, open_message
from segspec.weights import hdf5
from segspec.weights.caffemodel import write_message
from segspec.weights.files import Blobs
from segspec.weights.layout import caffe_shape, same_shape, to_caffe, to_stored

_ITERATION, _NET, _HISTORY, _STEP = 1, 2, 3, 4
_AVERAGES = {"bvlc": ("mean", "variance", "factor"), "pspnet": ("mean", "variance")}


@dataclass(frozen=True)
class SolverState:
    """What a file holds.

    Attributes:
        iteration: updates made.
        history: the arrays, in Caffe's order and shapes.
        learned_net: path of the file of weights, as Caffe was run.
        current_step: how often the learning rate was lowered, for policies with steps.
    """

    iteration: int
    history: tuple[Array, ...]
    learned_net: str = ""
    current_step: int = 0


def read_solverstate(path: Path) -> SolverState:
    """Reads a file; the arrays are views of it. A file that ends in .h5 is read as HDF5.

    Raises:
        WeightsError: the file is missing, damaged or no state of a solver.
    """
    if path.suffix == hdf5.SUFFIX:
        return SolverState(*hdf5.read_state(path))
    message = open_message(path, WeightsError)
    numbers = {_ITERATION: 0, _STEP: 0}
    net = ""
    history: list[Array] = []
    for field in message:
        if field.kind == VARINT and field.number in numbers:
            numbers[field.number] = field.int32
        elif field.kind == BYTES and field.number == _NET:
            net = message.text(field)
        elif field.kind == BYTES and field.number == _HISTORY:
            history.append(read_blob(message.message(field), f"history {len(history)}"))
    if not history or numbers[_ITERATION] < 0:
        raise WeightsError("holds no history of a solver", place=str(path), hint="is it a .solverstate?")
    return SolverState(numbers[_ITERATION], tuple(history), net, numbers[_STEP])


def write_solverstate(path: Path, state: SolverState) -> None:
    """Writes a file that Caffe goes on from. Raises WeightsError when it cannot be written."""
    history = tuple(piece for array in state.history for piece in encode.blob(_HISTORY, array))
    head = (*encode.integer(_ITERATION, state.iteration), *encode.text(_NET, state.learned_net))
    write_message(path, (*head, *history, *encode.integer(_STEP, state.current_step)))


class _Slot(NamedTuple):
    """A place in a round of the history: the layer that holds the blob, its name, and Caffe's shape."""

    layer: GraphLayer
    blob: str
    shape: tuple[int, ...]


def name_history(graph: Graph, history: Sequence[Array], rounds: int, place: str) -> tuple[Blobs, ...]:
    """The history by layer and blob, as the net stores its parameters, one tree a round.

    Args:
        graph: the net.
        history: of a file.
        rounds: how many the update rule has: 2 for AdaDelta and Adam, else 1.
        place: the file's name, for messages.

    Raises:
        WeightsError: the history is of another net or update rule.
    """
    for repeated, averages in product((False, True), _AVERAGES):
        slots = list(_slots(graph, averages, repeated=repeated))
        shapes = [slot.shape for slot in slots] * rounds
        if len(shapes) == len(history) and all(map(same_shape, shapes, (array.shape for array in history))):
            size = len(slots)
            return tuple(_round(slots, history[start : start + size]) for start in range(0, len(history), size))
    expected = rounds * len(list(_slots(graph, "bvlc", repeated=False)))
    message = f"a history of another net or update rule: {len(history)} arrays, the net has {expected}"
    raise WeightsError(f"{message}{_first_difference(graph, history)}", place=place)


def number_history(graph: Graph, rounds: Sequence[Mapping[str, Mapping[str, Array]]]) -> tuple[Array, ...]:
    """The history as BVLC Caffe keeps it: the inverse of `name_history`."""
    slots = list(_slots(graph, "bvlc", repeated=False))
    return tuple(_numbered(slot, tree) for tree in rounds for slot in slots)


def _numbered(slot: _Slot, tree: Mapping[str, Mapping[str, Array]]) -> Array:
    spec = slot.layer.params.get(slot.blob)
    return np.zeros(slot.shape, np.float32) if spec is None else to_caffe(spec, tree[slot.layer.name][slot.blob])


def _round(slots: Sequence[_Slot], arrays: Sequence[Array]) -> Blobs:
    blobs: Blobs = {}
    for slot, array in zip(slots, arrays, strict=True):
        spec = slot.layer.params.get(slot.blob)
        if spec is not None:
            owner, name = slot.layer.owners.get(slot.blob, (slot.layer.name, slot.blob))
            blobs.setdefault(owner, {}).setdefault(name, to_stored(spec, array, slot.layer.name, slot.blob))
    return blobs


def _slots(graph: Graph, averages: str, *, repeated: bool) -> Iterator[_Slot]:
    """The places of one round: PSPNet's averages stand behind scale and shift, BVLC's before."""
    for layer in graph.layers:
        kept = [blob for blob in layer.params if repeated or blob not in layer.owners]
        learned = [_Slot(layer, blob, caffe_shape(layer.params[blob])) for blob in kept]
        state = isinstance(layer.layer, BatchNorm) and [
            _Slot(layer, blob, layer.state[blob].shape or (1,)) for blob in _AVERAGES[averages]
        ]
        yield from (*(state or ()), *learned) if averages == "bvlc" else (*learned, *(state or ()))


def _first_difference(graph: Graph, history: Sequence[Array]) -> str:
    for index, (slot, array) in enumerate(zip(_slots(graph, "bvlc", repeated=False), history, strict=False)):
        if not same_shape(slot.shape, array.shape):
            ours, theirs = ("x".join(map(str, shape)) for shape in (slot.shape, array.shape))
            blob = f"history {index}, layer '{slot.layer.name}', blob '{slot.blob}'"
            return f"\n{blob}: the net has {ours}, the file {theirs}"
    return ""
