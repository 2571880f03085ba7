from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, Layer, Sampling, ShapeError
from segspec.layers.pooling import SPP, Pooling, PoolingMask
from segspec.ops.window import PoolWindow

IMAGE = Blob((2, 7, 9, 3))


def values(shape: tuple[int, ...] = IMAGE.shape) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def pool(layer: Layer, x: jax.Array, tops: int = 1) -> tuple[jax.Array, ...]:
    outputs: tuple[jax.Array, ...] = jax.jit(lambda x: layer.forward({}, {}, [x], Context(tops=tops))[0])(x)
    declared = layer.shapes([Blob(x.shape, str(x.dtype))], tops)
    assert [(top.shape, str(top.dtype)) for top in outputs] == [(blob.shape, blob.dtype) for blob in declared]
    return outputs


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"kernel_size": 2, "stride": 2}, (4, 5)),
        ({"kernel_size": 2, "stride": 2, "round_mode": "FLOOR"}, (3, 4)),
        ({"kernel_size": 3}, (5, 7)),
        ({"kernel_size": [7, 2], "stride": [1, 3]}, (1, 3)),
        ({"kernel_size": 3, "stride": 2, "pad": 1}, (4, 5)),
        ({"kernel_size": 1, "stride": 4}, (2, 3)),
        ({"global_pooling": True}, (1, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["MAX", "AVE"])
def test_output_sizes(kind: str, fields: dict[str, Any], size: tuple[int, int]) -> None:
    (y,) = pool(Pooling.model_validate({"pool": kind, **fields}), values())
    assert y.shape == (2, *size, 3)
    assert jnp.isfinite(y).all()


def test_global_pooling_takes_the_whole_image() -> None:
    x = values()
    np.testing.assert_allclose(pool(Pooling(global_pooling=True), x)[0], x.max((1, 2), keepdims=True))
    (mean,) = pool(Pooling(pool="AVE", global_pooling=True), x)
    np.testing.assert_allclose(mean, x.mean((1, 2), keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "needs 'kernel_size'"),
        ({"pool": "STOCHASTIC", "kernel_size": 2, "pad": 1}, "STOCHASTIC pooling takes no pad"),
        ({"global_pooling": True, "kernel_size": 2}, "global_pooling takes no kernel_size, stride or pad"),
        ({"global_pooling": True, "stride": 2}, "global_pooling takes no kernel_size, stride or pad"),
        ({"global_pooling": True, "pad": 1}, "global_pooling takes no kernel_size, stride or pad"),
        ({"kernel_size": [2, 3], "pad": [1, 3]}, "pad must be smaller than kernel_size"),
        ({"kernel_size": 0}, "must be at least 1"),
        ({"kernel_size": 3, "pad": "same"}, "must be `same_upper`, a whole number from 0, or"),
        ({"kernel_size": 3, "pad": "same_upper", "pool": "AVE"}, "pad: same_upper needs pool: MAX"),
        ({"kernel_size": 3, "pad": "same_upper", "round_mode": "FLOOR"}, "so it takes no round_mode"),
        ({"global_pooling": True, "pad": "same_upper"}, "global_pooling takes no kernel_size, stride or pad"),
        ({"bins": 2, "pool": "AVE", "pad": "same_upper"}, "bins take no kernel_size, stride, pad or global_pooling"),
        ({"bins": 2}, "bins need pool: AVE"),
        ({"bins": 2, "pool": "AVE", "stride": 2}, "bins take no kernel_size, stride, pad or global_pooling"),
        ({"bins": 2, "pool": "AVE", "global_pooling": True}, "bins take no kernel_size"),
    ],
)
def test_parameters_that_mean_nothing(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Pooling.model_validate(fields)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "first"),
    [
        (6, 3, 2, [0, 2, 4]),
        (7, 3, 2, [-1, 1, 3, 5]),
        (5, 4, 1, [-1, 0, 1, 2, 3]),
        (6, 4, 4, [-1, 3]),
        (5, 1, 2, [0, 2, 4]),
    ],
)
def test_same_upper_begins_its_windows_where_tensorflow_does(
    length: int, kernel: int, stride: int, first: list[int]
) -> None:
    layer = Pooling(kernel_size=(1, kernel), stride=(1, stride), pad="same_upper")
    x = np.random.default_rng(0).permutation(length).astype(np.float32) - 9
    y, mask = pool(layer, jnp.asarray(x.reshape(1, 1, length, 1)), 2)
    windows = [range(max(0, start), min(length, start + kernel)) for start in first]
    assert y.ravel().tolist() == [max(x[place] for place in window) for window in windows]
    best = [max(window, key=lambda place: x[place]) for window in windows]
    assert mask.ravel().tolist() == [place - start for place, start in zip(best, first, strict=True)]


def test_bins_cover_an_image_evenly() -> None:
    x = values((2, 7, 5, 3))
    (y,) = pool(Pooling(pool="AVE", bins=(3, 2)), x)
    assert Pooling(pool="AVE", bins=(3, 2)).shapes([Blob(x.shape)]) == (Blob((2, 3, 2, 3)),)
    expected = [
        [x[:, rows, columns].mean((1, 2)) for columns in (slice(0, 3), slice(2, 5))]
        for rows in (slice(0, 3), slice(2, 5), slice(4, 7))
    ]
    np.testing.assert_allclose(y, np.moveaxis(np.asarray(expected), 2, 0), rtol=1e-5, atol=1e-6)


def test_bins_that_divide_the_image_are_windows_edge_to_edge() -> None:
    x = values((1, 12, 18, 2))
    (bins,) = pool(Pooling(pool="AVE", bins=(6, 6)), x)
    (windows,) = pool(Pooling(pool="AVE", kernel_size=(2, 3), stride=(2, 3)), x)
    np.testing.assert_allclose(bins, windows, rtol=1e-5, atol=1e-6)
    (whole,) = pool(Pooling(pool="AVE", bins=(1, 1)), x)
    np.testing.assert_allclose(whole, x.mean((1, 2), keepdims=True), rtol=1e-5, atol=1e-6)


def test_refuses_inputs_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="windows of 9x9 pixels do not fit the padded input"):
        Pooling(kernel_size=(9, 9)).shapes([IMAGE])
    with pytest.raises(ShapeError, match=r"needs an image .*, got 2x3"):
        Pooling(kernel_size=(2, 2)).shapes([Blob((2, 3))])
    with pytest.raises(ShapeError, match="only MAX pooling has a mask"):
        Pooling(pool="AVE", kernel_size=(2, 2)).shapes([IMAGE], 2)
    with pytest.raises(ValidationError, match="only MAX pooling has a mask"):
        PoolingMask(pool="AVE")


def test_the_mask_tells_its_window_in_as_few_bytes_as_it_can() -> None:
    pooled, mask = PoolingMask().shapes([IMAGE], 2)
    assert pooled == Blob((2, 4, 5, 3))
    assert mask == Blob((2, 4, 5, 3), "uint8", PoolWindow.over((7, 9), (2, 2), (2, 2)))
    large = Blob((1, 17, 17, 1))
    assert Pooling(global_pooling=True).shapes([large], 2)[1].dtype == "int32"
    pool(Pooling(global_pooling=True), values(large.shape), 2)


def test_labels_are_pooled_as_whole_numbers() -> None:
    labels = jnp.arange(2 * 5 * 5).reshape(2, 5, 5, 1)
    (y,) = pool(Pooling(kernel_size=(3, 3), stride=(2, 2), pad=(1, 1)), labels)
    np.testing.assert_array_equal(y[0, :, :, 0], [[6, 8, 9], [16, 18, 19], [21, 23, 24]])
    (mean,) = pool(Pooling(pool="AVE", kernel_size=(1, 2), stride=(1, 2)), labels)
    assert mean[0, 0, 0, 0] == 0.5


def test_receptive_fields() -> None:
    layer = Pooling(kernel_size=(3, 2), stride=(2, 1))
    assert layer.sampling([IMAGE], layer.shapes([IMAGE])) == Sampling((3, 2), (Fraction(2), Fraction(1)))
    everything = Pooling(global_pooling=True)
    seen = everything.sampling([IMAGE], everything.shapes([IMAGE]))
    assert seen == Sampling((0, 0), (Fraction(7), Fraction(9)))


def windows_of(x: np.ndarray[Any, Any], layer: Pooling) -> list[tuple[tuple[int, ...], np.ndarray[Any, Any]]]:
    """Where each pooled number stands, and the (pixels, channels) of its window."""
    window = layer.window((x.shape[1], x.shape[2]))
    (down, across), (high, wide) = window.stride, window.kernel
    return [
        ((n, i, j), x[n, i * down : i * down + high, j * across : j * across + wide].reshape(-1, x.shape[3]))
        for n in range(x.shape[0])
        for i in range(window.output[0])
        for j in range(window.output[1])
    ]


STOCHASTIC = Pooling(pool="STOCHASTIC", kernel_size=(3, 2), stride=(2, 2))


def test_stochastic_pooling_tests_with_the_expectation() -> None:
    x = np.abs(np.asarray(values()))
    x[0, :3, :2, 0] = 0
    (y,) = pool(STOCHASTIC, jnp.asarray(x))
    assert y.shape == (2, 3, 5, 3)
    for place, pixels in windows_of(x, STOCHASTIC):
        total = pixels.sum(0)
        expected = np.divide((pixels**2).sum(0), total, out=np.zeros(3, np.float32), where=total > 0)
        np.testing.assert_allclose(y[place], expected, rtol=1e-5)


def test_stochastic_pooling_trains_with_elements_drawn_by_their_size() -> None:
    x = np.tile(np.float32([[1, 2], [0, 5]]).reshape(1, 2, 2, 1), (1, 40, 50, 1))
    layer = Pooling(pool="STOCHASTIC", kernel_size=(2, 2), stride=(2, 2))
    drawing = Context(train=True, key=jax.random.key(3))

    def drawn(x: jax.Array) -> jax.Array:
        return layer.forward({}, {}, [x], drawing)[0][0]

    y, pull = jax.vjp(jax.jit(drawn), jnp.asarray(x))
    shares = [float(np.mean(np.asarray(y) == value)) for value in (0, 1, 2, 5)]
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1:], np.array([1, 2, 5]) / 8, atol=0.04)
    (gradient,) = pull(jnp.full(y.shape, 3.0))
    places = np.asarray(gradient).reshape(40, 2, 50, 2).transpose(0, 2, 1, 3).reshape(2000, 4)
    np.testing.assert_array_equal(np.sort(places, 1), np.tile([0, 0, 0, 3], (2000, 1)))
    chosen = np.float32([1, 2, 0, 5])[places.argmax(1)]
    np.testing.assert_array_equal(chosen, np.asarray(y).ravel())


def test_stochastic_pooling_keeps_windows_that_the_border_cuts() -> None:
    x = jnp.ones((1, 5, 5, 1))
    layer = Pooling(pool="STOCHASTIC", kernel_size=(3, 3), stride=(3, 3))
    (y,), _ = layer.forward({}, {}, [x], Context(train=True, key=jax.random.key(0)))
    np.testing.assert_array_equal(y, np.ones((1, 2, 2, 1)))


@pytest.mark.parametrize("kind", ["MAX", "AVE"])
@pytest.mark.parametrize(("size", "height"), [((9, 11), 3), ((8, 8), 4), ((7, 5), 2), ((4, 1), 1)])
def test_a_pyramid_is_what_its_poolings_give(kind: Literal["MAX", "AVE"], size: tuple[int, int], height: int) -> None:
    x = values((2, *size, 3))
    (y,) = pool(SPP(pyramid_height=height, pool=kind), x)
    expected = []
    for bins in (2**level for level in range(height)):
        kernel = [math.ceil(length / bins) for length in size]
        pad = [(kernel[axis] * bins - size[axis] + 1) // 2 for axis in (0, 1)]
        level = Pooling(pool=kind, kernel_size=tuple(kernel), stride=tuple(kernel), pad=tuple(pad))
        (pooled,) = pool(level, x)
        assert pooled.shape == (2, bins, bins, 3)
        expected.append(np.asarray(pooled).transpose(0, 3, 1, 2).reshape(2, -1))
    if height == 1:
        assert y.shape == (2, 1, 1, 3)
    np.testing.assert_allclose(np.asarray(y).reshape(2, -1), np.concatenate(expected, 1), rtol=1e-6)


def test_a_pyramid_refuses_grids_finer_than_the_image() -> None:
    with pytest.raises(ShapeError, match="3x9 pixels cannot be divided into a grid of 4x4 windows"):
        SPP(pyramid_height=3).shapes([Blob((1, 3, 9, 2))])
    with pytest.raises(ShapeError, match="STOCHASTIC needs a height and width that 2 divides, got 7x9"):
        SPP(pyramid_height=2, pool="STOCHASTIC").shapes([IMAGE])


def test_a_stochastic_pyramid_draws_anew_at_each_level() -> None:
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (1, 4, 4, 1)), jnp.float32)
    (y,), _ = SPP(pyramid_height=2, pool="STOCHASTIC").forward({}, {}, [x], Context(train=True, key=jax.random.key(1)))
    assert y.shape == (1, 5)
    assert set(np.asarray(y).ravel()) <= set(np.asarray(x).ravel())
    assert SPP(pyramid_height=1).sampling([IMAGE], SPP(pyramid_height=1).shapes([IMAGE])).kernel == (0, 0)
