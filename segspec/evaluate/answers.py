"""What nets answer of an image: probabilities that can be averaged, and what is concluded from them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from segspec.graph.graph import Graph

Labels = npt.NDArray[np.uint8]


class Prediction(NamedTuple):
    """What is said of an image.

    Attributes:
        labels: (height, width), the class of each pixel.
        uncertainty: (height, width), the variance of the class probabilities between samples, summed over the classes:
            0 where all samples agree, below 1 everywhere; None where one sample was drawn.
        alone: where several nets were averaged, the labels of each by itself; of one net in several views, those of the
            first view.
    """

    labels: Labels
    uncertainty: npt.NDArray[np.float32] | None = None
    alone: tuple[Labels, ...] = ()


class Answer(NamedTuple):
    """Averaged answers of equal weight.

    Attributes:
        mean: (height, width, classes), their mean probabilities.
        variance: (height, width), their mean squared distance from it, summed over the classes.
    """

    mean: jax.Array
    variance: jax.Array


def average(answers: Iterable[Answer]) -> Answer:
    """The mean of answers of equal weight, of which there must be one, and the variance of all that they stand for."""
    others = iter(answers)
    so_far = next(others)
    for count, answer in enumerate(others, 1):
        so_far = _merge_now(so_far, answer, count)
    return so_far


def merge(so_far: Answer, answer: Answer, count: int | jax.Array) -> Answer:
    """The average of `count` answers and one more (the update of Chan, Golub, LeVeque 1979)."""
    share = 1.0 / (count + 1)
    away = answer.mean - so_far.mean
    mean = so_far.mean + share * away
    between = share * (1 - share) * jnp.sum(away**2, axis=-1)
    return Answer(mean, so_far.variance + share * (answer.variance - so_far.variance) + between)


_merge_now = jax.jit(merge)


def conclude(answer: Answer, alone: tuple[Labels, ...] = (), *, uncertain: bool) -> Prediction:
    """The best class of each pixel, with the uncertainty if it is wanted."""
    return Prediction(best_labels(answer), np.asarray(answer.variance) if uncertain else None, alone)


def best_labels(answer: Answer) -> Labels:
    """The likeliest class of each pixel."""
    return np.asarray(likeliest(answer.mean), np.uint8)


def likeliest(scores: jax.Array) -> jax.Array:
    """The class of each pixel: (..., classes) to (...). One channel, as of edges, is a logit: above 0 it is class 1."""
    return scores[..., 0] > 0 if scores.shape[-1] == 1 else jnp.argmax(scores, axis=-1)


def as_probabilities(scores: jax.Array, graph: Graph) -> jax.Array:
    """Probabilities (..., classes) of scores (..., channels): what the net's last layer made them, else their softmax.

    One channel becomes two classes, the second with the sigmoid of the logit.
    """
    if scores.shape[-1] == 1:
        second = scores if ends_in_sigmoid(graph) else jax.nn.sigmoid(scores)
        return jnp.concatenate([1 - second, second], axis=-1)
    return scores if _maker(graph) in ("Softmax", "Sigmoid") else jax.nn.softmax(scores)


def ends_in_sigmoid(graph: Graph) -> bool:
    """Whether the net gives the probability of the second of two classes, not its logit."""
    return _maker(graph) == "Sigmoid" and graph.blobs[graph.prediction or ""].shape[-1] == 1


def _maker(graph: Graph) -> str:
    """The type of the layer that writes the scores."""
    return next((layer.layer.type for layer in reversed(graph.layers) if graph.prediction in layer.tops), "")
