"""Counting how often each true class is predicted as each class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from segspec.errors import DataError

Matrix = npt.NDArray[np.int64]
"""(classes, classes): rows are the truth, columns the prediction, entries are pixels."""

Labels = npt.NDArray[np.integer]
"""Class indices of any integer type."""


def count(prediction: Labels, label: Labels, classes: int, ignore_label: int | None = None) -> Matrix:
    """Counts the pixels of each (true class, predicted class) pair on the host.

    Matrices of several images add up: `matrix += count(...)`.

    Args:
        prediction: predicted class indices, any shape.
        label: true class indices, the same shape.
        classes: number of classes.
        ignore_label: label value of pixels that are left out.

    Returns:
        (classes, classes), rows truth, columns prediction.

    Raises:
        DataError: the shapes differ, or an index that is not ignored lies outside 0..classes-1.
    """
    if prediction.shape != label.shape:
        raise DataError(f"the prediction has shape {prediction.shape}, its label {label.shape}")
    counted = np.ones(label.shape, bool) if ignore_label is None else label != ignore_label
    truth, predicted = label[counted].astype(np.int64), prediction[counted].astype(np.int64)
    _refuse_strangers("label", truth, classes)
    _refuse_strangers("prediction", predicted, classes)
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def _refuse_strangers(what: str, indices: Matrix, classes: int) -> None:
    strangers = np.unique(indices[(indices < 0) | (indices >= classes)])
    if strangers.size:
        found = ", ".join(map(str, strangers[:8])) + (", ..." if strangers.size > 8 else "")
        raise DataError(f"{what} values outside the {classes} classes (0..{classes - 1}): {found}")


def count_on_device(
    prediction: jax.Array, label: jax.Array, classes: int, ignore_label: int | None = None
) -> jax.Array:
    """`count` for use inside jit: only the (classes, classes) matrix need leave the device.

    An error cannot be raised inside jit, so pixels with an index outside 0..classes-1 are counted nowhere; the data
    loader has refused such labels before. Counts are int32: at most 2^31 - 1 pixels a call. Sum over batches on the
    host: `matrix += np.asarray(count_on_device(...), np.int64)`.

    Args:
        prediction: predicted class indices, any shape.
        label: true class indices, the same shape.
        classes: number of classes.
        ignore_label: label value of pixels that are left out.

    Returns:
        (classes, classes) int32, rows truth, columns prediction.
    """
    truth, predicted = label.astype(jnp.int32).ravel(), prediction.astype(jnp.int32).ravel()
    counted = (truth >= 0) & (truth < classes) & (predicted >= 0) & (predicted < classes)
    if ignore_label is not None:
        counted &= truth != ignore_label
    bins = classes * classes
    pairs = jnp.where(counted, truth * classes + predicted, bins)
    return jnp.bincount(pairs, length=bins + 1)[:bins].reshape(classes, classes)
