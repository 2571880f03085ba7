from __future__ import annotations

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.ops.argmax_pool import argmax_pool, index_dtype, pick, to_flat, unpool, unpool_flat
from segspec.ops.window import PoolWindow

Plane = np.ndarray[Any, Any]


def reference(x: Plane, window: PoolWindow) -> tuple[Plane, Plane]:
    """Caffe's scan, pixel by pixel: maximum and local index."""
    batch, height, width, channels = x.shape
    maximum = np.zeros((batch, *window.output, channels), x.dtype)
    index = np.zeros(maximum.shape, np.int64)
    for n, h, w, c in np.ndindex(maximum.shape):
        best, place = -np.inf, None
        for i in range(window.kernel[0]):
            for j in range(window.kernel[1]):
                row = h * window.stride[0] - window.pad[0] + i
                column = w * window.stride[1] - window.pad[1] + j
                if 0 <= row < height and 0 <= column < width:
                    first = place is None
                    if first or x[n, row, column, c] > best:
                        best, place = x[n, row, column, c], i * window.kernel[1] + j
        maximum[n, h, w, c], index[n, h, w, c] = best, place
    return maximum, index


def places(window: PoolWindow, index: Plane) -> Plane:
    """Row-major pixel numbers of local indices."""
    flat = np.zeros(index.shape, np.int64)
    for n, h, w, c in np.ndindex(index.shape):
        i, j = divmod(int(index[n, h, w, c]), window.kernel[1])
        row, column = h * window.stride[0] - window.pad[0] + i, w * window.stride[1] - window.pad[1] + j
        flat[n, h, w, c] = row * window.input[1] + column
    return flat


def scatter(values: Plane, flat: Plane, size: tuple[int, int], *, add: bool) -> Plane:
    """Values put one after the other, in row-major order of the windows."""
    batch, channels = values.shape[0], values.shape[3]
    plane = np.zeros((batch, size[0] * size[1], channels), values.dtype)
    for n, h, w, c in np.ndindex(values.shape):
        place = flat[n, h, w, c]
        if 0 <= place < size[0] * size[1]:
            plane[n, place, c] = values[n, h, w, c] + (plane[n, place, c] if add else 0)
    return plane.reshape(batch, *size, channels)


@st.composite
def windows(draw: st.DrawFn) -> PoolWindow:
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    kernel = tuple(draw(st.integers(1, min(4, side))) for side in size)
    tiles = draw(st.booleans())
    stride = kernel if tiles else tuple(draw(st.integers(1, side)) for side in kernel)
    pad = (0, 0) if tiles else tuple(draw(st.integers(0, side - 1)) for side in kernel)
    return PoolWindow.over(size, kernel, stride, pad, ceil=draw(st.booleans()))  # type: ignore[arg-type]


def tied(shape: tuple[int, ...], seed: int) -> Plane:
    """Few different values, so that most windows hold ties."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


SOME = [
    pytest.param(PoolWindow.over((6, 8), (2, 2), (2, 2)), id="2x2"),
    pytest.param(PoolWindow.over((7, 9), (2, 2), (2, 2)), id="2x2-odd"),
    pytest.param(PoolWindow.over((1, 5), (2, 3), (2, 3)), id="tile-larger-than-plane"),
    pytest.param(PoolWindow.over((7, 9), (2, 2), (2, 2), ceil=False), id="floor-leaves-a-rest"),
    pytest.param(PoolWindow.over((7, 8), (3, 3), (2, 2)), id="3x3-overlap"),
    pytest.param(PoolWindow.over((7, 8), (3, 3), (2, 2), (1, 1)), id="3x3-pad"),
    pytest.param(PoolWindow.over((7, 9), (3, 2), (1, 2), (2, 0)), id="uneven"),
    pytest.param(PoolWindow.same_upper((7, 8), (3, 4), (2, 1)), id="pad-on-one-side"),
    pytest.param(PoolWindow.over((9, 10), (9, 10), (9, 10)), id="global"),
    pytest.param(PoolWindow.over((11, 10), (9, 9), (9, 9)), id="large-tiles-odd"),
    pytest.param(PoolWindow.over((9, 9), (7, 7), (1, 1), (3, 3)), id="many-windows-a-pixel"),
    pytest.param(PoolWindow.over((3, 300), (1, 256), (1, 1)), id="one-byte-exactly"),
    pytest.param(PoolWindow.over((17, 17), (17, 17), (17, 17)), id="more-than-one-byte"),
]


@partial(jax.jit, static_argnums=2)
def everything(x: jax.Array, values: jax.Array, window: PoolWindow) -> dict[str, jax.Array]:
    """All that a pooling and its unpooling compute, in one program."""
    maximum, index = argmax_pool(x, window)
    flat = to_flat(index, window)
    return {
        "maximum": maximum,
        "index": index,
        "flat": flat,
        "picked": pick(x, index, window),
        "placed": unpool(values, index, window),
        "placed flat": unpool_flat(values, flat, window.input),
        "pool gradient": jax.vjp(lambda x: argmax_pool(x, window)[0], x)[1](values)[0],
        "unpool gradient": jax.vjp(lambda v: unpool(v, index, window), values)[1](x)[0],
    }


def check(window: PoolWindow, seed: int) -> None:
    x = tied((2, *window.input, 2), seed)
    best, local = reference(x, window)
    flat = places(window, local)
    values = np.random.default_rng(seed).integers(1, 9, best.shape).astype(np.float32)
    placed = scatter(values, flat, window.input, add=False)
    expected = {
        "maximum": best,
        "index": local,
        "flat": flat,
        "picked": best,
        "placed": placed,
        "placed flat": placed,
        "pool gradient": scatter(values, flat, window.input, add=True),
        "unpool gradient": best,
    }
    found = everything(jnp.asarray(x), jnp.asarray(values), window)
    assert found["index"].dtype == index_dtype(window)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def search(x: Plane, window: PoolWindow) -> dict[str, jax.Array]:
    """What a pooling finds, by the same program as in `check` where the type is the same: two planes of two images."""
    return everything(jnp.asarray(x), jnp.ones((2, *window.output, 2), x.dtype), window)


place_flat = jax.jit(unpool_flat, static_argnums=2)


@pytest.mark.parametrize("window", SOME)
def test_agrees_with_the_plain_scan(window: PoolWindow) -> None:
    check(window, 0)


@settings(max_examples=15)
@given(window=windows(), seed=st.integers(0, 99))
def test_any_window_agrees_with_the_plain_scan(window: PoolWindow, seed: int) -> None:
    if min(window.output) >= 1:
        check(window, seed)


def test_all_equal_values_name_the_first_pixel_inside() -> None:
    window = PoolWindow.over((5, 5), (3, 3), (2, 2), (1, 1))
    index = argmax_pool(jnp.full((1, 5, 5, 1), -jnp.inf), window)[1]
    np.testing.assert_array_equal(to_flat(index, window)[0, :, :, 0], [[0, 1, 3], [5, 6, 8], [15, 16, 18]])


@pytest.mark.parametrize("window", SOME)
def test_a_nan_loses_against_every_number(window: PoolWindow) -> None:
    x = tied((2, *window.input, 2), 5)
    holes = np.random.default_rng(6).random(x.shape) < 0.4
    found = search(np.where(holes, np.nan, x), window)
    best, local = reference(np.where(holes, -np.inf, x), window)
    alone = np.isneginf(best)
    np.testing.assert_array_equal(np.isnan(found["maximum"]), alone)
    np.testing.assert_array_equal(np.where(alone, 0, found["maximum"]), np.where(alone, 0, best))
    np.testing.assert_array_equal(np.where(alone, 0, found["index"]), np.where(alone, 0, local))
    flat = np.asarray(found["flat"])
    assert flat.min() >= 0 and flat.max() < window.input[0] * window.input[1]


@pytest.mark.parametrize("window", SOME)
def test_minus_infinity_beats_nothing_but_nan(window: PoolWindow) -> None:
    x = np.full((2, *window.input, 2), -np.inf, np.float32)
    x[:, ::2] = np.nan
    found = search(x, window)
    there = reference(np.isneginf(x).astype(np.float32), window)
    np.testing.assert_array_equal(np.isneginf(found["maximum"]), there[0] == 1)
    np.testing.assert_array_equal(np.asarray(found["index"])[there[0] == 1], there[1][there[0] == 1])


@pytest.mark.parametrize("window", [SOME[0], SOME[1], SOME[5]])
def test_bfloat16_gives_the_same_places(window: PoolWindow) -> None:
    x = tied((2, *window.input, 2), 2)
    exact, half = search(x, window), search(x.astype(jnp.bfloat16), window)
    assert half["maximum"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(half["index"], exact["index"])
    assert half["placed"].dtype == jnp.bfloat16


@pytest.mark.parametrize("window", [SOME[1], SOME[5]])
def test_jit_and_export_change_nothing(window: PoolWindow) -> None:
    def there_and_back(x: jax.Array) -> jax.Array:
        return unpool(*argmax_pool(x, window), window)

    x = jnp.asarray(tied((1, *window.input, 2), 3))
    exported = jax.export.export(jax.jit(there_and_back))(jax.ShapeDtypeStruct(x.shape, x.dtype))
    np.testing.assert_array_equal(exported.call(x), there_and_back(x))


def test_second_derivatives_exist() -> None:
    window = PoolWindow.over((5, 6), (3, 3), (2, 2))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 6, 1)), jnp.float32)
    hessian = jax.jit(jax.jacrev(jax.grad(lambda x: jnp.sum(argmax_pool(x, window)[0] ** 2))))(x).reshape(30, 30)
    counts = jax.jit(jax.grad(lambda x: jnp.sum(argmax_pool(x, window)[0])))(x).ravel()
    np.testing.assert_array_equal(hessian, 2 * np.diag(counts))


@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint8])
def test_flat_indices_of_any_type_outside_the_plane_are_dropped(kind: type) -> None:
    flat = np.array([3.0, 6.0, 3.0, 200.0]).reshape(1, 2, 2, 1).astype(kind)
    values = jnp.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    placed, pull = jax.vjp(lambda v: place_flat(v, jnp.asarray(flat), (2, 3)), values)
    np.testing.assert_array_equal(placed.ravel(), [0, 0, 0, 3, 0, 0])
    np.testing.assert_array_equal(pull(jnp.arange(6.0).reshape(1, 2, 3, 1))[0].ravel(), [3, 0, 3, 0])


@pytest.mark.parametrize("flat", [-1.0, -0.5, np.nan, np.inf, 1e20])
def test_flat_indices_that_are_no_pixel_are_dropped(flat: float) -> None:
    mask = jnp.full((1, 1, 1, 1), flat, jnp.float32)
    np.testing.assert_array_equal(place_flat(jnp.ones((1, 1, 1, 1)), mask, (2, 2)), np.zeros((1, 2, 2, 1)))


@pytest.mark.parametrize("window", SOME[:6])
def test_no_scatter_nor_gather_there_or_back(window: PoolWindow) -> None:
    """What makes results the same in every run: nothing is written to a place that is computed."""

    def total(x: jax.Array) -> jax.Array:
        maximum, index = argmax_pool(x, window)
        return jnp.sum(unpool(maximum**2, index, window) ** 2)

    program = jax.jit(jax.value_and_grad(total)).lower(jax.ShapeDtypeStruct((1, *window.input, 2), jnp.float32))
    operations = set(re.findall(r"stablehlo\.(\w+)", program.as_text()))
    assert "compare" in operations
    assert not {name for name in operations if "scatter" in name or "gather" in name or name == "sort"}


@pytest.mark.parametrize("window", [SOME[1], SOME[3], SOME[4], SOME[5]])
def test_gradient_is_the_slope(window: PoolWindow) -> None:
    """Central differences over values so far apart that no step changes a maximum.

    Unpooled only where windows do not overlap: where two values meet, one hides the other but both get the gradient.
    """
    rng = np.random.default_rng(0)
    x = rng.permutation(2 * np.prod(window.input)).reshape(1, *window.input, 2).astype(np.float32) / 8

    @jax.jit
    def totals(x: jax.Array) -> jax.Array:
        maximum, index = argmax_pool(x, window)
        y = unpool(maximum, index, window) if window.kernel == window.stride else maximum
        return jnp.sum(y * jnp.cos(jnp.arange(y[0].size).reshape(y.shape[1:])), (1, 2, 3))

    step = 1 / 32
    pixels = np.eye(x.size, dtype=np.float32).reshape(x.size, *x.shape[1:])
    slopes = (totals(x + step * pixels) - totals(x - step * pixels)) / (2 * step)
    gradient = jax.jit(jax.grad(lambda x: totals(x)[0]))(x)
    np.testing.assert_allclose(gradient.ravel(), slopes, atol=1e-2)


@pytest.mark.oracle
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 3, 0), (2, 1, 1)])
@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_torch(kernel: int, stride: int, pad: int, ceil: bool, ties: bool) -> None:
    torch = pytest.importorskip("torch")
    shape = (2, 7, 9, 3)
    x = tied(shape, 4) if ties else np.random.default_rng(4).normal(size=shape).astype(np.float32)
    window = PoolWindow.over(shape[1:3], (kernel, kernel), (stride, stride), (pad, pad), ceil=ceil)
    there = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    theirs, flat = torch.nn.functional.max_pool2d(there, kernel, stride, pad, ceil_mode=ceil, return_indices=True)
    theirs.backward(theirs.detach())
    ours = everything(jnp.asarray(x), jnp.asarray(theirs.detach().numpy().transpose(0, 2, 3, 1)), window)
    expected = {"maximum": theirs.detach(), "flat": flat, "pool gradient": there.grad}
    if kernel == stride:
        expected["placed"] = torch.nn.functional.max_unpool2d(theirs.detach(), flat, kernel, stride, 0, shape[1:3])
    for name, array in expected.items():
        np.testing.assert_allclose(ours[name], array.numpy().transpose(0, 2, 3, 1), rtol=1e-6, err_msg=name)
