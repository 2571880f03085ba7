from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.ops.window import PoolWindow, convolution_output, deconvolution_output, pooling_output

SIZES, KERNELS, STEPS = st.integers(1, 12), st.integers(1, 5), st.integers(1, 6)


@given(size=SIZES, kernel=KERNELS, stride=STEPS, pad=st.integers(0, 3), dilation=st.integers(1, 3))
def test_convolution_counts_the_windows_that_fit(size: int, kernel: int, stride: int, pad: int, dilation: int) -> None:
    reach = dilation * (kernel - 1) + 1
    starts = range(0, size + 2 * pad - reach + 1, stride)
    assert max(0, convolution_output(size, kernel, stride, pad, dilation)) == len(starts)


@given(size=SIZES, kernel=KERNELS, stride=STEPS, pad=st.integers(0, 3), dilation=st.integers(1, 3))
def test_deconvolution_inverts_the_size_of_a_convolution(
    size: int, kernel: int, stride: int, pad: int, dilation: int
) -> None:
    enlarged = deconvolution_output(size, kernel, stride, pad, dilation)
    assert convolution_output(enlarged, kernel, stride, pad, dilation) == size


@given(size=SIZES, kernel=KERNELS, stride=STEPS, data=st.data())
def test_pooling_windows_cover_the_image_and_begin_inside(
    size: int, kernel: int, stride: int, data: st.DataObject
) -> None:
    pad = data.draw(st.integers(0, kernel - 1))
    count = pooling_output(size, kernel, stride, pad)
    if count >= 1:
        last = (count - 1) * stride - pad
        assert last < size
        assert last + kernel >= size or last + stride >= size
        assert pooling_output(size, kernel, stride, pad, ceil=False) in (count, count - 1)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "ceil", "expected"),
    [
        (7, 2, 2, 0, True, 4),
        (7, 2, 2, 0, False, 3),
        (1, 2, 2, 0, True, 1),
        (6, 3, 2, 1, True, 4),  # the last window holds one column
        (5, 2, 2, 1, True, 3),  # 4 by the formula: the last would begin behind the image
        (5, 1, 3, 0, True, 2),  # 3 by the formula, without padding
        (3, 5, 1, 0, True, -1),
    ],
)
def test_pooling_counts_as_caffe(size: int, kernel: int, stride: int, pad: int, ceil: bool, expected: int) -> None:
    assert pooling_output(size, kernel, stride, pad, ceil=ceil) == expected


@pytest.mark.parametrize(
    ("window", "tiles"),
    [
        (PoolWindow.over((6, 8), (2, 2), (2, 2)), True),
        (PoolWindow.over((5, 7), (2, 3), (2, 3)), True),
        (PoolWindow.over((5, 7), (2, 2), (2, 2), ceil=False), False),
        (PoolWindow.over((6, 8), (2, 2), (2, 2), ceil=False), True),
        (PoolWindow.over((6, 8), (3, 3), (2, 2)), False),
        (PoolWindow.over((6, 8), (2, 2), (2, 2), (1, 1)), False),
        (PoolWindow.over((6, 8), (2, 2), (2, 1)), False),
    ],
)
def test_windows_tile_only_edge_to_edge(window: PoolWindow, tiles: bool) -> None:
    assert window.tiles == tiles


def test_height_comes_before_width() -> None:
    window = PoolWindow.over((10, 21), (2, 3), (2, 5), (0, 1))
    assert window.output == (5, 5)
    assert window.positions == 6


@pytest.mark.oracle
@settings(max_examples=50)
@given(size=SIZES, kernel=KERNELS, stride=STEPS, ceil=st.booleans(), data=st.data())
def test_agrees_with_torch(size: int, kernel: int, stride: int, ceil: bool, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    pad = data.draw(st.integers(0, kernel // 2))
    count = pooling_output(size, kernel, stride, pad, ceil=ceil)
    if size + 2 * pad >= kernel:
        theirs = torch.nn.functional.max_pool1d(torch.zeros(1, size), kernel, stride, pad, ceil_mode=ceil)
        assert theirs.shape[1] == count
