"""Receptive fields against hand-computed sizes, and against what a gradient really reaches."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.graph.receptive_field import Field, receptive_fields
from segspec.net import apply, init
from segspec.spec.library import shipped
from segspec.spec.net import load_net, read_net

CONV = "Convolution: {num_output: 3, kernel_size: 3, pad: same}"
POOL = "Pooling: {pool: AVE, kernel_size: 2, stride: 2}"


def graph(layers: str, size: tuple[int, int] = (40, 40)) -> Graph:
    net = read_net(Source("x.yaml", f"segspec: 1\nlayers:\n{layers}"), Path("nowhere"))
    return build(net, "DEPLOY", image_inputs(1, *size, 3, labels=False))


def field(layers: str, size: tuple[int, int] = (40, 40)) -> Field:
    net = graph(layers, size)
    assert net.prediction is not None
    return receptive_fields(net)[net.prediction]


@pytest.mark.parametrize(
    ("layers", "extent"),
    [
        ([], (1, 1)),
        ([CONV], (3, 3)),
        ([CONV, CONV], (5, 5)),
        (["Convolution: {num_output: 1, kernel_size: [1, 7]}"], (1, 7)),
        (["Convolution: {num_output: 1, kernel_size: 3, dilation: 4, pad: same}"], (9, 9)),
        ([POOL], (2, 2)),
        ([POOL, CONV], (6, 6)),
        ([POOL, POOL, CONV], (12, 12)),
        ([CONV, POOL, CONV, POOL, CONV], (3 + 1 + 4 + 2 + 8, 18)),
        (["Convolution: {num_output: 1, kernel_size: 3, stride: 2}", CONV], (7, 7)),
        ([POOL, "Deconvolution: {num_output: 1, kernel_size: 2, stride: 2}", CONV], (4, 4)),
        (["Pooling: {pool: AVE, global_pooling: true}"], (40, 40)),
        (["InnerProduct: {num_output: 2}"], (40, 40)),
        (["sum: [[" + CONV + ", " + CONV + "], []]"], (5, 5)),
        (["concat: [[], [" + CONV + ", " + CONV + "], [" + CONV + "]]"], (5, 5)),
    ],
)
def test_by_hand(layers: list[str], extent: tuple[int, int]) -> None:
    assert field("".join(f"  - {layer}\n" for layer in [*layers, "ReLU"])).extent == extent


def test_a_field_is_no_larger_than_the_image() -> None:
    found = field(f"  - {CONV}\n  - {CONV}\n", (3, 40))
    assert found.extent == (3, 5)
    assert not found.whole
    assert field(f"  - {CONV}\n" * 20, (8, 8)).whole


@pytest.mark.parametrize(
    ("name", "extent"),
    [("segnet_squares", (40, 40)), ("segnet_basic_camvid", (196, 196)), ("segnet_camvid", (392, 392))],
)
def test_shipped_nets(name: str, extent: tuple[int, int]) -> None:
    net = build(load_net(shipped("specs") / f"{name}.yaml"), "TRAIN", image_inputs(1, 512, 512, 3))
    assert receptive_fields(net)["score"].extent == extent


def reached(net: Graph) -> tuple[int, int]:
    """Height and width of the input pixels that move any one output, the widest over all outputs in the middle."""
    params, state = init(net, 0)
    weights = {layer: {blob: jnp.ones_like(value) for blob, value in blobs.items()} for layer, blobs in params.items()}
    assert net.prediction is not None
    prediction = net.prediction

    def score(image: jax.Array) -> jax.Array:
        return apply(net, weights, state, {"data": image}, want=(prediction,)).blobs[prediction].sum((0, 3))

    jacobian = np.asarray(jax.jit(jax.jacrev(score))(jnp.ones(net.inputs["data"].shape))).sum((2, 5))
    seen = [np.nonzero(plane) for row in jacobian for plane in row]
    return (
        max(int(np.ptp(rows)) + 1 for rows, _ in seen if rows.size),
        max(int(np.ptp(columns)) + 1 for _, columns in seen if columns.size),
    )


@pytest.mark.parametrize(
    "layers",
    [
        [CONV, POOL, CONV],
        ["Convolution: {num_output: 1, kernel_size: [1, 5], stride: [1, 2]}", CONV],
        ["Convolution: {num_output: 1, kernel_size: 3, dilation: 2, pad: same}", POOL],
        [POOL, "Deconvolution: {num_output: 1, kernel_size: 2, stride: 2}", CONV],
        [CONV, POOL, "Deconvolution: {num_output: 1, kernel_size: 2, stride: 2}", "Concat: {with: conv1}", CONV],
        ["sum: [[" + CONV + ", " + CONV + "], []]", POOL],
    ],
)
def test_by_gradients(layers: list[str]) -> None:
    net = graph("".join(f"  - {layer}\n" for layer in layers), (12, 14))
    assert net.prediction is not None
    assert receptive_fields(net)[net.prediction].extent == reached(net)


def test_a_net_of_endless_strides_takes_no_endless_numbers() -> None:
    found = field("  - Pooling: {kernel_size: 1, stride: 999999999999999999, repeat: 300}\n")
    assert found.jump[0] < 2**41
