"""Resizing as two small matrix products, so that its gradient needs no scatter."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from segspec.ops.window import Pair


def resize_bilinear(x: jax.Array, size: Pair, *, align_corners: bool = True) -> jax.Array:
    """Resizes images bilinearly.

    With aligned corners, output pixel i reads input position i (in - 1) / (out - 1), so that corner pixels keep their
    values: Caffe's Interp. Otherwise it reads (i + 1/2) in / out - 1/2, clipped to the image: pixels are areas, and the
    image's border stays its border. In this second way images are resized when they are loaded (by OpenCV), so scores
    must be too on their way back. No smoothing is done when shrinking.

    Args:
        x: (batch, height, width, channels).
        size: (height, width) wanted.
        align_corners: which positions are read.

    Returns:
        (batch, *size, channels), of the type of x.
    """
    if x.shape[1:3] == size:
        return x
    return weigh(x, _weights(x.shape[1], size[0], align_corners), _weights(x.shape[2], size[1], align_corners))


def resize_nearest(x: jax.Array, size: Pair) -> jax.Array:
    """Resizes images (batch, height, width, channels): output pixel i is input pixel floor(i in / out)."""
    rows, columns = (
        np.eye(x.shape[1 + axis], dtype=np.float32)[np.arange(size[axis]) * x.shape[1 + axis] // size[axis]]
        for axis in (0, 1)
    )
    return weigh(x, rows, columns)


def weigh(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """Weighted sums of the rows and of the columns of images.

    Args:
        x: (batch, height, width, channels).
        rows: (output height, height): how much each input row adds to each output row.
        columns: (output width, width): likewise.

    Returns:
        (batch, output height, output width, channels), summed in float32 and returned in the type of x.
    """
    values = x.astype(jnp.float32)
    values = jnp.einsum("Hh,nhwc->nHwc", rows, values, precision="highest")
    return jnp.einsum("Ww,nhwc->nhWc", columns, values, precision="highest").astype(x.dtype)


def _weights(length: int, wanted: int, align_corners: bool) -> np.ndarray:
    """(wanted, length): how much each input pixel adds to each output pixel."""
    steps = np.arange(wanted, dtype=np.float64)
    if align_corners:
        places = steps * ((length - 1) / (wanted - 1)) if wanted > 1 else np.zeros(1)
    else:
        places = np.clip((steps + 0.5) * length / wanted - 0.5, 0, length - 1)
    low = np.minimum(np.floor(places).astype(np.int64), length - 1)
    high = np.minimum(low + 1, length - 1)
    share = places - low
    weights = np.zeros((wanted, length))
    np.add.at(weights, (np.arange(wanted), low), 1 - share)
    np.add.at(weights, (np.arange(wanted), high), share)
    return weights.astype(np.float32)
