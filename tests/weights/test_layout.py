"""Arrays of Caffe and ours: nothing but the order of axes differs, and a wrong shape is said plainly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segspec.errors import WeightsError
from segspec.layers.base import Filler, ParamSpec
from segspec.weights.caffemodel import CaffeLayer, read_caffemodel, write_caffemodel
from segspec.weights.layout import (
    caffe_shape,
    running_from_caffe,
    running_to_caffe,
    to_caffe,
    to_stored,
)

FILTER = ParamSpec((3, 5, 4, 7), Filler(), "filter")
MATRIX = ParamSpec((6, 2), Filler(), "matrix")
BIAS = ParamSpec((7,), Filler())
SCALE = ParamSpec((7,), Filler(), caffe_shape=(1, 7, 1, 1))
SLOPE = ParamSpec((), Filler(), caffe_shape=())


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    "spec", [FILTER, MATRIX, BIAS, SCALE, SLOPE], ids=["filter", "matrix", "bias", "scale", "slope"]
)
def test_there_and_back(spec: ParamSpec) -> None:
    array = numbered(caffe_shape(spec))
    stored = to_stored(spec, array, "l", "b")
    assert stored.shape == spec.shape
    assert stored.dtype == np.float32
    assert stored.flags.c_contiguous
    np.testing.assert_array_equal(to_caffe(spec, stored), array)


def test_a_filter_keeps_out_in_height_width() -> None:
    array = numbered((7, 4, 3, 5))
    assert to_stored(FILTER, array, "conv1", "weight")[2, 4, 1, 6] == array[6, 1, 2, 4]


def test_a_matrix_is_transposed() -> None:
    array = numbered((2, 6))
    assert to_stored(MATRIX, array, "ip", "weight")[5, 1] == array[1, 5]


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (BIAS, (1, 1, 1, 7)),
        (MATRIX, (1, 1, 2, 6)),
        (SCALE, (1, 7, 1, 1)),
        (SCALE, (7, 1, 1)),
        (SLOPE, (1,)),
        (SLOPE, (1, 1, 1, 1)),
    ],
)
def test_old_files_may_have_leading_ones(spec: ParamSpec, shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(
        to_stored(spec, numbered(shape), "l", "b").ravel(),
        to_stored(spec, numbered(caffe_shape(spec)), "l", "b").ravel(),
    )


def test_a_product_over_a_window_is_a_convolution() -> None:
    array = numbered((7, 4 * 3 * 5))
    for shape in (array.shape, (1, 1, *array.shape)):
        stored = to_stored(FILTER, array.reshape(shape), "fc6", "weight")
        np.testing.assert_array_equal(to_caffe(FILTER, stored), array.reshape(7, 4, 3, 5))
    with pytest.raises(WeightsError):
        to_stored(FILTER, array.T, "fc6", "weight")


def test_another_shape_is_refused_by_name() -> None:
    with pytest.raises(WeightsError) as caught:
        to_stored(FILTER, np.zeros((11, 4, 3, 5), np.float32), "score", "weight")
    assert "layer 'score', blob 'weight': the net has 7x4x3x5, the file 11x4x3x5" in str(caught.value)
    assert "leave the layer at its initial values" in str(caught.value)


def test_the_same_size_in_another_shape_is_refused() -> None:
    with pytest.raises(WeightsError, match="as many numbers in another shape"):
        to_stored(MATRIX, np.zeros((6, 2), np.float32), "ip", "weight")


def test_running_averages_are_sums_over_a_factor() -> None:
    state = running_from_caffe([2.0, 4.0], [6.0, 8.0], [2.0])
    np.testing.assert_array_equal(state["mean"], [1, 2])
    np.testing.assert_array_equal(state["variance"], [3, 4])
    assert [blob.tolist() for blob in running_to_caffe(state)] == [[2, 4], [6, 8], [2]]


def test_running_averages_before_any_update_are_zero() -> None:
    state = running_from_caffe([0.0], [0.0], [0.0])
    assert (state["mean"], state["variance"], state["factor"]) == (0, 0, 0)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("kind", ["filter", "matrix", "plain"])
def test_a_mapped_file_takes_no_memory_beside_what_is_made_of_it(kind: Any, tmp_path: Path) -> None:
    stored = {"filter": (3, 3, 1024, 1024), "matrix": (9 * 1024, 1024), "plain": (9 * 1024 * 1024,)}[kind]
    spec = ParamSpec(stored, Filler(), kind)
    write_caffemodel(tmp_path / "n", "n", [CaffeLayer("a", "", (np.ones(caffe_shape(spec), np.float32),))])
    before = mapped_megabytes()
    (layer,) = read_caffemodel(tmp_path / "n")
    array = to_stored(spec, layer.blobs[0], "a", "weight")
    assert mapped_megabytes() - before < 8  # of 36
    assert array.shape == stored and array.sum() == array.size
    assert float(layer.blobs[0].sum()) == array.size  # what was given back is read again


def mapped_megabytes() -> float:
    """Memory that pages of files take up in this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) / 1024
