from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, ShapeError
from segspec.layers.pooling import Pooling, PoolingMask, Upsample
from segspec.ops.argmax_pool import to_flat
from segspec.ops.window import PoolWindow

IMAGE = Blob((2, 7, 9, 3))
X = jnp.asarray(np.random.default_rng(0).normal(size=IMAGE.shape), jnp.float32)
TILES = PoolWindow.over((7, 9), (2, 2), (2, 2))


def pooled(layer: Pooling, x: jax.Array = X, tops: int = 1) -> tuple[jax.Array, ...]:
    outputs, state = layer.forward({}, {}, [x], Context(tops=tops, inputs=(Blob(x.shape),)))
    assert not state
    return outputs


def upsampled(layer: Upsample, x: jax.Array, mask: jax.Array, window: PoolWindow | None) -> jax.Array:
    blobs = (Blob(x.shape), Blob(mask.shape, str(mask.dtype), window))
    (plane,), _ = layer.forward({}, {}, [x, mask], Context(inputs=blobs))
    assert plane.shape == layer.shapes(blobs)[0].shape
    return plane


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (Pooling(kernel_size=2, stride=2), (4, 5)),
        (Pooling(kernel_size=2, stride=2, round_mode="FLOOR"), (3, 4)),
        (Pooling(kernel_size=3, stride=2, pad=1), (4, 5)),
        (Pooling(kernel_size=(2, 3)), (6, 7)),
        (Pooling(global_pooling=True), (1, 1)),
        (PoolingMask(), (4, 5)),
    ],
    ids=str,
)
def test_sizes_are_counted_as_caffe_does(layer: Pooling, size: tuple[int, int]) -> None:
    assert layer.shapes((IMAGE,))[0] == Blob((2, *size, 3))


def test_global_pooling_takes_the_whole_image_of_any_size() -> None:
    np.testing.assert_array_equal(pooled(Pooling(global_pooling=True))[0], X.max((1, 2), keepdims=True))
    mean = pooled(Pooling(pool="AVE", global_pooling=True))[0]
    np.testing.assert_allclose(mean, X.mean((1, 2), keepdims=True), atol=1e-6)


def test_global_pooling_of_a_large_image_compiles_at_once() -> None:
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 90, 120, 2)), jnp.float32)
    _, mask = pooled(Pooling(global_pooling=True), x, 2)
    window = Pooling(global_pooling=True).window((90, 120))
    assert window.tiles
    np.testing.assert_array_equal(to_flat(mask, window)[0, 0, 0], np.argmax(x.reshape(-1, 2), 0))


def test_the_mask_names_its_windows() -> None:
    maximum, mask = PoolingMask().shapes((IMAGE,), 2)
    assert mask == Blob((2, 4, 5, 3), "uint8", TILES)
    assert maximum.window is None
    (_, wide) = Pooling(kernel_size=17, pad=5).shapes((Blob((1, 20, 20, 1)),), 2)
    assert wide.dtype == "int32"


def test_labels_keep_their_type_under_a_maximum() -> None:
    label = Blob((1, 4, 4, 1), "int32")
    layer = Pooling(kernel_size=2, stride=2)
    (top,) = pooled(layer, jnp.arange(16, dtype=jnp.int32).reshape(label.shape))
    assert layer.shapes((label,))[0].dtype == "int32" == top.dtype
    np.testing.assert_array_equal(top[0, :, :, 0], [[5, 7], [13, 15]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_size": 2, "pool": "STOCHASTIC"}, "stochastic pooling is not supported"),
        ({}, "needs 'kernel_size'"),
        ({"kernel_size": 2, "global_pooling": True}, "takes no kernel_size"),
        ({"kernel_size": 2, "pad": 2}, "pad must be smaller than kernel_size"),
    ],
)
def test_wrong_parameters_are_said_plainly(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Pooling.model_validate(fields)
    with pytest.raises(ValidationError, match="only MAX pooling has a mask"):
        PoolingMask.model_validate({"pool": "AVE"})


def test_images_that_do_not_fit_are_said_plainly() -> None:
    with pytest.raises(ShapeError, match="windows of 9x9 pixels do not fit"):
        Pooling(kernel_size=9, round_mode="FLOOR").shapes((Blob((1, 5, 5, 1)),))
    with pytest.raises(ShapeError, match="needs an image"):
        Pooling(kernel_size=2).shapes((Blob((4, 10)),))
    with pytest.raises(ShapeError, match="only MAX pooling has a mask"):
        Pooling(pool="AVE", kernel_size=2).shapes((IMAGE,), 2)


def test_values_return_to_where_they_were_the_greatest() -> None:
    maximum, mask = pooled(PoolingMask(), X, 2)
    plane = upsampled(Upsample(), maximum, mask, TILES)
    kept = np.asarray(plane) != 0
    assert kept.sum() == maximum.size
    np.testing.assert_array_equal(np.asarray(plane)[kept], np.asarray(X)[kept])


def test_the_gradient_takes_the_same_way_back() -> None:
    def there_and_back(x: jax.Array) -> jax.Array:
        maximum, mask = pooled(PoolingMask(), x, 2)
        return jnp.sum(upsampled(Upsample(), maximum, mask, TILES) ** 2) / 2

    maximum, mask = pooled(PoolingMask(), X, 2)
    np.testing.assert_array_equal(jax.grad(there_and_back)(X), upsampled(Upsample(), maximum, mask, TILES))


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (Upsample(), (7, 9)),
        (Upsample(scale=2), (8, 10)),
        (Upsample(scale=2, pad_out_h=True, pad_out_w=True), (7, 9)),
        (Upsample(upsample_h=9, upsample_w=9), (9, 9)),
        (Upsample(upsample_h=8, upsample_w=8, scale=3), (8, 8)),
    ],
    ids=str,
)
def test_other_sizes_keep_the_meaning_of_flat_indices(layer: Upsample, size: tuple[int, int]) -> None:
    maximum, mask = pooled(PoolingMask(), X, 2)
    flat = np.asarray(to_flat(mask, TILES))
    expected = np.zeros((2, size[0] * size[1], 3), np.float32)
    for n, h, w, c in np.ndindex(maximum.shape):
        expected[n, flat[n, h, w, c], c] = maximum[n, h, w, c]
    for given, window in ((mask, TILES), (jnp.asarray(flat, jnp.float32), None)):
        if window or layer != Upsample():
            plane = upsampled(layer, maximum, given, window)
            np.testing.assert_array_equal(plane, expected.reshape(2, *size, 3))


def test_a_mask_without_windows_is_doubled() -> None:
    blobs = (Blob((1, 3, 4, 2)), Blob((1, 3, 4, 2)))
    assert Upsample().shapes(blobs)[0].shape == (1, 6, 8, 2)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (Upsample(), (2, 4, 5, 8), "the mask must have the shape of the input, 2x4x5x8, but is 2x4x5x3"),
        (
            Upsample(upsample_h=5, upsample_w=9),
            (2, 4, 5, 3),
            "an output of 5x9 pixels cannot hold the maxima of the 7x9",
        ),
        (Upsample(), (8, 3), "needs an image"),
    ],
)
def test_masks_of_other_poolings_are_refused(layer: Upsample, x: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        layer.shapes((Blob(x), Blob((2, 4, 5, 3), "uint8", TILES)))


@pytest.mark.parametrize("fields", [{"upsample_h": 8}, {"upsample_w": 8}, {"pad_out_h": True}])
def test_half_a_size_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"go together|give scale too"):
        Upsample.model_validate(fields)


def test_receptive_field() -> None:
    assert PoolingMask().sampling((IMAGE,), (Blob((2, 4, 5, 3)),)) == ((2, 2), (2, 2))
    assert Pooling(global_pooling=True).sampling((IMAGE,), (Blob((2, 1, 1, 3)),)).kernel == (0, 0)
    small, large = Blob((2, 4, 5, 3)), Blob((2, 8, 10, 3))
    assert Upsample().sampling((small, small), (large,)) == ((1, 1), (0.5, 0.5))
