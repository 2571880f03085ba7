from __future__ import annotations

from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.ops import taps
from segspec.ops.native import Geometry
from segspec.ops.taps import multiply_taps
from segspec.ops.window import Pair

Planes = np.ndarray[Any, Any]
FRAME = 50
"""Zeros around an image, more than any window reaches beyond it."""


def reference(x: Planes, cotangent: Planes, geometry: Geometry, kernel: Pair) -> Planes:
    """Tap by tap, in double."""
    framed = np.pad(x.astype(np.float64), ((0, 0), (FRAME, FRAME), (FRAME, FRAME), (0, 0)))
    _, height, width, out = cotangent.shape
    share, outs = x.shape[3] // geometry.groups, out // geometry.groups
    gradient = np.zeros((*kernel, share, out))
    for tap in np.ndindex(kernel):
        rows, columns = (
            slice(first, first + stride * (size - 1) + 1, stride)
            for place, pad, stride, dilation, size in zip(
                tap, geometry.pad, geometry.stride, geometry.dilation, (height, width), strict=True
            )
            for first in [FRAME - pad + dilation * place]
        )
        for group in range(geometry.groups):
            own, made = slice(group * share, (group + 1) * share), slice(group * outs, (group + 1) * outs)
            seen = framed[:, rows, columns, own].reshape(-1, share)
            gradient[(*tap, slice(None), made)] = seen.T @ cotangent[..., made].reshape(-1, outs).astype(np.float64)
    return gradient


def draw(shape: tuple[int, ...], seed: int) -> Planes:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    output=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=PAIRS,
    dilation=PAIRS,
    pad=st.tuples(st.integers(-2, 4), st.integers(-2, 4)),
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    shares=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    band=st.sampled_from([1, 500, 2**24]),
)
@settings(max_examples=30)
def test_any_windows(
    size: Pair,
    output: Pair,
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
    pad: Pair,
    batch: int,
    groups: int,
    shares: Pair,
    band: int,
) -> None:
    """Whether or not they reach beyond the image, or leave some of it out; in one band or in many."""
    x = draw((batch, *size, groups * shares[0]), 0)
    cotangent = draw((batch, *output, groups * shares[1]), 1)
    geometry = Geometry(stride, pad, dilation, groups)
    with patch.object(taps, "_BAND_BYTES", band):
        found = jax.jit(multiply_taps, static_argnums=(2, 3))(x, cotangent, geometry, kernel)
    np.testing.assert_allclose(found, reference(x, cotangent, geometry, kernel), rtol=1e-4, atol=1e-4)


def test_bfloat16_adds_up_in_float32() -> None:
    x, cotangent = (jnp.asarray(draw((1, 40, 40, 8), seed), jnp.bfloat16) for seed in (0, 1))
    geometry = Geometry((1, 1), (1, 1), (1, 1), 1)
    found = multiply_taps(x, cotangent, geometry, (3, 3))
    exact = reference(np.asarray(x, np.float32), np.asarray(cotangent, np.float32), geometry, (3, 3))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_memory_stays_within_three_times_the_image() -> None:
    """What stands side by side is a share of it: a 9x9 kernel would take 18 times the image else."""
    image = jax.ShapeDtypeStruct((4, 256, 256, 16), jnp.float32)
    geometry = Geometry((1, 1), (4, 4), (1, 1), 1)
    compiled = jax.jit(lambda x, g: multiply_taps(x, g, geometry, (9, 9))).lower(image, image).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 3 * 4 * 4 * 256 * 256 * 16


def test_one_band_where_the_gradient_is_larger() -> None:
    """Each adds to all of it: a fully connected layer would take several times as long else."""
    image, product = (
        jax.ShapeDtypeStruct((1, 13, 13, 64), jnp.float32),
        jax.ShapeDtypeStruct((1, 7, 7, 512), jnp.float32),
    )
    geometry = Geometry((1, 1), (0, 0), (1, 1), 1)
    with patch.object(taps, "_BAND_BYTES", 2**17):
        made = jax.make_jaxpr(lambda x, g: multiply_taps(x, g, geometry, (7, 7)))(image, product)
    assert [equation.params["length"] for equation in made.eqns if equation.primitive.name == "scan"] == [1]


def test_large_strides_slice_no_more_than_the_columns_of_the_kernel() -> None:
    """A slice for each phase of each column takes a minute to compile."""
    image, scores = (
        jax.ShapeDtypeStruct((1, 512, 640, 2), jnp.float32),
        jax.ShapeDtypeStruct((1, 15, 19, 2), jnp.float32),
    )
    geometry = Geometry((32, 32), (0, 0), (1, 1), 1)
    lowered = jax.jit(lambda x, g: multiply_taps(x, g, geometry, (64, 64))).lower(image, scores)
    assert lowered.as_text().count("stablehlo.dynamic_slice") < 80


def test_no_images_give_no_gradient() -> None:
    geometry = Geometry((1, 1), (1, 1), (1, 1), 2)
    found = multiply_taps(jnp.ones((0, 5, 5, 4), jnp.bfloat16), jnp.ones((0, 5, 5, 6), jnp.bfloat16), geometry, (3, 3))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.zeros((3, 3, 2, 6)))
