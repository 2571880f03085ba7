"""The kernels themselves, without XLA: those that segspec takes on each kind of processor, AMX with emulated tiles."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import build_native
import hypothesis.strategies as st
import numpy as np
import pytest
from check_native import build
from hypothesis import example, given, settings
from ml_dtypes import bfloat16

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]

CASES = (
    "none float32", "avx2 float32", "avx2 high", "avx512 float32", "avx512 high", "avx512_bf16 bfloat16", "amx high",
    "amx bfloat16",
)  # fmt: skip
ROUNDING = {"float32": 0.0, "high": 2.0**-14, "bfloat16": 0.0}
"""Of a product of two numbers, as they are taken; bfloat16 is given numbers that it holds."""


@dataclass(frozen=True)
class Shape:
    """The fields of the kernels' Convolution, in its order; channels are those of a group."""

    batch: int
    image: Pair
    output: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    pad: Pair
    inputs: int
    outputs: int
    groups: int
    turned: bool

    @property
    def x(self) -> tuple[int, ...]:
        return (self.batch, *self.image, self.inputs * self.groups)

    @property
    def y(self) -> tuple[int, ...]:
        return (self.batch, *self.output, self.outputs * self.groups)

    @property
    def weight(self) -> tuple[int, ...]:
        return (*self.kernel, self.inputs, self.outputs * self.groups)

    @property
    def sizes(self) -> list[int]:
        whole = replace(self, inputs=self.inputs * self.groups, outputs=self.outputs * self.groups)
        return [int(size) for field in astuple(whole) for size in (field if isinstance(field, tuple) else (field,))]


def pairs(least: int, most: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    stride, dilation = draw(st.sampled_from([(pairs(1, 1), pairs(1, 3)), (pairs(1, 3), pairs(1, 1))]))
    channels = st.one_of(st.integers(1, 20), st.integers(28, 36), st.sampled_from([48, 64, 70]))
    return Shape(
        draw(st.integers(1, 2)),
        draw(st.tuples(st.integers(1, 12), st.integers(1, 40))),
        draw(st.tuples(st.integers(1, 12), st.integers(1, 40))),
        draw(pairs(1, 5)),
        draw(stride),
        draw(dilation),
        draw(pairs(-2, 6)),
        draw(channels),
        draw(channels),
        draw(st.sampled_from([1, 1, 2, 3])),
        draw(st.booleans()),
    )


class Kernels:
    """The driver's library, loaded."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.segspec_case.restype = ctypes.c_char_p

    def names(self) -> list[str | None]:
        names: list[str | None] = []
        while (name := self._library.segspec_case(len(names))) != b"":
            names.append(None if name is None else name.decode())
        return names

    def has(self, case: str) -> bool:
        return self.names()[CASES.index(case)] is not None

    def run(self, case: str, shape: Shape, first: Array, second: Array, *, gradient: bool, threads: int = 2) -> Array:
        kind = np.float32 if gradient else first.dtype
        found = np.empty(shape.weight if gradient else shape.y, kind)
        arrays = [np.ascontiguousarray(first), np.ascontiguousarray(second), found]
        there = self._library.segspec_run(
            CASES.index(case),
            int(gradient),
            (ctypes.c_long * 17)(*shape.sizes),
            *(ctypes.c_void_p(array.ctypes.data) for array in arrays),
            (ctypes.c_size_t * 3)(*(array.nbytes for array in arrays)),
            threads,
        )
        assert there, f"no kernels for {case}"
        return found

    def run_channels(self, case: str, x: Array, g: Array, vectors: Array, *, threads: int = 2) -> tuple[Array, Array]:
        """dx, and (sums of x, mean, variance, dscale, dshift)."""
        pixels, channels = x.shape
        dx, found = np.empty_like(x), np.empty((5, channels), np.float32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, g, vectors, dx, found)]
        sizes = (ctypes.c_long(pixels), ctypes.c_long(channels))
        assert self._library.segspec_run_channels(CASES.index(case), *sizes, *pointers, threads)
        return dx, found


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    folder = tmp_path_factory.mktemp("native")
    reason = build(folder, ("driver.so",))
    if reason.startswith("there is no"):
        pytest.skip(reason)
    assert not reason, reason
    return Kernels(folder / "driver.so")


def windows(x: Array, shape: Shape) -> Array:
    """(kernel height, kernel width, batch, out height, out width, in): what each tap sees, zeros outside."""
    seen = np.zeros((*shape.kernel, shape.batch, *shape.output, x.shape[3]))
    for i, j in np.ndindex(shape.kernel):
        places = []
        for axis, tap in ((0, i), (1, j)):
            at = np.arange(shape.output[axis]) * shape.stride[axis] + tap * shape.dilation[axis] - shape.pad[axis]
            places.append((at, (at >= 0) & (at < shape.image[axis])))
        (rows, down), (columns, across) = places
        there = np.ix_(range(shape.batch), np.flatnonzero(down), np.flatnonzero(across))
        seen[i, j][there] = x[np.ix_(range(shape.batch), rows[down], columns[across])]
    return seen


def by_group(shape: Shape, subscripts: str, first: Array, second: Array) -> Array:
    """A sum of products group by group; the last axis of windows and of results is of channels."""
    ins, outs = shape.inputs, shape.outputs
    return np.concatenate(
        [
            np.einsum(subscripts, first[..., k * ins : (k + 1) * ins], second[..., k * outs : (k + 1) * outs])
            for k in range(shape.groups)
        ],
        -1,
    )


FORWARD, BY_WEIGHT = "ijnabc,ijco->nabo", "ijnabc,nabo->ijco"


def turn(weight: Array, shape: Shape) -> Array:
    """The weight that, turned by 180 degrees and with inputs and outputs exchanged, is the given one."""
    grouped = weight[::-1, ::-1].reshape(*shape.kernel, shape.inputs, shape.groups, shape.outputs)
    return grouped.transpose(0, 1, 4, 3, 2).reshape(*shape.kernel, shape.outputs, shape.groups * shape.inputs)


def draw_arrays(shape: Shape, case: str) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(7)
    kind = bfloat16 if case.endswith("bfloat16") else np.float32
    x, g = (rng.normal(size=size).astype(kind) for size in (shape.x, shape.y))
    return x, rng.normal(size=shape.weight).astype(kind).astype(np.float32), g


def assert_close(found: Array, exact: Array, magnitude: Array, depth: int, case: str) -> None:
    """A sum of so many terms in float32; six times that where fewer products are taken than taps."""
    tolerance = magnitude * (ROUNDING[case.split()[1]] + 6 * (depth + 8) * 2.0**-24)
    if found.dtype == bfloat16:
        tolerance = tolerance + np.abs(exact) * 2.0**-8
    error = np.abs(found.astype(np.float64) - exact)
    worst = np.unravel_index(np.argmax(error - tolerance), error.shape)
    assert np.all(error <= tolerance + 1e-30), f"at {worst}: {found[worst]} is not {exact[worst]}"


@pytest.mark.parametrize("case", CASES[1:])
@settings(max_examples=8)
@given(shape=shapes())
@example(shape=Shape(1, (1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (0, 0), 1, 1, 1, False))
@example(shape=Shape(1, (13, 41), (13, 41), (3, 3), (1, 1), (1, 1), (1, 1), 33, 47, 1, False))
@example(shape=Shape(1, (13, 41), (13, 41), (3, 3), (1, 1), (1, 1), (1, 1), 64, 64, 1, True))
@example(shape=Shape(1, (10, 12), (10, 12), (7, 7), (1, 1), (1, 1), (3, 3), 20, 30, 1, False))
def test_agree_with_sums_in_double(kernels: Kernels, case: str, shape: Shape) -> None:
    if not kernels.has(case):
        pytest.skip("this processor lacks the instructions")
    x, weight, g = draw_arrays(shape, case)
    seen, wide = windows(x.astype(np.float64), shape), weight.astype(np.float64)
    found = kernels.run(case, shape, x, turn(weight, shape) if shape.turned else weight, gradient=False)
    exact, magnitude = (by_group(shape, FORWARD, part(seen), part(wide)) for part in (np.asarray, np.abs))
    assert_close(found, exact, magnitude, shape.inputs * shape.kernel[0] * shape.kernel[1], case)

    found = kernels.run(case, replace(shape, turned=False), x, g, gradient=True)
    wide = g.astype(np.float64)
    exact, magnitude = (by_group(shape, BY_WEIGHT, part(seen), part(wide)) for part in (np.asarray, np.abs))
    assert_close(found, exact, magnitude, shape.batch * shape.output[0] * shape.output[1], case)


@pytest.mark.parametrize("case", CASES[1:])
@settings(max_examples=6)
@given(shape=shapes(), poison=st.sampled_from([np.nan, np.inf]), place=st.randoms(use_true_random=False))
@example(Shape(1, (16, 24), (16, 24), (3, 3), (1, 1), (1, 1), (1, 1), 32, 32, 1, False), np.nan, None)
def test_a_nan_spoils_what_sees_it(kernels: Kernels, case: str, shape: Shape, poison: float, place: Any) -> None:
    """And nothing else, but where tiles of up to 4 x 4 outputs are computed together."""
    if not kernels.has(case):
        pytest.skip("this processor lacks the instructions")
    x, weight, _ = draw_arrays(replace(shape, turned=False), case)
    spot = tuple(place.randrange(size) if place else size // 2 for size in shape.x)
    x[spot] = poison
    found = kernels.run(case, replace(shape, turned=False), x, weight, gradient=False)
    marks = np.zeros(shape.x)
    marks[spot] = 1
    sees = by_group(shape, FORWARD, windows(marks, shape), np.ones(shape.weight)) > 0
    spoilt = ~np.isfinite(found.astype(np.float32))
    assert np.all(spoilt[sees])
    if is_direct(shape):
        np.testing.assert_array_equal(spoilt, sees)
    else:
        near = np.zeros_like(sees)
        for image, row, column, channel in np.argwhere(sees):
            near[image, max(0, row - 3) : row + 4, max(0, column - 3) : column + 4, channel] = True
        assert np.all(near[spoilt])


def is_direct(shape: Shape) -> bool:
    """Whether no kernels but those with a product a tap come into question."""
    return min(shape.kernel) < 3 or shape.groups > 1 or shape.stride != (1, 1) or shape.dilation != (1, 1)


@pytest.mark.parametrize("case", CASES[1:])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
def test_threads_change_no_bit(kernels: Kernels, case: str, kernel: Pair) -> None:
    if not kernels.has(case):
        pytest.skip("this processor lacks the instructions")
    pad = (kernel[0] // 2, kernel[1] // 2)
    shape = Shape(2, (20, 30), (20, 30), kernel, (1, 1), (1, 1), pad, 40, 72, 1, False)
    x, weight, g = draw_arrays(shape, case)
    for gradient, other in ((False, weight), (True, g)):
        results = [kernels.run(case, shape, x, other, gradient=gradient, threads=count) for count in (1, 2, 5, 2)]
        assert len({result.tobytes() for result in results}) == 1


def test_an_old_processor_gets_none(kernels: Kernels) -> None:
    shape = Shape(1, (8, 8), (8, 8), (3, 3), (1, 1), (1, 1), (1, 1), 16, 16, 1, False)
    x, weight, _ = draw_arrays(shape, CASES[0])
    with pytest.raises(AssertionError, match="no kernels for none float32"):
        kernels.run(CASES[0], shape, x, weight, gradient=False)


def test_all_cases_are_known(kernels: Kernels) -> None:
    names = kernels.names()
    assert len(names) == len(CASES)
    assert {name for name in names if name} <= set(CASES)


def test_tiles_are_real_where_they_are_not_emulated(tmp_path: Path) -> None:
    compiler, disassembler = build_native.find_compiler(), shutil.which("objdump")
    if compiler is None or disassembler is None:
        pytest.skip("needs a C++ compiler and objdump")
    made = tmp_path / "amx.o"
    flags = ["-std=c++17", "-O2", "-fPIC", *build_native.FLAGS["amx.cc"]]
    subprocess.run([*compiler, *flags, "-c", str(build_native.SOURCES / "amx.cc"), "-o", str(made)], check=True)
    code = subprocess.run([disassembler, "-d", str(made)], capture_output=True, text=True, check=True).stdout
    wanted = {"ldtilecfg", "tileloadd", "tilestored", "tilezero", "tdpbf16ps", "tilerelease"}
    assert wanted <= set(code.split())
    assert "tdpbf16ps %tmm7,%tmm5,%tmm3" in code  # the sums last, as the assembler writes it


@pytest.mark.parametrize("case", ["avx2 float32", "avx512 float32", "avx512_bf16 bfloat16"])
@settings(max_examples=15)
@given(pixels=st.integers(1, 300), channels=st.one_of(st.integers(1, 70), st.sampled_from([128, 512])))
@example(1, 1)
@example(5000, 64)
@example(20000, 3)
def test_sums_over_pixels_agree_with_sums_in_double(kernels: Kernels, case: str, pixels: int, channels: int) -> None:
    if not kernels.has(case):
        pytest.skip("this processor lacks the instructions")
    rng = np.random.default_rng(pixels)
    kind = bfloat16 if case.endswith("bfloat16") else np.float32
    x, g = ((rng.normal(size=(pixels, channels)) + offset).astype(kind) for offset in (30, 0.5))
    wide_x, wide_g = x.astype(np.float64), g.astype(np.float64)
    mean, inverse = wide_x.mean(0), 1 / np.sqrt(wide_x.var(0) + 1e-3)
    scale = rng.normal(size=channels)
    vectors = np.stack([mean, inverse, scale]).astype(np.float32)
    dx, found = kernels.run_channels(case, x, g, vectors)

    normal = (wide_x - mean) * inverse
    dscale, dshift = (wide_g * normal).sum(0), wide_g.sum(0)
    exact = scale * inverse * (wide_g - dshift / pixels - normal * dscale / pixels)
    size = 1 + np.abs(wide_g).sum(0)  # of what is summed: the terms may cancel
    for sums, expected, tolerance in zip(
        found,
        (wide_x.sum(0), mean, wide_x.var(0), dscale, dshift),
        (1e-6 * np.abs(wide_x).sum(0), 3e-6 * np.abs(mean), 1e-5 * (wide_x.var(0) + 1e-3), 3e-5 * size, 1e-6 * size),
        strict=True,
    ):
        assert np.all(np.abs(sums - expected) <= tolerance)
    rounding = np.abs(exact) * 2.0**-8 if kind is bfloat16 else 0
    assert np.all(np.abs(dx.astype(np.float64) - exact) <= 1e-4 * np.abs(scale * inverse) + rounding)

    again = kernels.run_channels(case, x, g, vectors, threads=1)
    np.testing.assert_array_equal(found, again[1])
    np.testing.assert_array_equal(dx.view(np.uint8), again[0].view(np.uint8))
