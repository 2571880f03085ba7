from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, Filler, Layer, Sampling, ShapeError
from segspec.layers.convolution import Convolution, Deconvolution, DepthwiseConvolution
from segspec.ops.fillers import fill

IMAGE = Blob((2, 7, 9, 4))


def made(layer: type[Layer], **fields: Any) -> Any:
    return layer.model_validate({"num_output": 6, "kernel_size": 3, **fields})


def run(layer: Layer, *bottoms: jax.Array, dtype: str = "float32", **given: jax.Array) -> jax.Array:
    blobs = [Blob(bottom.shape) for bottom in bottoms]
    params = {
        name: given.get(name, jnp.asarray(np.random.default_rng(1).normal(size=spec.shape), jnp.float32))
        for name, spec in layer.params(blobs).items()
    }
    (y,), changed = layer.forward(params, {}, bottoms, Context(dtype=dtype))
    assert not changed
    assert y.shape == layer.shapes(blobs)[0].shape
    return y


def values(blob: Blob = IMAGE) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=blob.shape), jnp.float32)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (5, 7)),
        ({"pad": 1}, (7, 9)),
        ({"pad": [0, 2]}, (5, 11)),
        ({"kernel_size": [7, 1], "stride": [1, 4]}, (1, 3)),
        ({"stride": 2}, (3, 4)),
        ({"dilation": 3}, (1, 3)),
        ({"pad": "same"}, (7, 9)),
        ({"pad": "same", "stride": 2}, (4, 5)),
        ({"pad": "same", "dilation": [1, 4], "kernel_size": [5, 3]}, (7, 9)),
        ({"pad": "same", "kernel_size": 2, "dilation": 2}, (7, 9)),
        ({"pad": "same", "kernel_size": 1}, (7, 9)),
        ({"pad": "same_upper"}, (7, 9)),
        ({"pad": "same_upper", "kernel_size": [2, 4], "stride": [2, 3], "dilation": [2, 1]}, (4, 3)),
        ({"pad": "same_upper", "kernel_size": 1, "stride": 4}, (2, 3)),
        ({"pad": "same_upper", "kernel_size": 20}, (7, 9)),
        ({"group": 2}, (5, 7)),
    ],
)
def test_output_sizes(fields: dict[str, Any], size: tuple[int, int]) -> None:
    layer = made(Convolution, **fields)
    assert layer.shapes([IMAGE]) == (Blob((2, *size, 6)),)
    assert run(layer, values()).shape == (2, *size, 6)


def test_same_padding_puts_the_filter_in_the_middle() -> None:
    layer = made(Convolution, num_output=1, kernel_size=[3, 5], pad="same", bias_term=False)
    weight = jnp.zeros((3, 5, 1, 1)).at[1, 2].set(1)
    x = values(Blob((1, 4, 6, 1)))
    np.testing.assert_array_equal(run(layer, x, weight=weight), x)


@pytest.mark.parametrize("fields", [{"kernel_size": 2}, {"kernel_size": [3, 4]}, {"kernel_size": 4, "dilation": 3}])
def test_same_padding_needs_a_middle(fields: dict[str, Any]) -> None:
    with pytest.raises(ShapeError, match=r"pad: same needs odd kernels.*write the padding as a number"):
        made(Convolution, pad="same", **fields).shapes([IMAGE])


@pytest.mark.parametrize(
    ("length", "stride", "first"),
    [(4, 2, [0, 2]), (5, 2, [-1, 1, 3]), (6, 3, [0, 3]), (7, 3, [-1, 2, 5]), (8, 3, [0, 3, 6]), (3, 1, [-1, 0, 1])],
)
def test_same_upper_begins_its_windows_where_tensorflow_does(length: int, stride: int, first: list[int]) -> None:
    layer = made(Convolution, num_output=3, kernel_size=[1, 3], stride=[1, stride], pad="same_upper", bias_term=False)
    weight = jnp.eye(3).reshape(1, 3, 1, 3)
    x = np.arange(1.0, length + 1, dtype=np.float32)
    y = run(layer, jnp.asarray(x.reshape(1, 1, length, 1)), weight=weight)
    around = dict(enumerate(x))
    assert y[0, 0].tolist() == [[around.get(start + tap, 0) for tap in range(3)] for start in first]


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (5, 2), (4, 3), (3, 1)])
def test_a_deconvolution_with_size_of_undoes_same_upper(kernel: int, stride: int) -> None:
    """Keras' Conv2DTranspose with padding "same": it enlarges to `stride` times the size, and no more."""
    forward = Convolution(num_output=4, kernel_size=(kernel, kernel), stride=(stride, stride), pad="same_upper")
    back = Deconvolution(num_output=3, kernel_size=(kernel, kernel), stride=(stride, stride), bias_term=False)
    x, y = values(Blob((1, 5 * stride, 4 * stride, 3))), values(Blob((1, 5, 4, 4)))
    weight = jnp.asarray(np.random.default_rng(2).normal(size=(kernel, kernel, 3, 4)), jnp.float32)
    _, transpose = jax.vjp(lambda x: run(forward, x, weight=weight), x)
    np.testing.assert_allclose(run(back, y, x, weight=weight), transpose(y)[0], rtol=1e-5, atol=1e-5)


def test_gradients_pass_padding_on_one_side() -> None:
    layer = made(Convolution, stride=2, pad="same_upper", bias_term=False)
    padded = made(Convolution, stride=2, bias_term=False)
    x = values(Blob((2, 8, 6, 4)))
    weight = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3, 4, 6)), jnp.float32)

    def total(layer: Layer, x: jax.Array, weight: jax.Array) -> jax.Array:
        return jnp.sum(run(layer, x, weight=weight) ** 2)

    def with_zeros(x: jax.Array, weight: jax.Array) -> jax.Array:
        return total(padded, jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))), weight)

    found = jax.grad(lambda x, weight: total(layer, x, weight), (0, 1))(x, weight)
    for here, there in zip(found, jax.grad(with_zeros, (0, 1))(x, weight), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("pad", ["valid", -1, [1, 2, 3], 1.0, True, [1, -1], None])
def test_padding_is_same_or_pixels(pad: object) -> None:
    with pytest.raises(ValidationError, match="must be `same`, `same_upper`, a whole number from 0, or"):
        made(Convolution, pad=pad)


@pytest.mark.parametrize("layer", [Convolution, Deconvolution])
def test_refuses_what_does_not_fit(layer: type[Layer]) -> None:
    with pytest.raises(ShapeError, match="group 3 must divide the 4 channels of the input and num_output 6"):
        made(layer, group=3).shapes([IMAGE])
    with pytest.raises(ShapeError, match="num_output 6"):
        made(layer, group=4).shapes([IMAGE])
    with pytest.raises(ShapeError, match=r"needs an image .* got 2x7"):
        made(layer).shapes([Blob((2, 7))])


def test_a_filter_larger_than_the_image_is_told_with_its_dilation() -> None:
    with pytest.raises(ShapeError, match="the filter covers 9x9 pixels, more than the padded input"):
        made(Convolution, dilation=4).shapes([IMAGE])
    with pytest.raises(ShapeError, match="pad 5x5 cuts off the whole output"):
        made(Deconvolution, pad=5).shapes([IMAGE])


@pytest.mark.parametrize("layer", [Convolution, Deconvolution])
def test_the_bias_is_added_once_to_each_channel(layer: type[Layer]) -> None:
    x = values()
    weight = jnp.asarray(np.random.default_rng(2).normal(size=made(layer).params([IMAGE])["weight"].shape), jnp.float32)
    bias = jnp.arange(6.0)
    with_bias = run(made(layer), x, weight=weight, bias=bias)
    plain = made(layer, bias_term=False)
    assert list(plain.params([IMAGE])) == ["weight"]
    np.testing.assert_allclose(with_bias, run(plain, x, weight=weight) + bias, rtol=1e-5, atol=1e-5)


def test_blobs_are_stored_by_layout_and_start_as_caffe_or_yaml_says() -> None:
    params = made(Convolution, kernel_size=[3, 5], group=2).params([IMAGE])
    assert (params["weight"].shape, params["weight"].layout) == ((3, 5, 2, 6), "filter")
    assert params["weight"].filler.type == "msra"
    assert params["bias"] == ((6,), Filler(), "plain", None)
    turned = made(Deconvolution, kernel_size=[3, 5], group=2).params([IMAGE])
    assert (turned["weight"].shape, turned["weight"].layout) == ((3, 5, 3, 4), "filter")
    assert Convolution.caffe_defaults == Deconvolution.caffe_defaults == {"weight_filler": {"type": "constant"}}


@pytest.mark.parametrize(
    ("fields", "filler"),
    [
        ({"num_output": 4, "group": 4}, "bilinear"),
        ({"num_output": 8, "group": 4}, "msra"),
        ({"num_output": 4}, "msra"),
        ({"num_output": 4, "group": 4, "weight_filler": {"type": "xavier"}}, "xavier"),
        ({"num_output": 4, "weight_filler": {"type": "bilinear"}}, "bilinear"),
    ],
)
def test_a_deconvolution_of_each_channel_starts_as_interpolation(fields: dict[str, Any], filler: str) -> None:
    assert made(Deconvolution, **fields).params([IMAGE])["weight"].filler.type == filler


@pytest.mark.parametrize(("type", "named"), [("bilinear", "a bilinear"), ("identity", "an identity")])
def test_a_filler_of_filters_is_refused_for_a_bias(type: str, named: str) -> None:
    params = made(Convolution, bias_filler={"type": type}).params([IMAGE])
    params["weight"].check_filler()
    with pytest.raises(ShapeError, match=f"{named} filler fits the filters of a convolution"):
        params["bias"].check_filler()


@pytest.mark.parametrize(
    "fields", [{"num_output": 4}, {"num_output": 4, "group": 2}, {"num_output": 4, "group": 4, "dilation": 2}]
)
def test_a_convolution_of_identity_passes_the_image(fields: dict[str, Any]) -> None:
    layer = made(Convolution, **{"pad": "same", "bias_term": False, "weight_filler": {"type": "identity"}, **fields})
    weight = layer.params([IMAGE])["weight"]
    filters = fill(weight.filler, np.random.default_rng(0), weight.shape, weight.layout)
    np.testing.assert_array_equal(run(layer, values(), weight=jnp.asarray(filters)), values())


@pytest.mark.parametrize("fields", [{"kernel_size": 2, "stride": 2}, {"stride": 2, "pad": 1}, {"dilation": 2}])
def test_deconvolution_output_sizes(fields: dict[str, Any]) -> None:
    layer = made(Deconvolution, **fields)
    height, width = layer.shapes([IMAGE])[0].shape[1:3]
    back = made(Convolution, **fields).shapes([Blob((2, height, width, 4))])[0]
    assert back.shape[1:3] == (7, 9)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 8])
def test_size_of_keeps_each_input_in_the_middle_of_its_pixels(kernel: int) -> None:
    """Cut to twice the input, an enlargement is the one with the padding of (kernel - stride) / 2."""
    layer = made(Deconvolution, kernel_size=kernel, stride=2, size_of="data")
    twice = jnp.zeros((1, 14, 18, 5))
    padded = run(made(Deconvolution, kernel_size=kernel, stride=2, pad=(kernel - 2) // 2), values())
    np.testing.assert_allclose(run(layer, values(), twice), padded[:, :14, :18], rtol=1e-4, atol=1e-5)
    half = made(Deconvolution, kernel_size=kernel, stride=2, pad=(kernel - 2) // 4)
    np.testing.assert_allclose(run(half, values(), twice), padded[:, :14, :18], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(14, 18), (15, 19), (15, 18), (13, 17), (15, 5), (1, 1)])
def test_size_of_cuts_or_pads_below_and_right_where_filters_do_not_overlap(size: tuple[int, int]) -> None:
    layer = made(Deconvolution, kernel_size=2, stride=2, size_of="data")
    whole = np.asarray(run(layer, values()))
    expected = np.zeros((2, *size, 6), np.float32)
    rows, columns = min(size[0], 14), min(size[1], 18)
    expected[:, :rows, :columns] = whole[:, :rows, :columns]
    np.testing.assert_array_equal(run(layer, values(), jnp.zeros((1, *size, 5))), expected)


@pytest.mark.parametrize(("size", "pad"), [((14, 18), (1, 1)), ((14, 17), (1, 1)), ((13, 16), (1, 2))])
def test_size_of_takes_missing_rows_and_columns_from_those_that_pad_cut_off(
    size: tuple[int, int], pad: tuple[int, int]
) -> None:
    """As the output_padding of torch."""
    whole = run(made(Deconvolution, kernel_size=3, stride=2), values())
    layer = made(Deconvolution, kernel_size=3, stride=2, pad=pad, size_of="data")
    expected = whole[:, pad[0] : pad[0] + size[0], pad[1] : pad[1] + size[1]]
    assert expected.shape[1:3] == size
    np.testing.assert_allclose(run(layer, values(), jnp.zeros((1, *size, 5))), expected, rtol=1e-5, atol=1e-5)


def test_size_of_a_layer_of_another_scale_is_refused() -> None:
    layer = made(Deconvolution, kernel_size=2, stride=2, size_of="data")
    with pytest.raises(ShapeError, match="the input enlarges to 14x18 pixels, far from the 28x19 of 'size_of'"):
        layer.shapes([IMAGE, Blob((1, 28, 19, 5))])


def test_size_of_needs_an_image() -> None:
    with pytest.raises(ShapeError, match=r"size_of needs an image .* got 2x5"):
        made(Deconvolution).shapes([IMAGE, Blob((2, 5))])


@pytest.mark.parametrize("layer", [Convolution, Deconvolution])
def test_bfloat16_is_what_it_computes_in_and_returns(layer: type[Layer]) -> None:
    half, exact = (run(made(layer), values(), dtype=dtype) for dtype in ("bfloat16", "float32"))
    assert (half.dtype, exact.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(half.astype(jnp.float32), exact, atol=0.15)
    gradient = jax.grad(lambda w: jnp.sum(run(made(layer), values(), dtype="bfloat16", weight=w).astype(jnp.float32)))(
        jnp.ones(made(layer).params([IMAGE])["weight"].shape)
    )
    assert gradient.dtype == jnp.float32


def test_multiply_adds_count_every_tap() -> None:
    layer = made(Convolution, kernel_size=[3, 5], group=2)
    assert layer.multiply_adds([IMAGE], layer.shapes([IMAGE])) == 2 * 5 * 5 * 6 * (3 * 5 * 2)
    turned = made(Deconvolution, kernel_size=[3, 5], group=2)
    assert turned.multiply_adds([IMAGE], turned.shapes([IMAGE])) == 2 * 7 * 9 * 4 * (3 * 5 * 3)


def test_receptive_fields() -> None:
    layer = made(Convolution, kernel_size=[3, 5], stride=[1, 2], dilation=[3, 1])
    assert layer.sampling([IMAGE], layer.shapes([IMAGE])) == Sampling((7, 5), (Fraction(1), Fraction(2)))
    turned = made(Deconvolution, kernel_size=[4, 5], stride=2)
    assert turned.sampling([IMAGE], turned.shapes([IMAGE])) == Sampling((2, 3), (Fraction(1, 2), Fraction(1, 2)))


@pytest.mark.parametrize("written", [{}, {"group": 4}])
def test_a_depthwise_convolution_has_a_group_a_channel(written: dict[str, int]) -> None:
    layer = made(DepthwiseConvolution, num_output=8, pad=1, stride=2, **written)
    same = made(Convolution, num_output=8, pad=1, stride=2, group=4)
    x = jnp.asarray(np.random.default_rng(0).normal(size=IMAGE.shape), jnp.float32)
    assert layer.params([IMAGE]) == same.params([IMAGE])
    assert layer.multiply_adds([IMAGE], layer.shapes([IMAGE])) == same.multiply_adds([IMAGE], same.shapes([IMAGE]))
    np.testing.assert_array_equal(run(layer, x), run(same, x))


def test_groups_that_are_not_depthwise() -> None:
    with pytest.raises(ShapeError, match="group 4 must divide the 4 channels of the input and num_output 6"):
        made(DepthwiseConvolution).shapes([IMAGE])
    with pytest.raises(ShapeError, match="group is 2 but the input has 4 channels; leave group out"):
        made(DepthwiseConvolution, num_output=4, group=2).shapes([IMAGE])
