from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.evaluate.model import Model, deploy_graph
from segspec.evaluate.statistics import Collector, Mode, batches_needed, normalised_layers
from segspec.net import apply

NET = """layers:
  - Convolution: {{name: conv, num_output: 5, kernel_size: 3, pad: 1}}
  - {norm}: {{name: bn}}
  - Convolution: {{name: score, num_output: $classes, kernel_size: 1}}
"""
RNG = np.random.default_rng(0)
BATCHES = [RNG.integers(0, 60 * (i + 2), (n, 6, 7, 3), np.uint8) for i, n in enumerate((3, 3, 1))]


def collect(model: Model, mode: Mode, batches: list[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    collectors: dict[tuple[int, ...], Collector] = {}
    first: Collector | None = None
    for images in batches:
        if images.shape not in collectors:
            graph = deploy_graph(model.spec, images.shape[0], images.shape[1:3], 3)
            collectors[images.shape] = Collector(graph, None, mode, sums=first)
            first = first or collectors[images.shape]
        collectors[images.shape].add(model.params, model.state, images, jax.random.key(0))
    assert first is not None
    return first.result()


def activations(model: Model, images: np.ndarray) -> np.ndarray:
    """The input of the normalisation, one row a pixel, in float64."""
    graph = deploy_graph(model.spec, images.shape[0], images.shape[1:3], 3)
    inputs = {"data": jnp.asarray(images, jnp.float32)}
    run = jax.jit(lambda params, state: apply(graph, params, state, inputs, want=("conv",)).blobs["conv"])
    return np.asarray(run(model.params, model.state), np.float64).reshape(-1, 5)


@pytest.mark.parametrize("norm", ["BN", "BatchNorm"])
def test_exact_is_the_mean_and_variance_over_all_pixels(norm: str, make_model: Any) -> None:
    model = make_model(NET.format(norm=norm))
    every = np.concatenate([activations(model, images) for images in BATCHES])
    found = collect(model, "exact", BATCHES)["bn"]
    np.testing.assert_allclose(found["mean"], every.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["variance"], every.var(0), rtol=1e-5)
    assert (found["factor"].shape, float(found["factor"])) == ((), 1.0)


def test_exact_does_not_depend_on_how_the_images_are_batched(make_model: Any) -> None:
    model = make_model(NET.format(norm="BN"))
    singles = [images[n : n + 1] for images in BATCHES for n in range(len(images))]
    one, other = collect(model, "exact", BATCHES)["bn"], collect(model, "exact", singles)["bn"]
    for name in ("mean", "variance"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5)


def test_exact_weighs_images_by_their_pixels(make_model: Any) -> None:
    model = make_model(NET.format(norm="BN"))
    sizes = [BATCHES[0], RNG.integers(0, 256, (2, 9, 4, 3), np.uint8)]
    every = np.concatenate([activations(model, images) for images in sizes])
    found = collect(model, "exact", sizes)["bn"]
    np.testing.assert_allclose(found["mean"], every.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["variance"], every.var(0), rtol=1e-5)


def test_tutorial_is_the_plain_average_over_batches(make_model: Any) -> None:
    model = make_model(NET.format(norm="BN"))
    each = [activations(model, images) for images in BATCHES]
    found = collect(model, "tutorial", BATCHES)["bn"]
    np.testing.assert_allclose(found["mean"], np.mean([x.mean(0) for x in each], 0), rtol=1e-5)
    np.testing.assert_allclose(found["variance"], np.mean([x.var(0) for x in each], 0), rtol=1e-5)
    exact = np.concatenate(each).var(0)
    assert np.abs(found["variance"] / exact - 1).max() > 0.01, "the two modes are told apart by this test"


def test_a_variance_is_not_lost_beside_a_large_mean(make_model: Any) -> None:
    model = make_model(NET.format(norm="BN"))
    weight = {**model.params["conv"], "bias": jnp.full(5, 3e4)}
    shifted = Model(model.spec, {**model.params, "conv": weight}, model.state)
    plain = collect(model, "exact", BATCHES)["bn"]["variance"]
    np.testing.assert_allclose(collect(shifted, "exact", BATCHES)["bn"]["variance"], plain, rtol=1e-2)


def test_deeper_layers_are_measured_behind_normalised_ones(make_model: Any) -> None:
    """Their input is what training sees: normalised with the batch's own statistics, not with running averages."""
    deep = """layers:
  - Convolution: {name: conv, num_output: 5, kernel_size: 1}
  - BatchNorm: {name: bn}
  - BatchNorm: {name: again}
"""
    model = make_model(deep)
    found = collect(model, "exact", BATCHES[:1])["again"]
    np.testing.assert_allclose(found["mean"], model.params["bn"]["shift"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["variance"], np.square(model.params["bn"]["scale"]), rtol=1e-3)


def test_layers_without_statistics_are_not_measured(make_model: Any) -> None:
    graph = deploy_graph(make_model(NET.format(norm="BN")).spec, 1, (8, 8), 3)
    assert [layer.name for layer in normalised_layers(graph)] == ["bn"]
    plain = make_model(NET.format(norm="LRN"))
    assert normalised_layers(deploy_graph(plain.spec, 1, (8, 8), 3)) == ()


@pytest.mark.parametrize(
    ("images", "batch", "exact", "tutorial"), [(7, 3, 3, 3), (8, 3, 3, 4), (6, 3, 2, 2), (2, 4, 1, 2), (367, 6, 62, 62)]
)
def test_the_number_of_batches(images: int, batch: int, exact: int, tutorial: int) -> None:
    assert batches_needed(images, batch, "exact") == exact
    assert batches_needed(images, batch, "tutorial") == tutorial


@pytest.mark.parametrize(("between", "expected"), [(0.0, 0.0), (200.0, 0.9)])
def test_the_share_of_the_variance_between_batches(between: float, expected: float, make_model: Any) -> None:
    model = make_model(NET.format(norm="BatchNorm"))
    rng = np.random.default_rng(1)
    batches = [(offset + rng.integers(0, 40, (1, 64, 64, 3))).astype(np.uint8) for offset in (0.0, between)]
    collector = Collector(deploy_graph(model.spec, 1, (64, 64), 3), None, "exact")
    for images in batches:
        collector.add(model.params, model.state, images, jax.random.key(0))
    rows = np.stack([activations(model, images) for images in batches])
    share = 1 - rows.var(1).mean(0) / rows.reshape(-1, 5).var(0)
    assert collector.spread() == ("bn", pytest.approx(max(0, np.median(share)), abs=1e-4))
    assert abs(collector.spread()[1] - expected) < 0.1
