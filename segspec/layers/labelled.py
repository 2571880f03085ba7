"""What losses and metrics share: a score meets a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.config import JsonDict

from segspec.layers.base import Blob, ShapeError, stored_axis
from segspec.ops.losses import counted_pixels
from segspec.ops.order import from_caffe_order, to_caffe_order

LOSS_PARAM: JsonDict = {"message": "loss_param"}
WEIGHT_SCHEMES = ("median_frequency", "enet", "effective_number")


def ignore_label_field(message: str = "loss_param") -> Any:
    """The declaration of `ignore_label`, the same in every layer that has it but for its prototxt message."""
    extra: JsonDict = {"message": message}
    return Field(None, description="Label of pixels that count nowhere.", json_schema_extra=extra)


def _labels(value: object) -> object:
    """A list as a tuple; a list of one label as that label."""
    if not isinstance(value, list | tuple):
        return value
    return value[0] if len(value) == 1 else tuple(value)


IgnoredLabels = Annotated[
    int | tuple[int, ...] | None,
    BeforeValidator(_labels),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}),
]
"""One label, a list of labels, or none."""


def is_ignored(label: jax.Array, ignored: int | tuple[int, ...] | None) -> jax.Array:
    """Which pixels have an ignored label: a boolean array of the label's shape."""
    if ignored is None:
        return jnp.zeros(label.shape, bool)
    return jnp.isin(label, jnp.asarray(ignored, label.dtype))


def _weights(value: object) -> object:
    if isinstance(value, str) and value in WEIGHT_SCHEMES:
        return value
    numbers = isinstance(value, list | tuple) and all(type(item) in (int, float) and item >= 0 for item in value)
    if not numbers:
        raise ValueError(f"must be a list of numbers, one a class, or one of {', '.join(WEIGHT_SCHEMES)}")
    return tuple(map(float, value)) if isinstance(value, list | tuple) else value


ClassWeights = Annotated[
    tuple[float, ...] | str | None,
    BeforeValidator(lambda value: None if value is None else _weights(value)),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "number", "minimum": 0}},
                {"enum": list(WEIGHT_SCHEMES)},
                {"type": "null"},
            ]
        }
    ),
]
"""One weight a class, or the name of a rule that computes them from the training labels."""


def class_weights_field() -> Any:
    """The declaration of `class_weights`, the same in every layer that has it."""
    return Field(
        None,
        description="Weight of each class, in the order of the labels; or how to compute them from the training "
        "labels: median_frequency, enet, effective_number.",
        json_schema_extra=LOSS_PARAM,
    )


def weight_array(weights: tuple[float, ...] | str | None) -> jax.Array | None:
    """The weights as an array. Raises ValueError for a rule that nobody has turned into numbers."""
    if isinstance(weights, str):
        raise ValueError(f"class_weights: {weights} must be computed from labels before the net runs")
    return None if weights is None else jnp.asarray(weights, jnp.float32)


def check_weights(weights: tuple[float, ...] | str | None, classes: int) -> None:
    """Raises ShapeError when there is not one weight a class."""
    if isinstance(weights, tuple) and len(weights) != classes:
        raise ShapeError(f"class_weights has {len(weights)} numbers but the score has {classes} channels")


def check_label(bottoms: Sequence[Blob], axis: int = 1) -> None:
    """Raises ShapeError unless the label has one value a pixel of the score.

    Args:
        bottoms: score and label.
        axis: of the score's classes, in Caffe's order.
    """
    score, label = bottoms[0], bottoms[1]
    expected = Blob(_label_shape(score.shape, axis))
    if not fits(label, expected):
        differ = "sizes differ" if len(label.shape) == len(score.shape) else f"the label must be {expected}"
        raise ShapeError(f"label is {label} but the score is {score}: {differ}")


def _label_shape(score: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """One value for all classes: the score's shape as stored, with 1 class."""
    stored = stored_axis(axis, len(score))
    return (*score[:stored], 1, *score[stored + 1 :])


def fits(given: Blob, wanted: Blob) -> bool:
    """Whether two shapes differ in axes of length 1 only, in Caffe's order: (8) fits (8, 1, 1, 1)."""
    first, second = ([size for size in blob.caffe_shape if size != 1] for blob in (given, wanted))
    return first == second


def shaped(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The array in another stored shape that it fits."""
    if array.shape == shape:
        return array
    return from_caffe_order(to_caffe_order(array).reshape(Blob(shape).caffe_shape))


def check_classes(score: Blob, axis: int = 1) -> None:
    """Raises ShapeError when a softmax over the score's classes would always be 1."""
    if score.shape[stored_axis(axis, len(score.shape))] == 1:
        raise ShapeError("the score has 1 channel; a softmax needs one for every class, so at least 2")


class Labelled(NamedTuple):
    """A score with its label.

    Attributes:
        score: (..., classes), of its own type.
        label: (...) int32; 0 where the pixel does not count.
        counted: (...) bool.
    """

    score: jax.Array
    label: jax.Array
    counted: jax.Array


def score_and_label(bottoms: Sequence[jax.Array], ignore_label: int | None, axis: int = 1) -> Labelled:
    """Score and label with the classes last; `axis` counts in Caffe's order."""
    stored = stored_axis(axis, bottoms[0].ndim)
    score = bottoms[0]
    label = shaped(bottoms[1].astype(jnp.int32), _label_shape(score.shape, axis))
    label = jnp.squeeze(jnp.moveaxis(label, stored, -1), -1)
    counted = counted_pixels(label, ignore_label)
    return Labelled(jnp.moveaxis(score, stored, -1), jnp.where(counted, label, 0), counted)
