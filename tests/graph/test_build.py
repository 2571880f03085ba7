"""Shapes, phases, sharing and limits: what a graph is, and what is refused before any array is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.layers.base import Blob
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.net import read_net
from segspec.spec.netspec import NetSpec, Phase

SCORE = "  - Convolution: {name: score, num_output: 3, kernel_size: 1}\n"


def spec(layers: str, top: str = "") -> NetSpec:
    return read_net(Source("x.yaml", f"segspec: 1\n{top}layers:\n{layers}"), Path("nowhere"))


def graph(layers: str, top: str = "", phase: Phase = "TRAIN", size: tuple[int, int] = (8, 10)) -> Graph:
    return build(spec(layers, top), phase, image_inputs(2, *size, 3, labels=phase != "DEPLOY"))


def complaints(layers: str, top: str = "") -> list[str]:
    with pytest.raises(SpecError) as caught:
        graph(layers, top)
    return [found.message for found in caught.value.diagnostics]


def test_every_blob_has_a_shape_and_every_layer_its_inputs() -> None:
    net = graph("  - Convolution: {num_output: 4, kernel_size: 3}\n  - PoolingMask\n  - Upsample: {mask: pool1}\n")
    assert {name: blob.shape for name, blob in net.blobs.items()} == {
        "data": (2, 8, 10, 3),
        "label": (2, 8, 10, 1),
        "conv1": (2, 6, 8, 4),
        "pool1": (2, 3, 4, 4),
        "pool1/mask": (2, 3, 4, 4),
        "upsample1": (2, 6, 8, 4),
    }
    upsample = net.layer("upsample1")
    assert [blob.shape for blob in upsample.inputs] == [(2, 3, 4, 4), (2, 3, 4, 4)]
    with pytest.raises(KeyError):
        net.layer("none")


def test_without_labels_everything_made_from_them_falls_away() -> None:
    layers = (
        SCORE
        + "  - SoftmaxWithLoss: {top: [l, p]}\n  - Accuracy\n  - ReLU: {bottom: label}\n  - TanH\n  - TanH: {bottom: score}\n"  # noqa: E501
    )
    assert [layer.name for layer in graph(layers, phase="DEPLOY").layers] == ["score", "tanh2"]
    assert len(graph(layers, phase="TEST").layers) == 6


@pytest.mark.parametrize(
    ("layers", "top", "phase", "scores"),
    [
        (SCORE, "", "TRAIN", "score"),
        (SCORE + "  - ReLU\n", "", "TRAIN", "relu1"),
        (SCORE + "  - SoftmaxWithLoss\n  - ReLU\n", "", "TRAIN", "score"),
        (SCORE + "  - SoftmaxWithLoss\n  - ReLU\n", "", "DEPLOY", "score"),
        (SCORE + "  - SoftmaxWithLoss\n  - ReLU\n", "output: relu1\n", "DEPLOY", "relu1"),
        (SCORE + "  - SoftmaxWithLoss: {loss_weight: 0.4}\n  - ReLU\n  - SoftmaxWithLoss\n", "", "TRAIN", "relu1"),
        (SCORE + "  - SoftmaxWithLoss\n  - ReLU\n  - SoftmaxWithLoss\n", "", "TRAIN", "score"),
        (SCORE + "  - SoftmaxWithLoss\n  - ReLU\n  - SoftmaxWithLoss: {loss_weight: 2}\n", "", "TEST", "relu1"),
        ("  - ReLU: {bottom: label}\n  - TanH: {name: t, bottom: data}\n", "output: relu1\n", "DEPLOY", "t"),
        (SCORE + "  - ArgMax: {axis: 1}\n", "", "DEPLOY", "score"),
        (SCORE + "  - ArgMax: {axis: 1}\n  - ReLU\n", "", "DEPLOY", "relu1"),
        ("  - Silence\n", "", "TRAIN", None),
    ],
)
def test_scores(layers: str, top: str, phase: Phase, scores: str | None) -> None:
    assert graph(layers, top, phase).prediction == scores


@pytest.mark.parametrize(
    ("layer", "weights"),
    [
        ("SoftmaxWithLoss", (1.0,)),
        ("SoftmaxWithLoss: {loss_weight: 0.5}", (0.5,)),
        ("SoftmaxWithLoss: {top: [l, p]}", (1.0, 0.0)),
        ("SoftmaxWithLoss: {top: [l, p], loss_weight: [2, 3]}", (2.0, 3.0)),
        ("Accuracy", (0.0,)),
        ("ReLU: {loss_weight: 0.1}", (0.1,)),
        ("Silence", ()),
    ],
)
def test_loss_weights_have_their_defaults(layer: str, weights: tuple[float, ...]) -> None:
    assert graph(f"{SCORE}  - {layer}\n").layers[-1].loss_weights == weights


SHARED = """  - Convolution: {name: a, num_output: 3, kernel_size: 3, pad: same, param: [{name: w%s}, {name: b}]}
  - ReLU
  - Convolution: {name: z, num_output: 3, kernel_size: 3, pad: same, param: [{name: w%s}, {lr_mult: 2}]}
"""


def test_a_shared_blob_is_held_by_the_first_and_counted_once() -> None:
    net = graph(SHARED % ("", ""))
    assert net.layer("a").owners == {}
    assert net.layer("z").owners == {"weight": ("a", "weight")}
    assert (net.layer("a").parameters, net.layer("z").parameters, net.parameters) == (84, 3, 87)
    assert [(layer.name, blob) for layer, blob, _ in net.owned_params()] == [
        ("a", "weight"),
        ("a", "bias"),
        ("z", "bias"),
    ]


def test_blobs_of_one_layer_may_be_shared_with_each_other() -> None:
    net = graph("  - BatchNorm: {param: [{name: x}, {name: x}]}\n")
    first, second = net.layers[0].params
    assert net.layers[0].owners == {second: (net.layers[0].name, first)}
    assert net.parameters == 3


def test_a_shared_blob_is_trained_as_its_owner_says() -> None:
    net = graph(SHARED % (", lr_mult: 0, decay_mult: 3", ""))
    assert net.layer("z").multipliers == {"weight": (0.0, 3.0), "bias": (2.0, 1.0)}
    assert graph(SHARED % (", lr_mult: 2", ", lr_mult: 2")).layer("z").multipliers["weight"] == (2.0, 1.0)


def test_sharers_that_disagree_are_told() -> None:
    assert complaints(SHARED % (", lr_mult: 2", ", lr_mult: 1")) == [
        "layer 'z' (Convolution): the shared blob 'w' has lr_mult 2 in 'a' (x.yaml:3) and 1 here"
    ]
    (message,) = complaints((SHARED % ("", "")).replace("name: z, num_output: 3", "name: z, num_output: 4"))
    assert message == (
        "layer 'z' (Convolution): the shared blob 'w' is 3x3x3x3 in 'a' (x.yaml:3) and would be 3x3x3x4 here"
    )


TOWERS = """  - tower: {name: a, share: t}
  - tower: {name: b, share: t}
blocks:
  tower:
    layers:
      - Convolution: {num_output: 3, kernel_size: 1, param: [{lr_mult: 2}]}
      - BatchNorm
      - ReLU
"""


def test_blocks_that_share_are_held_by_the_first_layer_by_layer() -> None:
    net = graph(TOWERS)
    assert net.layer("a/conv1").owners == net.layer("a/bn1").owners == {}
    for layer in ("conv1", "bn1"):
        blobs = net.layer(f"a/{layer}").params
        assert net.layer(f"b/{layer}").owners == {blob: (f"a/{layer}", blob) for blob in blobs}
    assert net.layer("b/conv1").multipliers == {"weight": (2.0, 1.0), "bias": (1.0, 1.0)}
    assert net.layer("b/bn1").state  # running averages are its own
    assert net.parameters == 12 + 6


def test_blocks_that_share_must_fit() -> None:
    (message,) = complaints(TOWERS.replace("  - tower: {name: b", "  - Concat: {with: data}\n  - tower: {name: b"))
    blob, there = "the shared blob 't/conv1/weight'", "is 1x1x3x3 in 'a/conv1' (x.yaml:9)"
    assert message == f"layer 'b/conv1' (Convolution): {blob} {there} and would be 1x1x6x3 here"


def test_a_name_of_its_own_goes_before_that_of_the_layer() -> None:
    net = graph(
        "  - Convolution: {name: a, num_output: 3, kernel_size: 1, share: x, param: [{name: w}]}\n"
        "  - Convolution: {name: b, num_output: 3, kernel_size: 1, param: [{}, {name: x/bias}]}\n"
        "  - Convolution: {name: c, num_output: 3, kernel_size: 1, share: x}\n"
    )
    assert net.layer("b").owners == {"bias": ("a", "bias")}
    assert net.layer("c").owners == {"bias": ("a", "bias")}


def test_multipliers_of_a_list_and_of_one_rule() -> None:
    net = graph(
        "  - Convolution: {name: a, num_output: 1, kernel_size: 1, param: {lr_mult: 0}}\n"
        "  - Convolution: {name: b, num_output: 1, kernel_size: 1, param: [{lr_mult: 3, decay_mult: 0}]}\n"
    )
    assert net.layer("a").multipliers == {"weight": (0, 1), "bias": (0, 1)}
    assert net.layer("b").multipliers == {"weight": (3, 0), "bias": (1, 1)}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("  - ReLU: {param: [{}]}\n", "layer 'relu1' (ReLU): 1 'param' entries for none"),
        (
            "  - Convolution: {num_output: 1, kernel_size: 1, param: [{}, {}, {}]}\n",
            "layer 'conv1' (Convolution): 3 'param' entries for 2 learned blobs (weight, bias)",
        ),
        ("  - SoftmaxWithLoss: {loss_weight: [1, 2]}\n", "layer 'loss1' (SoftmaxWithLoss): 2 loss weights for 1 tops"),
        (
            "  - Convolution: {num_output: 999999999999999999, kernel_size: 1}\n",
            "layer 'conv1' (Convolution): an output of more than 2^36 numbers",
        ),
        (
            "  - InnerProduct: {num_output: 30000000000}\n",
            "layer 'fc1' (InnerProduct): parameters of more than 2^36 numbers",
        ),
        ("  - Tile: {tiles: 999999999999999999}\n", "layer 'tile1' (Tile): an output of more than 2^36 numbers"),
    ],
)
def test_mistakes(layers: str, message: str) -> None:
    assert complaints(layers) == [message]


def test_shapes_that_do_not_fit_show_both_ends_and_nothing_that_follows_from_them() -> None:
    text = "  - ReLU: {name: a}\n  - Pooling: {name: p, kernel_size: 2, stride: 2}\n  - Eltwise: {with: a}\n  - ReLU\n  - TanH: {bottom: relu1}\n"  # noqa: E501
    (message,) = complaints(text)
    assert message.splitlines() == [
        "layer 'eltwise1' (Eltwise): needs equal shapes, got 2x4x5x3 and 2x8x10x3",
        "     2x4x5x3   from 'p'  (x.yaml:4)",
        "     2x8x10x3  from 'a'  (x.yaml:3)",
    ]


def test_every_layer_that_does_not_fit_is_told() -> None:
    layers = "".join(f"  - Convolution: {{num_output: 1, kernel_size: 5{i}, bottom: data}}\n" for i in range(3))
    assert len(complaints(layers)) == 3


def test_a_batch_beyond_all_memory_is_refused() -> None:
    with pytest.raises(SpecError, match=r"x.yaml: a batch of 'data' is 9+x8x8x3, more than 2\^36 numbers"):
        build(spec("  - ReLU\n"), "TRAIN", image_inputs(10**18 - 1, 8, 8, 3))


PROTOTXT = """
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
input: "info" input_shape { dim: 1 dim: 3 }
layer { name: "ip" type: "InnerProduct" bottom: "info" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }
"""


def test_what_nothing_feeds_is_told_and_not_passed_over() -> None:
    net = read_caffe_net(Source("n.prototxt", PROTOTXT), phase="TEST")
    with pytest.raises(SpecError) as caught:
        build(net, "DEPLOY", image_inputs(1, 8, 8, 3, labels=False))
    (found,) = caught.value.diagnostics
    assert found.message == "layer 'ip' (InnerProduct) reads 'info', which nothing feeds"
    assert found.hint == "fed are: data"
    fed = build(net, "DEPLOY", {**image_inputs(1, 8, 8, 3, labels=False), "info": Blob((1, 3))})
    assert fed.layer("ip").outputs[0].shape == (1, 2)
