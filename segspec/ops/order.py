"""Between the stored order (batch, height, width, channels) and Caffe's (batch, channels, height, width)."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def to_caffe_order(array: jax.Array) -> jax.Array:
    """The array in Caffe's order; only rank 4 differs."""
    return jnp.transpose(array, (0, 3, 1, 2)) if array.ndim == 4 else array


def from_caffe_order(array: jax.Array) -> jax.Array:
    """The array as stored, from Caffe's order; only rank 4 differs."""
    return jnp.transpose(array, (0, 2, 3, 1)) if array.ndim == 4 else array


def stored_shape(caffe_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The stored shape of an array whose shape in Caffe's order is this."""
    if len(caffe_shape) != 4:
        return caffe_shape
    batch, channels, height, width = caffe_shape
    return (batch, height, width, channels)
