from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.ops.convolution import convolve, deconvolve

Array = np.ndarray[Any, Any]


class Sliding(NamedTuple):
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    group: int = 1

    @property
    def options(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if name != "kernel"}


SLIDINGS = [
    Sliding(),
    Sliding(pad=(1, 1)),
    Sliding((2, 2), (2, 2)),
    Sliding((4, 4), (2, 2), (1, 1)),
    Sliding((1, 1), (2, 2)),
    Sliding((3, 1), (1, 2), (1, 0)),
    Sliding(dilation=(2, 3), pad=(2, 1)),
    Sliding((3, 3), (2, 3), (2, 1), (2, 1)),
    Sliding(pad=(1, 1), group=2),
    Sliding((2, 3), (2, 1), (0, 1), (1, 2), 4),
    Sliding((2, 2), pad=(2, 1)),  # padding as large as the kernel: filters that see zeros only
]
IDS = ["-".join(f"{value}" for value in sliding) for sliding in SLIDINGS]


def images(channels: int = 4, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(2, 7, 8, channels)).astype(np.float32)


def filters(sliding: Sliding, out: int = 8) -> Array:
    shape = (*sliding.kernel, 4 // sliding.group, out)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def reference(x: Array, weight: Array, sliding: Sliding) -> Array:
    """Tap by tap: the shifted image times one pixel of all filters."""
    (stride, dilation), share = (sliding.stride, sliding.dilation), x.shape[3] // sliding.group
    padded = np.pad(x.astype(np.float64), ((0, 0), *((p, p) for p in sliding.pad), (0, 0)))
    height, width = (
        (padded.shape[1 + axis] - dilation[axis] * (sliding.kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    )
    y = np.zeros((x.shape[0], height, width, weight.shape[3]))
    outs = weight.shape[3] // sliding.group
    for i, j in np.ndindex(sliding.kernel):
        rows = slice(i * dilation[0], i * dilation[0] + (height - 1) * stride[0] + 1, stride[0])
        columns = slice(j * dilation[1], j * dilation[1] + (width - 1) * stride[1] + 1, stride[1])
        for group in range(sliding.group):
            own, made = slice(group * share, (group + 1) * share), slice(group * outs, (group + 1) * outs)
            y[..., made] += padded[:, rows, columns, own] @ weight[i, j, :, made]
    return y


@pytest.mark.parametrize("sliding", SLIDINGS, ids=IDS)
def test_agrees_with_a_sum_over_taps(sliding: Sliding) -> None:
    x, weight = images(), filters(sliding)
    y = convolve(jnp.asarray(x), jnp.asarray(weight), **sliding.options)
    np.testing.assert_allclose(y, reference(x, weight, sliding), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sliding", SLIDINGS, ids=IDS)
def test_deconvolution_is_the_transpose(sliding: Sliding) -> None:
    """<deconvolve(y), x> = <y, convolve(x)>, over an image that the windows cover to its edge."""
    weight = jnp.asarray(filters(sliding))
    y = jnp.asarray(np.random.default_rng(2).normal(size=(2, 3, 4, 8)), jnp.float32)
    back = deconvolve(y, weight, **sliding.options)
    x = np.random.default_rng(3).normal(size=back.shape).astype(np.float32)
    forth = convolve(jnp.asarray(x), weight, **sliding.options)
    assert forth.shape == y.shape
    there, here = (float(jnp.sum(a * b)) for a, b in ((back, x), (forth, y)))
    assert there == pytest.approx(here, rel=1e-4, abs=1e-4)


def test_filters_are_not_flipped() -> None:
    x = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1)
    weight = jnp.arange(9.0).reshape(3, 3, 1, 1)
    options = Sliding(pad=(1, 1)).options
    np.testing.assert_allclose(convolve(x, weight, **options)[0, 1:4, 1:4, 0], np.arange(9.0).reshape(3, 3)[::-1, ::-1])
    np.testing.assert_allclose(deconvolve(x, weight, **options)[0, 1:4, 1:4, 0], np.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize("apply", [convolve, deconvolve])
def test_bfloat16_adds_up_in_float32(apply: Any) -> None:
    sliding = Sliding(pad=(1, 1))
    shape = (3, 3, 64, 64)
    x = jnp.asarray(np.random.default_rng(4).normal(size=(1, 6, 6, 64)), jnp.bfloat16)
    weight = jnp.asarray(np.random.default_rng(5).normal(size=shape), jnp.bfloat16)
    half = apply(x, weight, **sliding.options)
    exact = apply(x.astype(jnp.float32), weight.astype(jnp.float32), **sliding.options)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), exact, rtol=2**-7, atol=0.02)


@pytest.mark.oracle
@pytest.mark.parametrize("sliding", SLIDINGS[1::2], ids=IDS[1::2])
@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "deconv"])
def test_agrees_with_torch_forward_and_backward(sliding: Sliding, transposed: bool) -> None:
    torch = pytest.importorskip("torch")
    x = images(8 if transposed else 4)
    weight = filters(sliding)
    there = [torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)]
    there += [torch.tensor(weight.transpose(3, 2, 0, 1).copy(), requires_grad=True)]
    name = "conv_transpose2d" if transposed else "conv2d"
    options = {"padding" if key == "pad" else f"{key}s" if key == "group" else key: value
               for key, value in sliding.options.items()}  # fmt: skip
    theirs = getattr(torch.nn.functional, name)(*there, **options)
    theirs.backward(2 * theirs.detach())

    def ours(x: jax.Array, weight: jax.Array) -> jax.Array:
        return (deconvolve if transposed else convolve)(x, weight, **sliding.options)

    here = jnp.asarray(x), jnp.asarray(weight)
    y, pull = jax.vjp(jax.jit(ours), *here)
    np.testing.assert_allclose(y, theirs.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
    gradients = pull(2 * y)
    np.testing.assert_allclose(gradients[0], there[0].grad.numpy().transpose(0, 2, 3, 1), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(gradients[1], there[1].grad.numpy().transpose(2, 3, 1, 0), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize(("count", "rows"), [(0, 2), (1, 0)])
def test_gradients_of_nothing_are_zero(count: int, rows: int) -> None:
    """No images, or none with room for a window."""
    x, weight = jnp.ones((count, 7, 5, 2)), jnp.ones((4, 2, 1, 4))

    def total(x: jax.Array, weight: jax.Array) -> jax.Array:
        slide = convolve(x, weight, stride=(3, 1), pad=(0, 0), dilation=(1, 1), group=2, size=(rows, 4))
        return jnp.sum(slide)

    of_x, of_weight = jax.grad(total, (0, 1))(x, weight)
    np.testing.assert_array_equal(of_x, np.zeros(x.shape))
    np.testing.assert_array_equal(of_weight, np.zeros(weight.shape))
