"""Initial values of learned blobs, by Caffe's fillers.

They are drawn by NumPy: JAX would compile a program for every shape, which takes a large net longer than drawing, and
the values would depend on the device.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Layout = Literal["filter", "matrix", "plain"]
Values = npt.NDArray[np.float32]


class FillerFields(Protocol):
    """What a filler declares; see `segspec.layers.base.Filler`."""

    @property
    def type(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def min(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def mean(self) -> float: ...
    @property
    def std(self) -> float: ...
    @property
    def sparse(self) -> int: ...
    @property
    def variance_norm(self) -> str: ...
    @property
    def diagonal(self) -> bool: ...


def fill(filler: FillerFields, rng: np.random.Generator, shape: tuple[int, ...], layout: Layout) -> Values:
    """A blob's initial values.

    Args:
        filler: the distribution and its numbers.
        rng: source of randomness.
        shape: as stored.
        layout: how the stored axes relate to Caffe's, which fixes the number of inputs and outputs.

    Returns:
        float32 array of this shape.
    """
    match filler.type:
        case "gaussian":
            return _gaussian(filler, rng, shape, layout)
        case "uniform":
            return _uniform(rng, shape, filler.min, filler.max)
        case "msra":
            return _normal(rng, shape, 0.0, math.sqrt(2 / _fan(filler, shape, layout)))
        case "xavier":
            bound = math.sqrt(3 / _fan(filler, shape, layout))
            return _uniform(rng, shape, -bound, bound)
        case "bilinear":
            return _bilinear(shape, filler.diagonal)
        case "identity":
            return _identity(shape)
        case "positive_unitball":
            values = _uniform(rng, shape, 0.0, 1.0)
            inputs = range(1, len(shape)) if layout == "plain" else range(len(shape) - 1)
            return np.asarray(values / np.sum(values, tuple(inputs), keepdims=True))
    return np.full(shape, filler.value, np.float32)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], mean: float, std: float) -> Values:
    values = rng.standard_normal(shape, np.float32)
    return np.asarray(values * np.float32(std) + np.float32(mean))


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], least: float, greatest: float) -> Values:
    values = rng.random(shape, np.float32)
    return np.asarray(values * np.float32(greatest - least) + np.float32(least))


def fans(shape: tuple[int, ...], layout: Layout) -> tuple[float, float]:
    """Inputs of one output, and outputs of one input, as Caffe counts them: count / shape[0] and count / shape[1].

    The shape on the right is Caffe's: (out, in, height, width) for a stored (height, width, in, out).
    """
    count = math.prod(shape)
    if layout == "plain" or len(shape) < 2:
        first = shape[0] if shape else 1
        second = shape[1] if len(shape) > 1 else 1
    else:
        first, second = shape[-1], shape[-2]
    return count / first, count / second


def _fan(filler: FillerFields, shape: tuple[int, ...], layout: Layout) -> float:
    inputs, outputs = fans(shape, layout)
    by_norm = {"FAN_IN": inputs, "FAN_OUT": outputs, "AVERAGE": (inputs + outputs) / 2}
    return by_norm[filler.variance_norm]


def _gaussian(filler: FillerFields, rng: np.random.Generator, shape: tuple[int, ...], layout: Layout) -> Values:
    """Normal values; with `sparse`, each kept with probability sparse / outputs, as Caffe does."""
    values = _normal(rng, shape, filler.mean, filler.std)
    if filler.sparse < 0:
        return values
    outputs = shape[0] if layout == "plain" else shape[-1]
    kept = rng.random(shape, np.float32) < filler.sparse / outputs
    return np.asarray(values * kept)


def _bilinear(shape: tuple[int, ...], diagonal: bool) -> Values:
    """The interpolation kernel in every channel pair, or from each channel to its own only.

    It is the outer product of 1 - |i/f - c| along both sides, f = ceil(k / 2) and c = (k - 1) / (2 f), k being the
    length of the side. Source: BVLC Caffe, filler.hpp, which knows square kernels and every pair of channels only.
    """

    def along(length: int) -> np.ndarray:
        factor = math.ceil(length / 2)
        return 1 - np.abs(np.arange(length) / factor - (length - 1) / (2 * factor))

    pairs = np.eye(shape[2], shape[3]) if diagonal else np.ones(shape[2:])
    return np.asarray(np.outer(along(shape[0]), along(shape[1]))[:, :, None, None] * pairs, np.float32)


def _identity(shape: tuple[int, ...]) -> Values:
    """1 from each channel to the output of its number at the middle of the filter, else 0: the image passes unchanged.

    Stored (height, width, in / group, out); where there are more outputs than channels, channels are taken again from
    the first on. Source: Yu and Koltun 2016, equation 4.
    """
    values = np.zeros(shape, np.float32)
    outputs = np.arange(shape[-1])
    values[shape[0] // 2, shape[1] // 2, outputs % shape[2], outputs] = 1
    return values
