"""Convolutions as segspec calls them, native where they can be, against XLA's in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from jax import lax

from segspec.ops import native
from segspec.ops.convolution import convolve, deconvolve
from segspec.ops.native.library import VARIABLE, instructions

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]
ORDER = ("avx2", "avx512", "avx512_bf16", "amx")

needs_native = pytest.mark.skipif(not instructions(), reason="there are no native convolutions here")


@dataclass(frozen=True)
class Problem:
    batch: int
    image: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    pad: Pair
    group: int
    inputs: int  # of a group, as the outputs
    outputs: int
    restored: Pair = (0, 0)

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "pad": self.pad, "dilation": self.dilation, "group": self.group}

    @property
    def output(self) -> Pair:
        height, width = (
            (self.image[k] + 2 * self.pad[k] - self.dilation[k] * (self.kernel[k] - 1) - 1) // self.stride[k] + 1
            for k in (0, 1)
        )
        return (height, width)

    @property
    def enlarged(self) -> Pair:
        """The size of the transposed convolution's result for an input of the image's size."""
        height, width = (
            self.stride[k] * (self.image[k] - 1)
            + self.dilation[k] * (self.kernel[k] - 1)
            + 1
            - 2 * self.pad[k]
            + self.restored[k]
            for k in (0, 1)
        )
        return (height, width)


def pairs(least: int, most: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    stride, dilation = draw(st.sampled_from([((1, 1), (1, 1)), ((1, 1), (2, 3)), ((2, 2), (1, 1)), ((1, 3), (1, 1))]))
    channels = st.sampled_from([1, 3, 8, 9, 16, 17, 32])
    problem = Problem(
        draw(st.integers(1, 2)),
        draw(st.tuples(st.integers(1, 14), st.integers(1, 18))),
        draw(pairs(1, 5)),
        stride,
        dilation,
        draw(pairs(0, 6)),
        draw(st.sampled_from([1, 1, 2])),
        draw(channels),
        draw(channels),
        draw(st.tuples(st.integers(0, stride[0] - 1), st.integers(0, stride[1] - 1))),
    )
    return problem


BASE = Problem(2, (12, 16), (3, 3), (1, 1), (1, 1), (1, 1), 1, 16, 24)


def normal(seed: int, *shape: int) -> Array:
    """Numbers that bfloat16 holds."""
    return np.random.default_rng(seed).normal(size=shape).astype(jnp.bfloat16).astype(np.float32)


def arrays(problem: Problem) -> tuple[Array, Array]:
    x = normal(0, problem.batch, *problem.image, problem.inputs * problem.group)
    return x, normal(1, *problem.kernel, problem.inputs, problem.outputs * problem.group)


def exact_convolve(problem: Problem, image: Pair, output: Pair, x: jax.Array, weight: jax.Array) -> jax.Array:
    """A convolution of an image into an output of given sizes, whatever the padding below and right is then."""
    padding = []
    for k in (0, 1):
        seen = problem.stride[k] * (output[k] - 1) + problem.dilation[k] * (problem.kernel[k] - 1) + 1
        padding.append((problem.pad[k], seen - problem.pad[k] - image[k]))
    return lax.conv_general_dilated(
        x,
        weight,
        problem.stride,
        padding,
        rhs_dilation=problem.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=problem.group,
    )


def exact_deconvolve(problem: Problem, x: jax.Array, weight: jax.Array) -> jax.Array:
    """The transpose of the convolution of the enlarged image."""
    enlarged = jax.ShapeDtypeStruct((problem.batch, *problem.enlarged, weight.shape[2] * problem.group), x.dtype)
    forth = partial(exact_convolve, problem, problem.enlarged, problem.image)
    result: jax.Array
    (result,) = jax.linear_transpose(lambda image: forth(image, weight), enlarged)(x)
    return result


def evaluate(function: Callable[..., jax.Array], x: Array, weight: Array, dtype: Any, cotangent: Array) -> list[Array]:
    """The result and both gradients; in one program, as compiling takes longer than computing."""

    def whole(x: jax.Array, weight: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(function, x, weight)
        return (y, *pull(cotangent))

    wide = jnp.promote_types(dtype, "float32")
    here = (jnp.asarray(x, dtype), jnp.asarray(weight, wide), jnp.asarray(cotangent, dtype))
    return [np.asarray(array) for array in jax.jit(whole)(*here)]


def assert_agree(ours: Callable[..., jax.Array], exact: Callable[..., jax.Array], problem: Problem, x: Array, w: Array,
                 dtype: Any = jnp.float32) -> None:  # fmt: skip
    y = jax.eval_shape(exact, x, w)
    cotangent = np.random.default_rng(2).integers(-3, 4, y.shape)
    found = evaluate(ours, x, w, dtype, cotangent)
    with jax.enable_x64(True):
        wanted = evaluate(exact, x, w, jnp.float64, cotangent)
        # Of the absolute values of all terms: what errors of rounding are measured against.
        sizes = evaluate(exact, np.abs(x), np.abs(w), jnp.float64, np.abs(cotangent))
    taps = problem.kernel[0] * problem.kernel[1]
    depths = (taps * w.shape[2], taps * w.shape[3], problem.batch * max(y.size, x.size))
    for name, here, there, size, depth in zip(("y", "dx", "dw"), found, wanted, sizes, depths, strict=True):
        tolerance = size * (6 * (depth + 8) * 2.0**-24) + 1e-30
        if here.dtype == jnp.bfloat16:
            tolerance = tolerance + np.abs(there) * 2.0**-8
        error = np.abs(here.astype(np.float64) - there)
        assert here.shape == there.shape and np.all(error <= tolerance), f"{name} is off by up to {error.max()}"


@pytest.mark.slow
@settings(max_examples=10)
@given(problem=problems().filter(lambda problem: min(problem.output) > 0))
@example(problem=BASE)
@example(problem=Problem(1, (1, 1), (3, 3), (1, 1), (1, 1), (4, 4), 1, 16, 16))
@example(problem=Problem(1, (9, 30), (7, 7), (1, 1), (1, 1), (3, 3), 1, 17, 33))
@example(problem=Problem(1, (9, 30), (3, 3), (1, 1), (4, 4), (4, 4), 2, 9, 11))
def test_convolution(problem: Problem) -> None:
    exact = partial(exact_convolve, problem, problem.image, problem.output)
    assert_agree(partial(convolve, **problem.options), exact, problem, *arrays(problem))


@pytest.mark.slow
@settings(max_examples=8)
@given(problem=problems().filter(lambda problem: min(problem.enlarged) > 0))
@example(problem=BASE)
@example(problem=Problem(1, (8, 9), (4, 4), (2, 2), (1, 1), (1, 1), 1, 16, 24, (1, 1)))
@example(problem=Problem(1, (8, 9), (2, 2), (2, 2), (1, 1), (0, 0), 2, 8, 16, (1, 0)))
@example(problem=Problem(1, (5, 6), (2, 2), (3, 3), (1, 1), (0, 0), 1, 8, 8, (2, 1)))  # phases without a tap
def test_deconvolution(problem: Problem) -> None:
    x, weight = arrays(problem)
    weight = weight.swapaxes(2, 3)[:, :, : problem.outputs]  # (kernel height, kernel width, out / group, in)
    weight = np.ascontiguousarray(np.tile(weight, problem.group)[..., : x.shape[3]])
    ours = partial(deconvolve, **problem.options, restored=problem.restored)
    assert_agree(ours, partial(exact_deconvolve, problem), problem, x, weight)


@settings(max_examples=5)
@given(problem=problems().filter(lambda problem: min(problem.output) > 0))
@example(problem=BASE)
def test_convolution_in_bfloat16(problem: Problem) -> None:
    exact = partial(exact_convolve, problem, problem.image, problem.output)
    assert_agree(partial(convolve, **problem.options), exact, problem, *arrays(problem), dtype=jnp.bfloat16)


def test_second_derivatives() -> None:
    """Of a function that is of third degree in the image and the weight."""
    x, weight = arrays(BASE)
    directions = normal(3, *x.shape), normal(4, *weight.shape)

    def curvature(apply: Callable[..., jax.Array], dtype: Any) -> list[Array]:
        here = [jnp.asarray(array, dtype) for array in (x, weight)]
        along = [jnp.asarray(array, dtype) for array in directions]

        def slope(x: jax.Array, weight: jax.Array) -> jax.Array:
            gradients = jax.grad(lambda x, weight: jnp.sum(apply(x, weight) ** 3) / 1e3, (0, 1))(x, weight)
            return sum((jnp.vdot(a, b) for a, b in zip(gradients, along, strict=True)), jnp.zeros((), dtype))

        return [np.asarray(array) for array in jax.jit(jax.grad(slope, (0, 1)))(*here)]

    found = curvature(partial(convolve, **BASE.options), jnp.float32)
    with jax.enable_x64(True):
        wanted = curvature(partial(exact_convolve, BASE, BASE.image, BASE.output), jnp.float64)
    for here, there in zip(found, wanted, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-4 * np.abs(there).max())


def test_vmap_over_images_and_weights() -> None:
    x, weight = arrays(BASE)
    images, weights = jnp.stack([x, 2 * x, x[::-1]]), jnp.stack([weight, -weight, weight[::-1]])
    apply = partial(convolve, **BASE.options)
    for axes in ((0, None), (None, 0), (0, 0)):
        given = (images if axes[0] == 0 else x, weights if axes[1] == 0 else weight)
        found = jax.jit(jax.vmap(apply, axes))(*given)
        for k in range(3):
            one = apply(
                *(array[k] if axis == 0 else jnp.asarray(array) for array, axis in zip(given, axes, strict=True))
            )
            np.testing.assert_allclose(found[k], one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_spoilt_pixel_spoils_the_windows_around_it(poison: float) -> None:
    """Tiles of up to 4 x 4 outputs may be computed together; what lies further away stays whole."""
    problem = Problem(1, (30, 40), (3, 3), (1, 1), (1, 1), (1, 1), 1, 16, 16)
    x, weight = arrays(problem)
    x[0, 12, 20, 5] = poison
    spoilt = ~np.isfinite(np.asarray(convolve(jnp.asarray(x), jnp.asarray(weight), **problem.options)))
    assert spoilt[0, 11:14, 19:22].all()
    spoilt[0, 8:17, 16:25] = False
    assert not spoilt.any()


def test_many_threads_at_once() -> None:
    """Jitted functions of eight shapes, called from eight threads, compute what each computes alone."""
    calls = []
    for number in range(8):
        problem = Problem(1, (20 + 5 * number, 31), (3, 3), (1, 1), (1, 1), (1, 1), 1, 16 + number, 40)
        x, weight = (jnp.asarray(array) for array in arrays(problem))
        apply = jax.jit(jax.grad(lambda w, x, problem=problem: jnp.sum(convolve(x, w, **problem.options) ** 2)))
        calls.append(partial(apply, weight, x))
    alone = [np.asarray(call()).tobytes() for call in calls]

    def repeat(call: Callable[[], jax.Array]) -> set[bytes]:
        return {np.asarray(call()).tobytes() for _ in range(20)}

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(repeat, calls))
    assert together == [{result} for result in alone]


DIGEST = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[1])])
import hashlib, jax, jax.numpy as jnp, numpy as np
from segspec.ops.convolution import convolve
rng = np.random.default_rng(0)
x, w = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((2, 40, 50, 24), (3, 3, 24, 40)))
options = {"stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "group": 1}
apply = jax.jit(jax.grad(lambda x, w: jnp.sum(convolve(x, w, **options) ** 2), (0, 1)))
found = {hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in apply(x, w))).hexdigest() for _ in range(5)}
print(*found)
"""


@needs_native
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
def test_processors_and_repetitions_change_no_bit() -> None:
    digests = {run_python(DIGEST, str(count)) for count in (1, 2)}
    assert len(digests) == 1 and len(digests.pop().split()) == 1


GROWTH = """
import jax, jax.numpy as jnp, numpy as np
from segspec.ops.convolution import convolve
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
@jax.jit
def step(w, x):
    loss = lambda w: jnp.mean(convolve(x, w, stride=(1, 1), pad=(1, 1), dilation=(1, 1), group=1) ** 2)
    return w - 0.1 * jax.grad(loss)(w)
w = jnp.ones((3, 3, 32, 64), jnp.float32)
for size in range(40, 80, 2):
    step(w, jnp.ones((1, size, 4 * size, 32), jnp.float32)).block_until_ready()
before = resident()
for repetition in range(15):
    for size in range(40, 80, 2):
        step(w, jnp.ones((1, size, 4 * size, 32), jnp.float32)).block_until_ready()
print(resident() - before)
"""


@pytest.mark.slow
@needs_native
def test_memory_does_not_grow() -> None:
    """Scratch memory of many shapes: what is kept for later calls has a bound of 64 MB."""
    assert float(run_python(GROWTH)) < 64


def run_python(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@needs_native
@pytest.mark.parametrize("name", ORDER[:-1])
def test_instructions_can_be_chosen(name: str) -> None:
    """And derivatives of any order are right with fewer of them; the kernels have their own tests."""
    if VARIABLE in os.environ or ORDER.index(name) >= ORDER.index(instructions()):
        pytest.skip("these are the best that may be used")
    chosen = ["-k", "second_derivatives or vmap or spoilt or at_once"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, *chosen]
    done = subprocess.run(command, env=os.environ | {VARIABLE: name}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    told = subprocess.run(
        [sys.executable, "-c", "from segspec.ops.native.library import instructions; print(instructions())"],
        env=os.environ | {VARIABLE: name}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == name


def test_bfloat16_is_native_where_the_processor_multiplies_it() -> None:
    assert native.computes(jnp.bfloat16) == (instructions() in ORDER[2:])
    assert native.computes(jnp.float32) == (instructions() != "")
    assert not native.computes(jnp.float16)
