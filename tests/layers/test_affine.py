from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.affine import Bias, BiasChannel, Scale
from segspec.layers.base import Blob, Context, Layer, ShapeError

X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
"""In Caffe's order: batch, channels, height, width."""


def stored(array: np.ndarray[Any, Any]) -> jax.Array:
    return jnp.asarray(array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)


def caffe(array: jax.Array) -> np.ndarray[Any, Any]:
    return np.asarray(array).transpose(0, 3, 1, 2) if array.ndim == 4 else np.asarray(array)


def numbered(shape: tuple[int, ...], seed: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(layer: Layer, *bottoms: np.ndarray[Any, Any], **params: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    arrays = [stored(bottom) for bottom in bottoms]
    blobs = [Blob(array.shape) for array in arrays]
    assert {name: spec.shape for name, spec in layer.params(blobs).items()} == {
        name: value.shape for name, value in params.items()
    }
    given = {name: jnp.asarray(value) for name, value in params.items()}
    (y,), _ = layer.forward(given, {}, arrays, Context())
    assert (y.shape,) == tuple(blob.shape for blob in layer.shapes(blobs))
    return caffe(y)


AXES = [
    ({}, (3,), (3, 1, 1)),
    ({"axis": 2}, (4,), (4, 1)),
    ({"axis": -1}, (5,), (5,)),
    ({"axis": 0, "num_axes": 2}, (2, 3), (2, 3, 1, 1)),
    ({"axis": 1, "num_axes": -1}, (3, 4, 5), (3, 4, 5)),
    ({"axis": 0, "num_axes": -1}, (2, 3, 4, 5), (2, 3, 4, 5)),
    ({"axis": 1, "num_axes": 2}, (3, 4), (3, 4, 1)),
    ({"num_axes": 0}, (), ()),
]


@pytest.mark.parametrize(("fields", "shape", "spread"), AXES)
def test_learned_blobs_follow_axes_in_caffes_order(
    fields: dict[str, int], shape: tuple[int, ...], spread: tuple[int, ...]
) -> None:
    scale, bias = numbered(shape), numbered(shape, 2)
    both = Scale.model_validate({**fields, "bias_term": True})
    expected = X * scale.reshape(spread) + bias.reshape(spread)
    np.testing.assert_allclose(run(both, X, scale=scale, bias=bias), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(Bias.model_validate(fields), X, bias=bias), X + bias.reshape(spread), rtol=1e-6)


@pytest.mark.parametrize(("fields", "shape", "spread"), AXES)
def test_a_second_input_takes_the_place_of_the_learned_blob(
    fields: dict[str, int], shape: tuple[int, ...], spread: tuple[int, ...]
) -> None:
    other = numbered(shape)
    axis = {"axis": fields.get("axis", 1)}
    np.testing.assert_allclose(run(Scale.model_validate(axis), X, other), X * other.reshape(spread), rtol=1e-6)
    np.testing.assert_allclose(run(Bias.model_validate(axis), X, other), X + other.reshape(spread), rtol=1e-6)


def test_a_second_input_may_have_a_learned_bias_beside() -> None:
    other, bias = numbered((2, 3)), numbered((2, 3), 2)
    y = run(Scale(axis=0, bias_term=True), X, other, bias=bias)
    np.testing.assert_allclose(y, X * other[:, :, None, None] + bias[:, :, None, None], rtol=1e-5, atol=1e-6)


def test_vectors_are_scaled_too() -> None:
    x, scale = numbered((4, 3)), numbered((3,))
    np.testing.assert_allclose(run(Scale(), x, scale=scale), x * scale, rtol=1e-6)


def test_a_second_input_receives_its_gradient() -> None:
    def total(x: jax.Array, other: jax.Array) -> jax.Array:
        return jnp.sum(Scale(axis=0).forward({}, {}, [x, other], Context())[0][0])

    gradient = jax.grad(total, 1)(stored(X), jnp.ones((2, 3)))
    np.testing.assert_allclose(gradient, X.sum((2, 3)), rtol=1e-5, atol=1e-5)


def test_nothing_changes_at_first() -> None:
    scale = Scale(bias_term=True).params([Blob((2, 4, 5, 3))])
    assert scale["scale"].filler.value == 1 and scale["bias"].filler.value == 0
    assert Bias().params([Blob((2, 4, 5, 3))])["bias"].filler.value == 0


def test_bfloat16_stays() -> None:
    (y,), _ = Scale().forward({"scale": jnp.ones(3)}, {}, [stored(X).astype(jnp.bfloat16)], Context())
    assert y.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("layer", "blobs"), [(Scale(bias_term=True), ("scale", "bias")), (Bias(), ("bias",))], ids=["Scale", "Bias"]
)
def test_gradients_over_many_pixels_are_summed_in_float32(layer: Layer, blobs: tuple[str, ...]) -> None:
    x, g = (jnp.asarray(numbered((1, 60, 80, 8), seed), jnp.bfloat16) for seed in (1, 2))
    params = {name: jnp.ones(8) for name in blobs}

    def total(params: dict[str, jax.Array], dtype: str) -> jax.Array:
        (y,), _ = layer.forward(params, {}, [x.astype(dtype)], Context())
        return jnp.sum((y * g.astype(dtype)).astype(jnp.float32))

    found, exact = (jax.grad(total)(params, dtype) for dtype in ("bfloat16", "float32"))
    for name in blobs:
        np.testing.assert_allclose(found[name], exact[name], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("layer", [Scale, Bias])
def test_refuses_what_does_not_fit(layer: type[Layer]) -> None:
    image = Blob((2, 4, 5, 3))
    with pytest.raises(ShapeError, match="axis 4 is outside an input of 4 axes"):
        layer.model_validate({"axis": 4}).shapes([image])
    with pytest.raises(ShapeError, match="2 axes from axis 3 reach beyond an input of 4 axes"):
        layer.model_validate({"axis": 3, "num_axes": 2}).shapes([image])
    with pytest.raises(ShapeError, match="the second input must be 3, as the axes from 1 on, but is 2"):
        layer.model_validate({}).shapes([image, Blob((2,))])
    with pytest.raises(ShapeError, match="the second input must be 2x4x5x3, as the axes from 0 on, but is 2x4x3x5"):
        layer.model_validate({"axis": 0}).shapes([image, Blob((2, 4, 3, 5))])
    with pytest.raises(ValidationError, match="greater than or equal to -1"):
        layer.model_validate({"num_axes": -2})


SCORE = np.random.default_rng(2).normal(size=(2, 4, 5, 3)).astype(np.float32)


def biased(layer: BiasChannel, label: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    bottoms = [jnp.asarray(SCORE), jnp.asarray(label)]
    (y,), _ = layer.forward({}, {}, bottoms, Context())
    assert layer.shapes([Blob(bottom.shape) for bottom in bottoms]) == (Blob(y.shape),)
    return np.asarray(y) - SCORE


def test_classes_of_an_image_gain_everywhere() -> None:
    label = np.array([[0, 2, 2, -1], [1, 255, 0, 7]]).reshape(2, 1, 1, 4)
    gains = biased(BiasChannel(bg_bias=3, fg_bias=5, ignore_label=255), label)
    expected = np.zeros(SCORE.shape)
    expected[0] = [3, 0, 10]
    expected[1] = [3, 5, 0]
    np.testing.assert_allclose(gains, expected, atol=1e-5)


def test_each_pixel_gains_for_its_class_and_for_the_background() -> None:
    label = np.random.default_rng(0).choice([0, 1, 2, 255, 9], (2, 4, 5, 1))
    gains = biased(BiasChannel(bg_bias=3, fg_bias=5, ignore_label=(255, 9), label_type="PIXEL"), label)
    for place in np.ndindex(2, 4, 5):
        expected = {0: [3, 0, 0], 1: [3, 5, 0], 2: [3, 0, 5]}.get(int(label[place][0]), [0, 0, 0])
        np.testing.assert_allclose(gains[place], expected, atol=1e-5)


def test_labels_that_fit_no_score() -> None:
    score = Blob(SCORE.shape)
    with pytest.raises(ShapeError, match="PIXEL needs a label a pixel"):
        BiasChannel(label_type="PIXEL").shapes([score, Blob((2, 4, 4, 1))])
    with pytest.raises(ShapeError, match="IMAGE needs a list of classes an image, 2x1x1xlabels"):
        BiasChannel().shapes([score, Blob((2, 4, 5, 1))])
