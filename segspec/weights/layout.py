"""How arrays of Caffe lie beside ours: axes of weights and blobs, and the sums of BatchNorm.

Caffe keeps images (batch, channels, height, width) and filters (out, in, height, width); here they are
(batch, height, width, channels) and (height, width, in, out). No value changes, only its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from segspec.errors import WeightsError
from segspec.layers.base import ParamSpec
from segspec.proto.wire import release

Array = npt.NDArray[np.float32]

_SLAB = 16  # numbers in the 64 bytes that a processor writes at once
_TO_STORED = {"filter": (2, 3, 1, 0), "matrix": (1, 0)}
_TO_CAFFE = {"filter": (3, 2, 0, 1), "matrix": (1, 0)}


def caffe_shape(spec: ParamSpec) -> tuple[int, ...]:
    """The shape that Caffe gives a learned blob."""
    return spec.caffe_shape or _permuted(spec)


def to_stored(spec: ParamSpec, array: npt.ArrayLike, layer: str, blob: str) -> Array:
    """A learned blob of Caffe as the net stores it.

    Args:
        spec: the blob's declaration.
        array: as Caffe shapes it, or in another shape that `fits`.
        layer, blob: its names, for the message.

    Returns:
        A float32 array of the stored shape.

    Raises:
        WeightsError: when the array has another shape than the blob.
    """
    with np.errstate(over="ignore"):
        found = np.asarray(array, np.float32)
    expected = caffe_shape(spec)
    if not fits(spec, found.shape):
        message = f"layer '{layer}', blob '{blob}': the net has {_shown(expected)}, the file {_shown(found.shape)}"
        raise WeightsError(message, hint=_hint(found.size, expected))
    return _rearranged(found.reshape(_permuted(spec)), _TO_STORED.get(spec.layout)).reshape(spec.shape)


def _rearranged(array: Array, axes: tuple[int, ...] | None) -> Array:
    """A copy with its axes in another order, the first one last.

    It is made in slabs, for two reasons: whole lines of the processor's cache are written, and a file that is mapped
    into memory takes up no more of it than a slab.
    """
    if axes is None:
        copy = np.array(array)
        release(array)
        return copy
    moved = np.empty([array.shape[axis] for axis in axes], array.dtype)
    for start in range(0, len(array), _SLAB):
        part = array[start : start + _SLAB]
        moved[..., start : start + _SLAB] = part.transpose(axes)
        release(part)
    return moved


def to_caffe(spec: ParamSpec, array: npt.ArrayLike) -> Array:
    """A learned blob as Caffe shapes it, in float32: the inverse of `to_stored`."""
    stored = np.asarray(array, np.float32)
    axes = _TO_CAFFE.get(spec.layout)
    return np.ascontiguousarray(stored if axes is None else stored.transpose(axes)).reshape(caffe_shape(spec))


def running_from_caffe(mean_sum: npt.ArrayLike, variance_sum: npt.ArrayLike, factor: npt.ArrayLike) -> dict[str, Array]:
    """The state of a BatchNorm from Caffe's three blobs, which hold sums and the factor that they are divided by.

    A factor of 0 means that nothing was summed yet; the averages are then 0, as in Caffe.
    """
    with np.errstate(all="ignore"):  # A damaged file may hold any number.
        divisor = np.asarray(factor, np.float32).reshape(())
        scale = np.float32(0) if divisor == 0 else np.float32(1) / divisor
        mean, variance = (np.asarray(blob, np.float32).ravel() * scale for blob in (mean_sum, variance_sum))
    return {"mean": mean, "variance": variance, "factor": divisor}


def running_from_averages(mean: npt.ArrayLike, variance: npt.ArrayLike, fraction: float) -> dict[str, Array]:
    """The state of a batch normalisation from plain averages, as PSPNet, NVIDIA's Caffe and torch keep them.

    The factor is the one that many batches lead to, 1 / (1 - fraction): a training that goes on then averages
    exponentially from its first batch, as those programs do.
    """
    factor = 1 / max(1 - fraction, float(np.finfo(np.float32).eps))
    with np.errstate(all="ignore"):
        mean, variance = (np.asarray(blob, np.float32).ravel() for blob in (mean, variance))
    return {"mean": mean, "variance": variance, "factor": np.asarray(factor, np.float32)}


def running_to_caffe(state: Mapping[str, npt.ArrayLike]) -> tuple[Array, Array, Array]:
    """Caffe's three blobs of a BatchNorm, (C), (C) and (1), from its state: the inverse of `running_from_caffe`."""
    factor = np.asarray(state["factor"], np.float32).reshape(1)
    mean, variance = (np.asarray(state[name], np.float32) * factor for name in ("mean", "variance"))
    return mean, variance, factor


def _permuted(spec: ParamSpec) -> tuple[int, ...]:
    """The stored shape with its axes in Caffe's order."""
    axes = _TO_CAFFE.get(spec.layout)
    return spec.shape if axes is None else tuple(spec.shape[axis] for axis in axes)


def fits(spec: ParamSpec, shape: tuple[int, ...]) -> bool:
    """Whether an array of a shape in Caffe's order is a learned blob.

    It is, too, with leading axes of length 1, as old files have them; and where the filters of a convolution are the
    matrix of a product over the same window, (out, in x height x width), as in fully convolutional nets.
    """
    expected = caffe_shape(spec)
    matrix = (expected[0], math.prod(expected[1:])) if spec.layout == "filter" else expected
    return same_shape(expected, shape) or same_shape(matrix, shape)


def same_shape(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    """Whether two shapes in Caffe's order are one: leading ones do not count, nor do any in a vector."""
    return _significant(ours) == _significant(theirs)


def _significant(shape: tuple[int, ...]) -> tuple[int, ...]:
    longer = [size for size in shape if size != 1]
    if len(longer) < 2:
        return tuple(longer)
    return shape[shape.index(longer[0]) :]


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _hint(size: int, expected: tuple[int, ...]) -> str:
    if size == math.prod(expected):
        return "as many numbers in another shape: is this the prototxt that the file was trained with?"
    return "leave the layer at its initial values, or give the net the size it was trained with"
