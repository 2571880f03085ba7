"""Costs against hand-computed figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.graph.summary import Summary, count, shape, size, summarize
from segspec.spec.library import shipped
from segspec.spec.net import load_net, read_net


def costs(layers: str, height: int = 8, width: int = 8) -> Summary:
    net = read_net(Source("x.yaml", f"segspec: 1\nlayers:\n{layers}"), Path("nowhere"))
    return summarize(build(net, "TRAIN", image_inputs(1, height, width, 3)))


INPUTS = 8 * 8 * 3 * 4 + 8 * 8 * 4  # the image and the label, four bytes each


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("Convolution: {num_output: 4, kernel_size: 3, pad: same}", 8 * 8 * 4 * 9 * 3),
        ("Convolution: {num_output: 4, kernel_size: 3}", 6 * 6 * 4 * 9 * 3),
        ("Convolution: {num_output: 4, kernel_size: 3, stride: 2, pad: 1}", 4 * 4 * 4 * 9 * 3),
        ("Convolution: {num_output: 3, kernel_size: 3, group: 3, pad: same}", 8 * 8 * 3 * 9),
        ("Deconvolution: {num_output: 4, kernel_size: 2, stride: 2}", 8 * 8 * 3 * 4 * 4),
        ("InnerProduct: {num_output: 5}", 8 * 8 * 3 * 5),
        ("ReLU", 0),
    ],
)
def test_multiply_adds(layer: str, expected: int) -> None:
    assert costs(f"  - {layer}\n").multiply_adds == expected


def test_the_squares_net_by_hand() -> None:
    net = build(load_net(shipped("specs") / "segnet_squares.yaml"), "TRAIN", image_inputs(1, 40, 60, 3))
    summary = summarize(net)
    first = 40 * 60 * 64 * 49 * 3
    middle = 20 * 30 * 64 * 49 * 64
    last = 40 * 60 * 64 * 49 * 64
    assert summary.multiply_adds == first + middle + 20 * 30 * 64 * 49 * 64 + last + 40 * 60 * 2 * 64
    assert summary.scores is not None
    assert summary.scores[0] == (40, 60, 2)
    assert summary.scores[1].extent == (40, 40)


def test_training_keeps_every_output_and_masks_take_one_byte() -> None:
    summary = costs("  - PoolingMask\n  - Upsample: {mask: pool1}\n")
    assert [row.activations for row in summary.rows] == [4 * 4 * 3 * (4 + 1), 8 * 8 * 3 * 4]
    assert summary.training_bytes == 4 * 4 * 3 * 5 + 8 * 8 * 3 * 4


@pytest.mark.parametrize(
    ("layers", "peak"),
    [
        ("", INPUTS),
        # The label is alive until the end, for nobody reads it.
        ("  - ReLU\n", INPUTS + 768),
        # The image and one output, then two outputs: the image is dropped after its last reader.
        ("  - ReLU\n  - ReLU\n  - ReLU\n", 256 + 2 * 768),
        # A skip connection keeps the first output alive.
        ("  - ReLU: {name: a}\n  - ReLU\n  - ReLU\n  - Eltwise: {with: a}\n", 256 + 3 * 768),
        # A chain of small blobs after a large one.
        ("  - Convolution: {num_output: 30, kernel_size: 1}\n  - Convolution: {num_output: 1, kernel_size: 1}\n", 256 + 7680 + 768),  # noqa: E501
    ],
)  # fmt: skip
def test_peak_of_what_is_alive(layers: str, peak: int) -> None:
    net = read_net(
        Source("x.yaml", f"segspec: 1\nlayers:\n{layers}" if layers else "segspec: 1\nlayers: []\n"), Path("x")
    )
    assert summarize(build(net, "TRAIN", image_inputs(1, 8, 8, 3))).inference_bytes == peak


def test_inputs_are_the_image_and_its_label() -> None:
    assert costs("  - ReLU\n").input_bytes == INPUTS


@pytest.mark.parametrize(
    "layers", ["[ReLU]", "[Convolution: {num_output: 4, kernel_size: 3}, Pooling: {kernel_size: 2}]"]
)
def test_costs_are_those_of_one_image_whatever_the_batch(layers: str) -> None:
    net = read_net(Source("x.yaml", f"segspec: 1\nlayers: {layers}\n"), Path("x"))
    single, batch = (summarize(build(net, "TRAIN", image_inputs(count, 8, 8, 3))) for count in (1, 6))
    assert batch == single


def test_scores_stay_alive() -> None:
    net = read_net(Source("x.yaml", "segspec: 1\noutput: a\nlayers: [ReLU: {name: a}, ReLU, ReLU, ReLU]\n"), Path("x"))
    assert summarize(build(net, "TRAIN", image_inputs(1, 8, 8, 3))).inference_bytes == 256 + 3 * 768


def test_shared_parameters_are_counted_where_they_are_held() -> None:
    conv = "  - Convolution: {num_output: 3, kernel_size: 1, param: [{name: w}, {name: b}]}\n"
    summary = costs(conv * 3)
    assert [row.parameters for row in summary.rows] == [12, 0, 0]
    assert summary.parameters == 12


def test_losses_and_metrics_have_no_field() -> None:
    summary = costs("  - ReLU\n  - SoftmaxWithLoss\n  - Silence\n")
    assert [row.field is None for row in summary.rows] == [False, True, True]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1000, "1.0 k"), (53_700_000_000, "53.7 G"), (10**15, "1000.0 T")]
)
def test_counts_in_words(number: int, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 kB"), (3 * 2**20, "3.0 MB"), (5 * 2**40, "5120.0 GB")],
)
def test_sizes_in_words(number: int, text: str) -> None:
    assert size(number) == text


def test_shapes_in_words() -> None:
    assert (shape((2, 3)), shape(())) == ("2x3", "scalar")
