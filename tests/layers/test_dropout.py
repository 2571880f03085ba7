from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Context
from segspec.layers.dropout import Dropout

X = np.random.default_rng(0).uniform(1, 2, (8, 16, 16, 4)).astype(np.float32)


def run(layer: Dropout, context: Context) -> np.ndarray:
    (top,), _ = layer.forward({}, {}, [jnp.asarray(X)], context)
    return np.asarray(top)


def test_training_drops_the_declared_share_and_keeps_the_mean() -> None:
    y = run(Dropout(dropout_ratio=0.3), Context(train=True, key=jax.random.key(0)))
    dropped = y == 0
    assert np.mean(dropped) == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(y[~dropped], X[~dropped] / 0.7, rtol=1e-6)
    assert y.mean() == pytest.approx(X.mean(), rel=0.03)


def test_a_test_drops_nothing_unless_it_samples() -> None:
    key = jax.random.key(0)
    np.testing.assert_array_equal(run(Dropout(), Context(key=key)), X)
    sampled = run(Dropout(sample_weights_test=True), Context(key=key))
    assert np.mean(sampled == 0) == pytest.approx(0.5, abs=0.02)


def test_spatial_dropout_drops_whole_channels() -> None:
    y = run(Dropout(spatial=True), Context(train=True, key=jax.random.key(3)))
    dropped = (y == 0).reshape(8, -1, 4)
    assert (dropped.all(1) == dropped.any(1)).all()
    assert 0 < dropped.mean() < 1
    np.testing.assert_allclose(y[y != 0], 2 * X[y != 0])


def test_another_key_drops_other_elements_and_the_same_key_the_same() -> None:
    first, again, other = (run(Dropout(), Context(train=True, key=jax.random.key(seed))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.mean((first == 0) != (other == 0)) > 0.4


def test_nothing_is_random_without_a_key_or_a_ratio() -> None:
    np.testing.assert_array_equal(run(Dropout(sample_weights_test=True), Context(train=True)), X)
    np.testing.assert_array_equal(run(Dropout(dropout_ratio=0.0), Context(train=True, key=jax.random.key(0))), X)


@pytest.mark.parametrize("ratio", [1.0, -0.1])
def test_impossible_ratios_are_refused(ratio: float) -> None:
    with pytest.raises(ValidationError):
        Dropout(dropout_ratio=ratio)
