"""A loss between the contours of regions, made of poolings alone (Bokhovkin, Burnaev 2019).

`probability` and `truth` are (images, height, width, classes), between 0 and 1; `counted` is (images, height, width).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

EPSILON = 1e-7


def soft_contours(belonging: jax.Array, counted: jax.Array, window: int) -> jax.Array:
    """How much each pixel is contour: how much more it belongs to a class than some pixel of the window around it.

    With belonging x this is max(1 - x) - (1 - x), the greatest value taken over the counted pixels of the window. A
    pixel that does not count is no contour, and neither it nor the image's edge makes one.

    Args:
        belonging: (images, height, width, classes).
        counted: which pixels count.
        window: odd side of the window, in pixels.

    Returns:
        The shape of `belonging`, between 0 and 1.
    """
    outside = jnp.where(counted[..., None], 1.0 - belonging, 0.0)
    return jnp.where(counted[..., None], greatest_around(outside, window) - outside, 0.0)


def greatest_around(values: jax.Array, window: int) -> jax.Array:
    """The greatest of the values in the window around each pixel, what lies beyond the image left out.

    Shifted copies are compared, along the height and then along the width: the gradient of a reduce_window scatters.

    Args:
        values: (images, height, width, classes), at least 0.
        window: odd side of the window, in pixels.
    """
    for axis in (1, 2):
        length, reach = values.shape[axis], window // 2
        padded = jnp.pad(values, [(reach, reach) if place == axis else (0, 0) for place in range(4)])
        for start in range(window):
            values = jnp.maximum(values, lax.slice_in_dim(padded, start, start + length, axis=axis))
    return values


def boundary_f1_losses(predicted: jax.Array, true: jax.Array, window: int) -> jax.Array:
    """1 - F1 between soft contours of each class in each image, (images, classes).

    F1 = 2 P R / (P + R) with P = sum p near(g) / sum p and R = sum g near(p) / sum g, where p and g are the predicted
    and the true contour and near(x) is the greatest value of x in the window around a pixel.

    Args:
        predicted, true: `soft_contours` of the prediction and of the label.
        window: odd side, in pixels, of the window in which contours match.
    """
    precision = _share(predicted, greatest_around(true, window))
    recall = _share(true, greatest_around(predicted, window))
    return 1.0 - 2.0 * precision * recall / (precision + recall + EPSILON)


def _share(contour: jax.Array, near: jax.Array) -> jax.Array:
    return jnp.sum(contour * near, axis=(1, 2)) / (jnp.sum(contour, axis=(1, 2)) + EPSILON)
