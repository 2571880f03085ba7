from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.ops.pooling import average_pool
from segspec.ops.window import PoolWindow

RNG = np.random.default_rng(0)


def reference(x: np.ndarray[Any, Any], window: PoolWindow) -> np.ndarray[Any, Any]:
    """Each window's sum over the image, divided by its part of the padded image."""
    mean = np.zeros((x.shape[0], *window.output, x.shape[3]))
    for row, column in np.ndindex(window.output):
        inside, area = [], 1
        for axis, place in enumerate((row, column)):
            start = place * window.stride[axis] - window.pad[axis]
            end = min(start + window.kernel[axis], window.input[axis] + window.pad[axis])
            area *= end - start
            inside.append(slice(max(start, 0), max(0, min(end, window.input[axis]))))
        mean[:, row, column] = x[:, inside[0], inside[1]].sum((1, 2)) / area
    return mean


@st.composite
def windows(draw: st.DrawFn) -> PoolWindow:
    def sides(least: int, most: int) -> tuple[int, int]:
        return draw(st.integers(least, most)), draw(st.integers(least, most))

    kernel = sides(1, 4)
    pad = (draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1)))
    return PoolWindow.over(sides(1, 8), kernel, sides(1, 4), pad, ceil=draw(st.booleans()))


@settings(max_examples=30)
@given(window=windows())
def test_any_window_agrees_with_the_plain_mean(window: PoolWindow) -> None:
    if min(window.output) >= 1:
        x = RNG.normal(size=(2, *window.input, 3)).astype(np.float32)
        np.testing.assert_allclose(average_pool(jnp.asarray(x), window), reference(x, window), rtol=1e-5, atol=1e-6)


def test_padding_counts_but_the_overhang_does_not() -> None:
    window = PoolWindow.over((3, 3), (2, 2), (2, 2), (1, 1))
    corner, edge = 1 / 4, 2 / 4
    expected = [[corner, edge], [edge, 1]]
    np.testing.assert_allclose(average_pool(jnp.ones((1, 3, 3, 1)), window)[0, :, :, 0], expected)
    overhanging = PoolWindow.over((3, 3), (2, 2), (2, 2))
    np.testing.assert_allclose(average_pool(jnp.ones((1, 3, 3, 1)), overhanging)[0, :, :, 0], np.ones((2, 2)))


def test_gradient_spreads_each_window_over_its_pixels() -> None:
    window = PoolWindow.over((5, 6), (3, 2), (2, 2), (1, 0))
    x = jnp.asarray(RNG.normal(size=(1, 5, 6, 2)), jnp.float32)
    dy = RNG.normal(size=(1, *window.output, 2)).astype(np.float32)
    (dx,) = jax.vjp(lambda x: average_pool(x, window), x)[1](jnp.asarray(dy))
    pixels = np.eye(30, dtype=np.float32).reshape(30, 5, 6, 1)
    shares = reference(pixels, window)[..., 0]
    expected = np.einsum("pij,ijc->pc", shares, dy[0]).reshape(1, 5, 6, 2)
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_summed_in_float32() -> None:
    window = PoolWindow.over((64, 64), (64, 64), (1, 1))
    mean = average_pool(jnp.ones((1, 64, 64, 1), jnp.bfloat16), window)
    assert mean.dtype == jnp.bfloat16
    assert mean.item() == 1


def test_whole_numbers_have_a_real_mean() -> None:
    mean = average_pool(jnp.array([1, 2]).reshape(1, 1, 2, 1), PoolWindow.over((1, 2), (1, 2), (1, 1)))
    assert mean.dtype == jnp.float32
    assert mean.item() == 1.5


@pytest.mark.oracle
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (4, 3, 2)])
def test_agrees_with_torch(kernel: int, stride: int, pad: int, ceil: bool) -> None:
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, 3, 8, 9)).astype(np.float32)
    there = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.avg_pool2d(there, kernel, stride, pad, ceil_mode=ceil, count_include_pad=True)
    theirs.square().sum().backward()
    window = PoolWindow.over((8, 9), (kernel,) * 2, (stride,) * 2, (pad,) * 2, ceil=ceil)
    here = jnp.asarray(x.transpose(0, 2, 3, 1))
    ours = average_pool(here, window)
    np.testing.assert_allclose(ours, theirs.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(average_pool(x, window) ** 2))(here)
    np.testing.assert_allclose(gradient, there.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6)
