"""Average pooling with Caffe's rules for borders, and the sums it is made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from segspec.ops.cast import as_real
from segspec.ops.resize import weigh
from segspec.ops.window import Pair, PoolWindow


def average_pool(x: jax.Array, window: PoolWindow) -> jax.Array:
    """The mean of each window: its sum over the image, divided by its area in the padded image.

    Padding counts as zeros; what reaches beyond the padding, by rounding up, does not count.

    Args:
        x: (batch, *window.input, channels).
        window: the windows.

    Returns:
        (batch, *window.output, channels), summed in float32 and returned in the type of x; float32 for whole numbers.
    """
    return (sum_pool(x, window) / window_areas(window)[None, :, :, None]).astype(as_real(x).dtype)


def sum_pool(x: jax.Array, window: PoolWindow) -> jax.Array:
    """The sum of each window over the image: (batch, *window.output, channels), float32."""
    padding = [(0, 0)]
    for axis in (0, 1):
        end = (window.output[axis] - 1) * window.stride[axis] + window.kernel[axis]
        padding.append((window.pad[axis], max(0, end - window.input[axis] - window.pad[axis])))
    total: jax.Array = lax.reduce_window(
        x.astype(jnp.float32),
        np.zeros((), np.float32),
        lax.add,
        (1, *window.kernel, 1),
        (1, *window.stride, 1),
        (*padding, (0, 0)),
    )
    return total


def even_spans(length: int, bins: int) -> list[tuple[int, int]]:
    """Where each of some windows that cover a length evenly begins and ends; neighbours may share a pixel."""
    return [(place * length // bins, -(-(place + 1) * length // bins)) for place in range(bins)]


def average_bins(x: jax.Array, bins: Pair) -> jax.Array:
    """The means of windows that cover images evenly: (batch, height, width, channels) to (batch, *bins, channels)."""
    rows, columns = (_means(x.shape[1 + axis], bins[axis]) for axis in (0, 1))
    return weigh(as_real(x), rows, columns)


def _means(length: int, bins: int) -> np.ndarray:
    """(bins, length): the share of each pixel in the mean of each window."""
    shares = np.zeros((bins, length), np.float32)
    for share, (start, stop) in zip(shares, even_spans(length, bins), strict=True):
        share[start:stop] = 1 / (stop - start)
    return shares


def window_areas(window: PoolWindow) -> np.ndarray:
    """(height, width): pixels of each window within the padded image."""
    along = []
    for axis in (0, 1):
        start = np.arange(window.output[axis]) * window.stride[axis] - window.pad[axis]
        end = np.minimum(start + window.kernel[axis], window.input[axis] + window.pad[axis])
        along.append(end - start)
    return np.asarray(np.outer(*along), np.float32)
