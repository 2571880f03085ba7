from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from segspec.layers.base import Blob, Context, Sampling
from segspec.layers.dense import Embed, InnerProduct, Parameter

RNG = np.random.default_rng(0)


def test_vectors_are_flattened_in_caffes_order() -> None:
    x, weight, bias = RNG.normal(size=(2, 3, 4, 5)), RNG.normal(size=(60, 7)), RNG.normal(size=7)
    layer = InnerProduct(num_output=7)
    specs = layer.params([Blob((2, 4, 5, 3))])
    assert (specs["weight"].shape, specs["weight"].layout, specs["bias"].shape) == ((60, 7), "matrix", (7,))
    params = {"weight": jnp.asarray(weight, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
    (top,), _ = layer.forward(params, {}, [jnp.asarray(x.transpose(0, 2, 3, 1), jnp.float32)], Context())
    np.testing.assert_allclose(top, x.reshape(2, 60) @ weight + bias, rtol=1e-4, atol=1e-5)


def test_a_later_axis_keeps_the_axes_before_it() -> None:
    x, weight = RNG.normal(size=(2, 3, 4, 5)), RNG.normal(size=(5, 7))
    layer = InnerProduct(num_output=7, axis=3, bias_term=False)
    assert layer.shapes([Blob((2, 4, 5, 3))])[0].caffe_shape == (2, 3, 4, 7)
    arrays = [jnp.asarray(x.transpose(0, 2, 3, 1), jnp.float32)]
    (top,), _ = layer.forward({"weight": jnp.asarray(weight, jnp.float32)}, {}, arrays, Context())
    np.testing.assert_allclose(np.asarray(top).transpose(0, 3, 1, 2), x @ weight, rtol=1e-4, atol=1e-5)


def test_a_transposed_blob_is_stored_as_caffe_has_it() -> None:
    spec = InnerProduct(num_output=7, transpose=True).params([Blob((2, 3))])["weight"]
    assert (spec.shape, spec.layout) == ((3, 7), "plain")


def test_products_run_in_the_nets_precision() -> None:
    params = {"weight": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    (top,), _ = InnerProduct(num_output=2).forward(params, {}, [jnp.ones((4, 3))], Context(dtype="bfloat16"))
    assert top.dtype == jnp.bfloat16


def test_cost_and_reach() -> None:
    layer, blob = InnerProduct(num_output=7), Blob((2, 4, 5, 3))
    assert layer.multiply_adds([blob], layer.shapes([blob])) == 2 * 60 * 7
    assert layer.sampling([blob], layer.shapes([blob])) == Sampling((0, 0))


def test_a_number_outside_the_table_is_seen() -> None:
    layer = Embed(input_dim=3, num_output=2)
    params = {"weight": jnp.arange(6.0).reshape(3, 2), "bias": jnp.ones(2)}
    (top,), _ = layer.forward(params, {}, [jnp.array([[0, 2, 3, -1]])], Context())
    np.testing.assert_array_equal(top[0], [[1, 2], [5, 6], [np.nan] * 2, [np.nan] * 2])
    assert layer.shapes([Blob((1, 4), "int32")])[0].shape == (1, 4, 2)


def test_a_learned_array_stands_alone() -> None:
    layer = Parameter(shape=(2, 3, 4, 5))
    spec = layer.params([])["value"]
    assert (spec.shape, spec.filler.value, spec.layout) == ((2, 3, 4, 5), 0.0, "plain")
    value = RNG.normal(size=spec.shape).astype(np.float32)
    (top,), _ = layer.forward({"value": jnp.asarray(value)}, {}, [], Context())
    assert layer.shapes([]) == (Blob(top.shape),)
    np.testing.assert_array_equal(np.asarray(top).transpose(0, 3, 1, 2), value)
    assert Parameter(shape=(7,)).shapes([]) == (Blob((7,)),)
