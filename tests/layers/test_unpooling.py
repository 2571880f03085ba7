from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, Layer, Sampling, ShapeError
from segspec.layers.pooling import PoolingMask
from segspec.layers.unpooling import Unpooling, Upsample
from segspec.ops.window import PoolWindow

IMAGE = Blob((2, 7, 9, 3))


def values(shape: tuple[int, ...] = IMAGE.shape) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def pool(layer: Layer, x: jax.Array, tops: int = 1) -> tuple[jax.Array, ...]:
    outputs: tuple[jax.Array, ...] = jax.jit(lambda x: layer.forward({}, {}, [x], Context(tops=tops))[0])(x)
    return outputs


def upsample(layer: Upsample | Unpooling, x: jax.Array, mask: jax.Array, blob: Blob) -> np.ndarray[Any, Any]:
    bottoms = Blob(x.shape), blob
    (y,) = jax.jit(lambda *arrays: layer.forward({}, {}, arrays, Context(inputs=bottoms))[0])(x, mask)
    assert y.shape == layer.shapes(bottoms)[0].shape
    return np.asarray(y)


def test_receptive_fields_of_an_enlargement() -> None:
    bottoms = Blob((1, 4, 5, 2)), Blob((1, 4, 5, 2), "uint8")
    for fields in ({"scale": 3}, {"upsample_h": 11, "upsample_w": 14}):
        back = Upsample.model_validate(fields)
        third = Fraction(1, 3)
        assert back.sampling(bottoms, back.shapes(bottoms)) == Sampling((1, 1), (third, third))


@pytest.mark.parametrize("fields", [{}, {"kernel_size": 3}, {"kernel_size": 3, "pad": 1}, {"kernel_size": [3, 2]}])
def test_maxima_return_to_their_places(fields: dict[str, Any]) -> None:
    layer = PoolingMask.model_validate(fields)
    x = values()
    pooled, mask = pool(layer, x, 2)
    blob = layer.shapes([IMAGE], 2)[1]
    y = upsample(Upsample(), pooled, mask, blob)
    assert y.shape == x.shape
    np.testing.assert_array_equal(y[y != 0], np.asarray(x)[y != 0])
    if not fields:
        assert (y != 0).sum() == pooled.size


POOLED = Blob((1, 4, 5, 2))
MASK = POOLED._replace(dtype="uint8", window=PoolWindow.over((7, 9), (2, 2), (2, 2)))


@pytest.mark.parametrize(
    ("fields", "window", "size"),
    [
        ({}, True, (7, 9)),
        ({"scale": 2}, True, (8, 10)),
        ({"scale": 2, "pad_out_h": True}, True, (7, 10)),
        ({"scale": 2, "pad_out_w": True, "pad_out_h": True}, True, (7, 9)),
        ({"scale": 3, "upsample_h": 9, "upsample_w": 9}, True, (9, 9)),
        ({"upsample_h": 6, "upsample_w": 12}, True, (6, 12)),
        ({}, False, (8, 10)),
        ({"scale": 3}, False, (12, 15)),
        ({"upsample_h": 7, "upsample_w": 9}, False, (7, 9)),
        ({"scale": 1, "pad_out_w": True}, False, (4, 4)),
    ],
)
def test_sizes_of_an_unpooling(fields: dict[str, Any], window: bool, size: tuple[int, int]) -> None:
    mask = MASK if window else MASK._replace(window=None)
    layer = Upsample.model_validate(fields)
    y = upsample(layer, values(POOLED.shape), jnp.zeros(POOLED.shape, jnp.uint8), mask)
    assert y.shape == (1, *size, 2)


@pytest.mark.parametrize("size", [(7, 9), (8, 9), (7, 11), (9, 7), (13, 5), (10, 10)])
def test_other_sizes_keep_the_meaning_of_flat_indices(size: tuple[int, int]) -> None:
    x = values((1, 7, 9, 2))
    pooled, mask = pool(PoolingMask(), x, 2)
    y = upsample(Upsample(upsample_h=size[0], upsample_w=size[1]), pooled, mask, MASK)
    plane = upsample(Upsample(), pooled, mask, MASK).reshape(63, 2)
    expected = np.zeros((size[0] * size[1], 2), np.float32)
    expected[:63] = plane
    np.testing.assert_array_equal(y.reshape(-1, 2), expected)


def test_flat_masks_of_another_program_are_understood() -> None:
    x = jnp.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    flat = jnp.array([0.0, 7.0, 9.0, 7.0]).reshape(1, 2, 2, 1)
    y = upsample(Upsample(), x, flat, Blob((1, 2, 2, 1)))
    expected = np.zeros(16)
    expected[[0, 7, 9]] = [1, 4, 3]
    np.testing.assert_array_equal(y.ravel(), expected)


@pytest.mark.parametrize("fields", [{}, {"upsample_h": 8, "upsample_w": 9}, {"upsample_h": 7, "upsample_w": 10}])
def test_the_gradient_of_an_unpooling_reads_the_places(fields: dict[str, Any]) -> None:
    _, mask = pool(PoolingMask(), values((1, 7, 9, 2)), 2)
    layer = Upsample.model_validate(fields)
    numbered = jnp.arange(float(layer.shapes([POOLED, MASK])[0].size)).reshape(layer.shapes([POOLED, MASK])[0].shape)

    def total(x: jax.Array) -> jax.Array:
        (y,), _ = layer.forward({}, {}, [x, mask], Context(inputs=(POOLED, MASK)))
        return jnp.sum(y * numbered)

    places = upsample(layer, jnp.ones(POOLED.shape), mask, MASK)
    gradient = np.asarray(jax.grad(total)(values(POOLED.shape)))
    np.testing.assert_array_equal(np.sort(gradient, None), np.sort(np.asarray(numbered)[places == 1], None))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"upsample_h": 4}, "upsample_h and upsample_w go together"),
        ({"upsample_w": 4}, "upsample_h and upsample_w go together"),
        ({"pad_out_h": True}, "give scale too"),
        ({"pad_out_w": True, "upsample_h": 4, "upsample_w": 4}, "give scale too"),
        ({"scale": 0}, "greater than or equal to 1"),
    ],
)
def test_sizes_that_contradict_each_other(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Upsample.model_validate(fields)


def test_a_prototxt_means_twice_the_size() -> None:
    assert Upsample.caffe_defaults == {"scale": 2}


@pytest.mark.parametrize(
    ("x", "fields", "message"),
    [
        (Blob((1, 4, 5, 3)), {}, "the mask must have the shape of the input, 1x4x5x3, but is 1x4x5x2"),
        (Blob((1, 5, 4, 2)), {}, "the mask must have the shape of the input, 1x5x4x2, but is 1x4x5x2"),
        (Blob((2, 3)), {}, "needs an image .*, got 2x3"),
        (
            POOLED,
            {"upsample_h": 6, "upsample_w": 9},
            "an output of 6x9 pixels cannot hold the maxima of the 7x9 that were pooled; leave the size out",
        ),
        (POOLED, {"scale": 1}, "an output of 4x5 pixels cannot hold"),
    ],
)
def test_masks_that_do_not_fit(x: Blob, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Upsample.model_validate(fields).shapes([x, MASK])


def test_an_output_without_pixels_is_refused() -> None:
    line = Blob((1, 1, 5, 2))
    with pytest.raises(ShapeError, match="an output of 0x5 pixels is empty"):
        Upsample(scale=1, pad_out_h=True).shapes([line, line])


def test_unpooling_with_a_mask_is_the_opposite_of_pooling() -> None:
    x = values((1, 7, 9, 2))
    pooled, mask = pool(PoolingMask(), x, 2)
    layer = Unpooling(kernel_size=(2, 2), stride=(2, 2))
    np.testing.assert_array_equal(upsample(layer, pooled, mask, MASK), upsample(Upsample(), pooled, mask, MASK))
    larger = Unpooling(kernel_size=(2, 2), stride=(2, 2), unpool_size=(8, 11))
    same = Upsample(upsample_h=8, upsample_w=11)
    np.testing.assert_array_equal(upsample(larger, pooled, mask, MASK), upsample(same, pooled, mask, MASK))
    like = Blob((1, 9, 9, 5))
    assert layer.shapes([POOLED, MASK, like]) == (Blob((1, 9, 9, 2)),)
    (y,), _ = layer.forward({}, {}, [pooled, mask, jnp.zeros(like.shape)], Context(inputs=(POOLED, MASK, like)))
    assert y.shape == (1, 9, 9, 2)


def unpooled(x: np.ndarray[Any, Any], layer: Unpooling, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Window by window, as the definition says."""
    y = np.zeros((x.shape[0], *size, x.shape[3]))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            start = [i * layer.stride[0] - layer.pad[0], j * layer.stride[1] - layer.pad[1]]
            if layer.unpool == "MAX":
                row, column = (min(max(start[axis], 0), size[axis] - 1) for axis in (0, 1))
                y[:, row, column] = x[:, i, j]
                continue
            end = [min(start[axis] + layer.kernel_size[axis], size[axis] + layer.pad[axis]) for axis in (0, 1)]
            area = (end[0] - start[0]) * (end[1] - start[1]) if layer.unpool == "AVE" else 1
            rows, columns = (slice(max(start[axis], 0), min(end[axis], size[axis])) for axis in (0, 1))
            y[:, rows, columns] += (x[:, i, j] / area)[:, None, None]
    return y


@pytest.mark.parametrize("kind", ["MAX", "AVE", "TILE"])
@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"kernel_size": 2, "stride": 2}, (8, 10)),
        ({"kernel_size": 3, "stride": 2}, (9, 11)),
        ({"kernel_size": 3, "stride": 2, "pad": 1}, (7, 9)),
        ({"kernel_size": 3, "stride": 1, "pad": 2}, (2, 3)),
        ({"kernel_size": [2, 3], "stride": [2, 3], "unpool_size": [7, 13]}, (7, 13)),
        ({"kernel_size": 3, "stride": 2, "pad": 1, "unpool_size": [9, 8]}, (9, 8)),
        ({"kernel_size": 1, "stride": 2, "unpool_size": 10}, (10, 10)),
    ],
)
def test_unpooling_without_a_mask(kind: str, fields: dict[str, Any], size: tuple[int, int]) -> None:
    layer = Unpooling.model_validate({"unpool": kind, **fields})
    x = values((2, 4, 5, 2))
    assert layer.shapes([Blob(x.shape)]) == (Blob((2, *size, 2)),)
    (y,), _ = jax.jit(lambda x: layer.forward({}, {}, [x], Context()))(x)
    np.testing.assert_allclose(y, unpooled(np.asarray(x), layer, size), rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.grad(lambda x: jnp.sum(layer.forward({}, {}, [x], Context())[0][0] ** 2))(x)).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pad": 2}, "pad must be smaller than kernel_size"),
        ({"unpool": "AVE", "mask": "p"}, "a mask belongs to MAX, not to AVE"),
        ({"size_of": "data"}, "size_of goes with a mask; write unpool_size"),
    ],
)
def test_unpooling_parameters_that_contradict_each_other(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Unpooling.model_validate({"kernel_size": 2, **fields})


def test_unpooling_inputs_that_do_not_fit() -> None:
    layer = Unpooling(kernel_size=(2, 2), stride=(2, 2), unpool_size=(6, 8))
    with pytest.raises(ShapeError, match="an output of 6x8 pixels ends before the last window begins"):
        layer.shapes([POOLED])
    with pytest.raises(ShapeError, match="an output of 6x8 pixels cannot hold the maxima of the 7x9"):
        layer.shapes([POOLED, MASK])
    with pytest.raises(ShapeError, match="TILE takes no mask"):
        Unpooling(unpool="TILE", kernel_size=(2, 2)).shapes([POOLED, MASK])
