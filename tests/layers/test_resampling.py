from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, Sampling, ShapeError
from segspec.layers.resampling import Interp

IMAGE = Blob((2, 33, 49, 3))


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"zoom_factor": 1}, (33, 49)),
        ({"zoom_factor": 2}, (65, 97)),
        ({"shrink_factor": 8}, (5, 7)),
        ({"shrink_factor": 10}, (4, 5)),
        ({"shrink_factor": 8, "zoom_factor": 4}, (17, 25)),
        ({"height": 10, "width": 1}, (10, 1)),
        ({"shrink_factor": 8, "pad_beg": -1}, (4, 6)),
        ({"zoom_factor": 2, "pad_beg": -1, "pad_end": -2}, (59, 91)),
    ],
)
def test_sizes(fields: dict[str, Any], size: tuple[int, int]) -> None:
    layer = Interp.model_validate(fields)
    assert layer.shapes([IMAGE]) == (Blob((2, *size, 3)),)
    (y,), _ = layer.forward({}, {}, [jnp.zeros(IMAGE.shape)], Context())
    assert y.shape == (2, *size, 3)


def test_size_of_another_layer() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 4, 2)), jnp.float32)
    layer = Interp(size_of="data")
    assert layer.shapes([Blob(x.shape), Blob((1, 5, 10, 7))]) == (Blob((1, 5, 10, 2)),)
    (y,), _ = layer.forward({}, {}, [x, jnp.zeros((1, 5, 10, 7))], Context())
    np.testing.assert_allclose(y[:, ::2, ::3], x, rtol=1e-5, atol=1e-6)


def test_nearest_copies_pixels() -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 2)).astype(np.float32)
    (y,), _ = Interp(height=7, width=4, nearest=True).forward({}, {}, [jnp.asarray(x)], Context())
    np.testing.assert_array_equal(y, x[:, [0, 0, 0, 1, 1, 2, 2]][:, :, [0, 0, 1, 1]])


def test_cutting_comes_first() -> None:
    x = jnp.arange(25.0).reshape(1, 5, 5, 1)
    layer = Interp(height=2, width=2, pad_beg=-1, pad_end=-2)
    (y,), _ = layer.forward({}, {}, [x], Context())
    np.testing.assert_array_equal(y[0, :, :, 0], [[6, 7], [11, 12]])


def test_unaligned_corners_read_pixel_centres() -> None:
    x = jnp.arange(2.0).reshape(1, 1, 2, 1)
    (y,), _ = Interp(height=1, width=4, align_corners=False).forward({}, {}, [x], Context())
    np.testing.assert_allclose(y.ravel(), [0, 0.25, 0.75, 1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"height": 3}, "height and width go together"),
        ({"width": 3}, "height and width go together"),
        ({"height": 3, "width": 3, "zoom_factor": 2}, "height and width stand alone"),
        ({"height": 3, "width": 3, "size_of": "data"}, "height and width stand alone"),
        ({"size_of": "data", "zoom_factor": 2}, "size_of stands alone"),
        ({"size_of": "data", "shrink_factor": 2}, "size_of stands alone"),
        ({"zoom_factor": 0}, "greater than or equal to 1"),
        ({"pad_beg": 1, "zoom_factor": 2}, "less than or equal to 0"),
    ],
)
def test_sizes_that_contradict_each_other(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Interp.model_validate(fields)


def test_refuses_inputs_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="nothing says the size"):
        Interp().shapes([IMAGE])
    with pytest.raises(ShapeError, match="nothing is left"):
        Interp(zoom_factor=2, pad_beg=-20, pad_end=-13).shapes([IMAGE])
    with pytest.raises(ShapeError, match="needs an image"):
        Interp(zoom_factor=2).shapes([Blob((2, 3))])
    with pytest.raises(ShapeError, match="needs an image"):
        Interp(size_of="data").shapes([IMAGE, Blob((2, 3))])


def test_cost_and_receptive_field() -> None:
    layer = Interp(height=66, width=98)
    tops = layer.shapes([IMAGE])
    assert layer.multiply_adds([IMAGE], tops) == 4 * tops[0].size
    assert layer.sampling([IMAGE], tops) == Sampling((2, 2), (Fraction(1, 2), Fraction(1, 2)))
