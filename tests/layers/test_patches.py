from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from segspec.layers.base import Blob, Context, Sampling, ShapeError
from segspec.layers.convolution import Convolution
from segspec.layers.patches import Im2col


@pytest.mark.parametrize(
    "fields",
    [
        {"kernel_size": 3},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": [3, 2], "stride": [2, 1], "pad": [1, 0]},
        {"kernel_size": 2, "dilation": [3, 2], "pad": 2, "stride": 2},
    ],
)
def test_windows_times_filters_are_a_convolution(fields: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    layer = Im2col.model_validate(fields)
    x = jnp.asarray(rng.normal(size=(2, 7, 8, 3)), jnp.float32)
    (columns,), _ = layer.forward({}, {}, [x], Context())
    assert layer.shapes([Blob(x.shape)]) == (Blob(columns.shape),)
    filters = jnp.asarray(rng.normal(size=(*layer.kernel_size, 3, 4)), jnp.float32)
    convolution = Convolution.model_validate({"num_output": 4, "bias_term": False, **fields})
    (expected,), _ = convolution.forward({"weight": filters}, {}, [x], Context())
    by_channel = np.asarray(filters).transpose(2, 0, 1, 3).reshape(-1, 4)
    np.testing.assert_allclose(np.asarray(columns) @ by_channel, expected, rtol=1e-4, atol=1e-5)


def test_a_number_that_is_infinite_stays_in_its_windows() -> None:
    x = jnp.zeros((1, 3, 3, 1)).at[0, 0, 0, 0].set(jnp.inf)
    (columns,), _ = Im2col(kernel_size=(2, 2)).forward({}, {}, [x], Context())
    assert np.isinf(columns).sum() == 1 and not np.isnan(columns).any()


def test_what_does_not_fit_and_what_a_window_sees() -> None:
    layer = Im2col(kernel_size=(3, 2), dilation=(2, 1), stride=(2, 1))
    with pytest.raises(ShapeError, match="a window covers 5x2 pixels, more than the padded input"):
        layer.shapes([Blob((1, 4, 4, 1))])
    with pytest.raises(ShapeError, match="needs an image"):
        layer.shapes([Blob((1, 4))])
    bottoms = [Blob((1, 9, 9, 1))]
    assert layer.sampling(bottoms, layer.shapes(bottoms)) == Sampling((5, 2), (Fraction(2), Fraction(1)))
