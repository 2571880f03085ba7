from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, Layer, ShapeError
from segspec.layers.ordering import BatchReindex, Permute, ShuffleChannel

X = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
CAFFE = X.transpose(0, 3, 1, 2)


def run(layer: Layer, *bottoms: object) -> np.ndarray:
    arrays = [jnp.asarray(bottom) for bottom in bottoms]
    (y,), _ = layer.forward({}, {}, arrays, Context())
    assert layer.shapes([Blob(array.shape, str(array.dtype)) for array in arrays]) == (Blob(y.shape, str(y.dtype)),)
    return np.asarray(y)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 1, 0, 2), (0,), (1,), (2, 0), (0, 1, 2, 3)])
def test_axes_count_in_caffes_order(order: tuple[int, ...]) -> None:
    full = (*order, *(axis for axis in range(4) if axis not in order))
    expected = CAFFE.transpose(full).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(run(Permute(order=order), X), expected)


def test_axes_of_other_ranks() -> None:
    np.testing.assert_array_equal(run(Permute(order=(2, 0)), X[0]), X[0].transpose(2, 0, 1))


def test_axes_that_are_not_there_or_named_twice() -> None:
    with pytest.raises(ShapeError, match=r"order \[0, 4\] names an axis that an input of 4 axes lacks"):
        Permute(order=(0, 4)).shapes([Blob(X.shape)])
    for order in ((0, 0), (0, -1)):
        with pytest.raises(ValidationError, match="order names each axis at most once, from 0"):
            Permute(order=order)


def test_channels_of_groups_are_mixed() -> None:
    y = run(ShuffleChannel(group=2), X)
    np.testing.assert_array_equal(y, X[..., [0, 3, 1, 4, 2, 5]])
    np.testing.assert_array_equal(run(ShuffleChannel(group=3), y), X)
    np.testing.assert_array_equal(run(ShuffleChannel(group=2), X[0, 0].T.copy()), X[0, 0].T[:, [0, 2, 1, 3]])
    with pytest.raises(ShapeError, match="group 4 must divide the 6 channels"):
        ShuffleChannel(group=4).shapes([Blob(X.shape)])


def test_samples_are_picked_and_their_gradients_add_up() -> None:
    index = np.array([1, 0, 1, 1])
    np.testing.assert_array_equal(run(BatchReindex(), X, index), X[index])
    np.testing.assert_array_equal(run(BatchReindex(), X, index.astype(np.float32)), X[index])

    def total(x: jax.Array) -> jax.Array:
        return jnp.sum(BatchReindex().forward({}, {}, [x, jnp.asarray(index)], Context())[0][0])

    np.testing.assert_array_equal(jax.grad(total)(jnp.asarray(X))[:, 0, 0, 0], [1, 3])


def test_a_sample_that_is_not_there_is_never_hidden() -> None:
    y = run(BatchReindex(), X, np.array([2, -1, 0]))
    assert np.isnan(y[:2]).all() and np.isfinite(y[2]).all()
    with pytest.raises(ShapeError, match="it must be a plain list of sample numbers"):
        BatchReindex().shapes([Blob(X.shape), Blob((2, 1))])
