from __future__ import annotations

import numpy as np
import pytest

from segspec.layers.base import Filler
from segspec.ops.fillers import Layout, fans, fill

FILTER = (3, 5, 32, 64)
"""Stored (height, width, in, out): 480 inputs of an output, 960 outputs of an input."""


def filled(shape: tuple[int, ...] = FILTER, layout: Layout = "filter", **fields: object) -> np.ndarray:
    values = fill(Filler.model_validate(fields), np.random.default_rng(0), shape, layout)
    assert values.shape == shape and values.dtype == np.float32
    return np.asarray(values, np.float64)


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        (FILTER, "filter", (480, 960)),
        ((20, 10), "matrix", (20, 10)),
        ((10, 20), "plain", (20, 10)),
        ((6, 4, 5), "plain", (20, 30)),
        ((7,), "plain", (1, 7)),
        ((), "plain", (1, 1)),
    ],
)
def test_fans_count_as_caffe_in_every_layout(
    shape: tuple[int, ...], layout: Layout, expected: tuple[float, float]
) -> None:
    assert fans(shape, layout) == expected


def test_constant() -> None:
    assert (filled(type="constant", value=2.5) == 2.5).all()
    assert (filled((4,), "plain", value=-1.0) == -1).all()
    assert (filled() == 0).all()


def test_gaussian() -> None:
    values = filled(type="gaussian", mean=3.0, std=0.5)
    assert values.mean() == pytest.approx(3, abs=0.02)
    assert values.std() == pytest.approx(0.5, rel=0.02)
    assert abs(((values - 3) ** 3).mean()) < 0.01
    assert 3 < np.abs(values - 3).max() / 0.5 < 6


def test_sparse_gaussian_keeps_so_many_an_output() -> None:
    values = filled((1, 1, 400, 50), type="gaussian", sparse=5)
    assert (values != 0).mean() == pytest.approx(5 / 50, rel=0.1)
    assert values[values != 0].std() == pytest.approx(1, rel=0.1)
    assert (filled((50, 400), "plain", type="gaussian", sparse=5) != 0).mean() == pytest.approx(5 / 50, rel=0.1)
    assert (filled(type="gaussian", sparse=1000) != 0).all()
    assert (filled(type="gaussian", sparse=0) == 0).all()


def test_uniform() -> None:
    values = filled(type="uniform", min=-2.0, max=6.0)
    assert -2 <= values.min() < -1.99 and 5.99 < values.max() <= 6
    assert values.mean() == pytest.approx(2, abs=0.1)
    assert values.std() == pytest.approx(8 / np.sqrt(12), rel=0.02)


@pytest.mark.parametrize(("norm", "count"), [("FAN_IN", 480), ("FAN_OUT", 960), ("AVERAGE", 720)])
def test_msra_and_xavier_follow_the_fans(norm: str, count: int) -> None:
    msra = filled(type="msra", variance_norm=norm)
    assert msra.mean() == pytest.approx(0, abs=0.02 * msra.std())
    assert msra.std() == pytest.approx(np.sqrt(2 / count), rel=0.02)
    bound = np.sqrt(3 / count)
    xavier = filled(type="xavier", variance_norm=norm)
    assert 0.999 * bound < np.abs(xavier).max() <= bound * (1 + 1e-6)
    assert xavier.std() == pytest.approx(np.sqrt(1 / count), rel=0.02)


@pytest.mark.parametrize(
    ("shape", "layout", "inputs"),
    [(FILTER, "filter", (0, 1, 2)), ((20, 10), "matrix", 0), ((10, 4, 5), "plain", (1, 2)), ((4,), "plain", ())],
)
def test_unit_ball_sums_to_1_over_the_inputs_of_each_output(
    shape: tuple[int, ...], layout: Layout, inputs: tuple[int, ...]
) -> None:
    values = filled(shape, layout, type="positive_unitball")
    assert (values > 0).all()
    np.testing.assert_allclose(values.sum(inputs), 1, rtol=1e-5)
    if layout == "filter":
        assert values.std() == pytest.approx(values.mean() / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (4, [0.25, 0.75, 0.75, 0.25]),
        (3, [0.5, 1, 0.5]),
        (2, [0.5, 0.5]),  # by Caffe's formula: f = 1, c = 1/2
        (1, [1]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_bilinear_is_a_tent_in_every_channel_pair(kernel: int, expected: list[float]) -> None:
    values = filled((kernel, kernel, 2, 3), type="bilinear")
    for pair in values.reshape(kernel, kernel, 6).transpose(2, 0, 1):
        np.testing.assert_allclose(pair, np.outer(expected, expected), rtol=1e-6)


def test_diagonal_bilinear_keeps_channels_apart() -> None:
    tent = filled((4, 4, 1, 1), type="bilinear")[:, :, 0, 0]
    values = filled((4, 4, 2, 3), type="bilinear", diagonal=True)
    for source in range(2):
        for target in range(3):
            np.testing.assert_array_equal(values[:, :, source, target], tent * (source == target))


def test_bilinear_knows_sides_of_different_length() -> None:
    values = filled((2, 4, 1, 1), type="bilinear")[:, :, 0, 0]
    np.testing.assert_allclose(values, np.outer([0.5, 0.5], [0.25, 0.75, 0.75, 0.25]))


def test_identity_takes_channels_again_where_there_are_more_outputs() -> None:
    values = filled((3, 5, 2, 3), type="identity")
    np.testing.assert_array_equal(values[1, 2], [[1, 0, 1], [0, 1, 0]])
    assert values.sum() == 3


def test_the_generator_decides() -> None:
    first, again, other = (
        fill(Filler(type="msra"), np.random.default_rng(seed), (3, 3, 2, 2), "filter") for seed in (1, 1, 2)
    )
    assert (first == again).all() and not (first == other).any()


@pytest.mark.oracle
def test_msra_agrees_with_torch_in_its_spread() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.kaiming_normal_(torch.empty(64, 32, 3, 5), generator=torch.Generator().manual_seed(0))
    assert filled(type="msra").std() == pytest.approx(float(theirs.std()), rel=0.03)
