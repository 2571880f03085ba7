"""Losses that compare regions rather than pixels: soft Dice, soft Jaccard and the Lovász extension.

`probability` is (images, pixels, classes), `label` and `counted` are (images, pixels). Losses are one a region; a
region is one class in one image, or in the whole batch when its images are first joined into one.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Overlap(NamedTuple):
    """How predicted and true regions overlap, each (images, classes) in pixels.

    Attributes:
        intersection: sum of p g.
        predicted: sum of p.
        true: sum of g.
    """

    intersection: jax.Array
    predicted: jax.Array
    true: jax.Array


def one_hot(label: jax.Array, counted: jax.Array, classes: int) -> jax.Array:
    """g: 1 at each counted pixel's own class, else 0; (images, pixels, classes) float32."""
    own = label[..., None] == jnp.arange(classes, dtype=label.dtype)
    return (own & counted[..., None]).astype(jnp.float32)


def overlap(probability: jax.Array, truth: jax.Array, counted: jax.Array) -> Overlap:
    """The overlap of each region over the pixels that count."""
    probability = jnp.where(counted[..., None], probability, 0.0)
    return Overlap(jnp.sum(probability * truth, axis=1), jnp.sum(probability, axis=1), jnp.sum(truth, axis=1))


def dice_losses(regions: Overlap, smooth: float) -> jax.Array:
    """1 - (2 I + smooth) / (P + G + smooth) of each region."""
    return 1.0 - (2.0 * regions.intersection + smooth) / (regions.predicted + regions.true + smooth)


def jaccard_losses(regions: Overlap, smooth: float) -> jax.Array:
    """1 - (I + smooth) / (P + G - I + smooth) of each region."""
    union = regions.predicted + regions.true - regions.intersection
    return 1.0 - (regions.intersection + smooth) / (union + smooth)


def lovasz_losses(probability: jax.Array, truth: jax.Array, counted: jax.Array) -> jax.Array:
    """The Lovász extension of the Jaccard loss of each region (Berman, Triki, Blaschko 2018, equations 8 and 9).

    With errors e = |g - p| in falling order and J_i the Jaccard loss when the i pixels of greatest error are wrong, the
    loss is sum_i e_i (J_i - J_(i-1)). Ignored pixels have error 0 and come last, where they weigh nothing.
    """
    errors = jnp.where(counted[..., None], jnp.abs(truth - probability), 0.0)
    keys = jnp.where(counted[..., None], -jax.lax.stop_gradient(errors), 1.0)
    return jnp.sum(errors * _lovasz_weights(keys, truth), axis=1)


def _lovasz_weights(keys: jax.Array, truth: jax.Array) -> jax.Array:
    """J_i - J_(i-1) at each pixel's own place, for pixels ranked by rising key.

    Weights are carried back to the pixels rather than errors to their ranks: the loss is then a plain sum of products,
    and its gradient needs neither a sort nor a scatter.
    """
    order = jnp.argsort(keys, axis=1)
    steps = _jaccard_steps(jnp.take_along_axis(truth, order, axis=1))
    return jnp.put_along_axis(jnp.zeros_like(steps), order, steps, axis=1, inplace=False, mode="promise_in_bounds")


def _jaccard_steps(truth: jax.Array) -> jax.Array:
    """J_i - J_(i-1) along the pixels, for truth in the order of falling error."""
    true = jnp.sum(truth, axis=1, keepdims=True)
    kept = true - jnp.cumsum(truth, axis=1)
    union = true + jnp.cumsum(1.0 - truth, axis=1)
    losses = 1.0 - kept / union
    return jnp.diff(losses, axis=1, prepend=jnp.zeros_like(true))


def mean_region(losses: jax.Array, weights: jax.Array) -> jax.Array:
    """The mean over images of the weighted mean over classes.

    Args:
        losses: (images, classes).
        weights: of each region, the same shape; images whose weights are all 0 are left out.

    Returns:
        A scalar; 0 when every weight is 0.
    """
    totals = jnp.sum(weights, axis=1)
    means = jnp.sum(losses * weights, axis=1) / jnp.where(totals > 0, totals, 1.0)
    return jnp.sum(means) / jnp.maximum(jnp.sum(totals > 0), 1)
