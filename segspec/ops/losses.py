"""Losses between scores and labels, as sums over pixels with a normaliser.

Throughout, `score` is (..., classes), `label` an integer array of the shape before the classes, and all arithmetic is
float32. `counted` says which pixels count; it is False where the label is the ignored one.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Normalization = Literal["VALID", "FULL", "BATCH_SIZE", "NONE"]
_LEAST_PROBABILITY = 1e-20
_CONTRAST_EPSILON = 1e-4


def counted_pixels(label: jax.Array, ignore_label: int | None) -> jax.Array:
    """Which pixels count: a boolean array of the label's shape."""
    return jnp.ones(label.shape, bool) if ignore_label is None else label != ignore_label


def normalized_sum(
    losses: jax.Array, counted: jax.Array, normalization: Normalization = "VALID", batch: int = 1
) -> jax.Array:
    """The sum of the losses that count, over Z.

    Z is the number of counted pixels (VALID), of all pixels (FULL), of images (BATCH_SIZE), or 1 (NONE); at least 1, so
    that a batch without a counted pixel has loss 0. Source: BVLC Caffe, loss_layer.hpp, softmax_loss_layer.cpp.
    """
    total = jnp.sum(jnp.where(counted, losses, 0.0))
    match normalization:
        case "VALID":
            return total / jnp.maximum(jnp.sum(counted, dtype=jnp.int32), 1).astype(jnp.float32)
        case "FULL":
            return total / max(counted.size, 1)
        case "BATCH_SIZE":
            return total / max(batch, 1)
        case "NONE":
            return total


def log_softmax(score: jax.Array) -> jax.Array:
    """log p over the last axis, finite for every finite score."""
    return jax.nn.log_softmax(score.astype(jnp.float32), axis=-1)


def at_label(values: jax.Array, label: jax.Array) -> jax.Array:
    """The value of each pixel's own class: (..., classes) and (...) give (...).

    NaN where a label is no class, so that a wrong label is seen in the loss rather than hidden. A comparison with each
    class, not a gather, because the gradient of a gather is a slow scatter.
    """
    classes = values.shape[-1]
    own = label[..., None] == jnp.arange(classes, dtype=label.dtype)
    picked = jnp.sum(jnp.where(own, values, 0.0), axis=-1)
    return jnp.where((label >= 0) & (label < classes), picked, jnp.nan)


def weights_at_label(weights: jax.Array | None, label: jax.Array) -> jax.Array | float:
    """The class weight of each pixel; 1 without weights."""
    return 1.0 if weights is None else jnp.take(weights, label, mode="clip")


def softmax_cross_entropy(score: jax.Array, label: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """-w[l] log p_l of each pixel, with p the softmax of the score."""
    score = score.astype(jnp.float32)
    unweighted = jax.nn.logsumexp(score, axis=-1) - at_label(score, label)
    return weights_at_label(weights, label) * unweighted


def focal_loss(score: jax.Array, label: jax.Array, gamma: float, weights: jax.Array | None = None) -> jax.Array:
    """-w[l] (1 - p_l)^gamma log p_l of each pixel (Lin et al. 2017)."""
    log_probability = at_label(log_softmax(score), label)
    remainder = jnp.maximum(-jnp.expm1(log_probability), np.finfo(np.float32).tiny)
    return -weights_at_label(weights, label) * jnp.power(remainder, gamma) * log_probability


def hardest_pixels(losses: jax.Array, counted: jax.Array, threshold: float, least: jax.Array | int) -> jax.Array:
    """Which pixels are hard: those whose loss is above a threshold, and in any case some of the greatest loss.

    Args:
        losses: of each pixel.
        counted: which pixels count; the others are never hard.
        threshold: loss above which a pixel is hard.
        least: pixels that are hard whatever the threshold. Pixels whose loss equals that of the last of them are hard
            too, so that the choice depends on no order.

    Returns:
        A boolean array of the shape of the losses. A pixel whose loss is NaN is hard, so that it is seen.
    """
    rising = jnp.sort(jnp.where(counted, -losses, jnp.inf).ravel())
    last = jnp.where(least > 0, -rising[jnp.clip(least, 1, losses.size) - 1], jnp.inf)
    return counted & ~((losses <= threshold) & (losses < last))


def sigmoid_cross_entropy(score: jax.Array, target: jax.Array) -> jax.Array:
    """-t log s(x) - (1 - t) log(1 - s(x)) of each element, as max(x, 0) - x t + log(1 + exp(-|x|))."""
    score, target = score.astype(jnp.float32), target.astype(jnp.float32)
    return jax.nn.softplus(score) - score * target


def multinomial_logistic(probability: jax.Array, label: jax.Array) -> jax.Array:
    """-log p_l of each pixel; a probability below 1e-20 counts as that."""
    return -jnp.log(jnp.maximum(at_label(probability.astype(jnp.float32), label), _LEAST_PROBABILITY))


def infogain(log_probability: jax.Array, label: jax.Array, matrix: jax.Array) -> jax.Array:
    """-sum_k H[l, k] log p_k of each pixel; rows of H belong to labels."""
    rows = matrix.at[label].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    return -jnp.sum(rows * log_probability, axis=-1)


def log_probability(probability: jax.Array) -> jax.Array:
    """log p, where a probability below 1e-20 counts as that."""
    return jnp.log(jnp.maximum(probability.astype(jnp.float32), _LEAST_PROBABILITY))


def hinge(score: jax.Array, label: jax.Array, *, squared: bool) -> jax.Array:
    """sum_k h_k (or h_k^2) of each pixel, h_k = max(0, 1 + s_k x_k), s_k -1 for the pixel's own class and else 1."""
    classes = score.shape[-1]
    own = label[..., None] == jnp.arange(classes, dtype=label.dtype)
    score = score.astype(jnp.float32)
    margins = jax.nn.relu(1.0 + jnp.where(own, -score, score))
    return jnp.sum(jnp.square(margins) if squared else margins, axis=-1)


def absolute(difference: jax.Array) -> jax.Array:
    """|d| of each element; the gradient at 0 is 0."""
    return jnp.where(difference == 0, 0.0, jnp.abs(difference))


def smooth_absolute(difference: jax.Array, sigma: float) -> jax.Array:
    """(sigma d)^2 / 2 where |d| < 1 / sigma^2, else |d| - 1 / (2 sigma^2), of each element."""
    bend = 1.0 / sigma**2
    size = jnp.abs(difference)
    return jnp.where(size < bend, jnp.square(sigma * difference) / 2, size - bend / 2)


def contrastive(first: jax.Array, second: jax.Array, similar: jax.Array, margin: float, *, legacy: bool) -> jax.Array:
    """The loss of each pair: d^2 where similar, else max(margin - d, 0)^2, d the Euclidean distance.

    Args:
        first, second: (pairs, features).
        similar: (pairs,), 1 or 0.
        margin: distance beyond which dissimilar pairs cost nothing.
        legacy: take max(margin - d^2, 0) for dissimilar pairs, as early versions of Caffe did.
    """
    squared = jnp.sum(jnp.square(first.astype(jnp.float32) - second.astype(jnp.float32)), axis=-1)
    apart = jax.nn.relu(margin - squared) if legacy else jnp.square(jax.nn.relu(margin - _distance(squared)))
    return jnp.where(similar != 0, squared, apart)


@jax.custom_jvp
def _distance(squared: jax.Array) -> jax.Array:
    """The square root, with the derivative 1 / (2 (d + 1e-4)): finite for equal pairs. Source: Caffe."""
    return jnp.sqrt(squared)


@_distance.defjvp
def _distance_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    distance = _distance(primals[0])
    return distance, tangents[0] / (2.0 * (distance + _CONTRAST_EPSILON))
