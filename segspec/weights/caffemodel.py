"""A `.caffemodel`: the layers of a net, each with its name, its type and its numbered blobs.

Both forms are read: `layer`, and `layers` of the files before 2015. Source: BVLC Caffe, caffe.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from segspec.atomic import write_atomically
from segspec.errors import RunError, WeightsError
from segspec.proto import encode
from segspec.proto.blob import Array, read_blob
from segspec.proto.wire import BYTES, Message, open_message
from segspec.weights import hdf5

_NET_NAME, _LAYER, _LAYERS = 1, 100, 2
_MOST_BYTES = 2**31 - 1


@dataclass(frozen=True)
class CaffeLayer:
    """A layer of a file.

    Attributes:
        name: of the layer.
        type: such as `Convolution`; empty where a file before 2015 holds a number instead, and in HDF5.
        blobs: its arrays, in Caffe's order and shapes.
        bottoms, tops: what it reads and writes; empty where a file does not say.
    """

    name: str
    type: str
    blobs: tuple[Array, ...]
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()


def read_caffemodel(path: Path) -> tuple[CaffeLayer, ...]:
    """The layers of a file, in its order; a name may stand there more than once.

    The arrays are views of the file, which is mapped into memory: they cost nothing until they are used. A file that
    ends in .h5 is read as HDF5, where layers have no types and no order.

    Raises:
        WeightsError: the file is missing, damaged or no net.
    """
    if path.suffix == hdf5.SUFFIX:
        return tuple(CaffeLayer(name, "", blobs) for name, blobs in hdf5.read_layers(path).items())
    net = open_message(path, WeightsError)
    layers = []
    for field in net:
        if field.kind == BYTES and field.number == _LAYER:
            layers.append(_layer(net.message(field), _NEW))
        elif field.kind == BYTES and field.number == _LAYERS:
            layers.append(_old_layer(net.message(field)))
    if not layers:
        raise WeightsError("holds no layers", place=str(path), hint="is it a .caffemodel?")
    return tuple(layers)


class _Numbers(NamedTuple):
    """The numbers of the fields of a layer; 0 for what it does not have."""

    name: int
    type: int
    blobs: int
    bottoms: int = 0
    tops: int = 0


_NEW = _Numbers(name=1, type=2, blobs=7, bottoms=3, tops=4)
_OLD = _Numbers(name=4, type=0, blobs=6)
_OLDEST = _Numbers(name=1, type=2, blobs=50)


def _layer(message: Message, numbers: _Numbers) -> CaffeLayer:
    texts: dict[int, list[str]] = {number: [] for number in numbers}
    blobs = []
    for field in message:
        if field.kind == BYTES and field.number == numbers.blobs:
            blobs.append(message.message(field))
        elif field.kind == BYTES and field.number in texts:
            texts[field.number].append(message.text(field))
    name, type = ("".join(texts[number][-1:]) for number in (numbers.name, numbers.type))
    arrays = tuple(read_blob(blob, f"layer '{name}', blob {index}") for index, blob in enumerate(blobs))
    return CaffeLayer(name, type, arrays, tuple(texts[numbers.bottoms]), tuple(texts[numbers.tops]))


def _old_layer(message: Message) -> CaffeLayer:
    """A layer of a file before 2015; in the oldest, name and blobs stand in a message within it."""
    within = [message.message(field) for field in message if (field.number, field.kind) == (1, BYTES)]
    return _layer(within[-1], _OLDEST) if within else _layer(message, _OLD)


def write_caffemodel(path: Path, name: str, layers: Iterable[CaffeLayer]) -> None:
    """Writes a file that Caffe loads, in float32; it appears whole or not at all.

    Args:
        path: the file to make.
        name: of the net.
        layers: in order, with or without blobs.

    Raises:
        WeightsError: the net is too large for Caffe, or the file cannot be written.
    """
    pieces = encode.text(_NET_NAME, name)
    for layer in layers:
        blobs = tuple(piece for blob in layer.blobs for piece in encode.blob(7, blob))
        pieces += encode.message(_LAYER, (*encode.text(1, layer.name), *encode.text(2, layer.type), *blobs))
    write_message(path, pieces)


def write_message(path: Path, pieces: encode.Pieces) -> None:
    """Writes the pieces of a message to a file. Raises WeightsError, also where Caffe could not read it."""
    if sum(map(len, pieces)) > _MOST_BYTES:
        hint = "keep it as safetensors"
        raise WeightsError(
            "Caffe reads binary files below 2 GiB, and this one would be larger", hint=hint, place=str(path)
        )
    try:
        write_atomically(path, b"".join(pieces))
    except RunError as error:
        raise WeightsError(error.diagnostics) from None
