"""A prototxt becomes the same typed net as YAML, and every mistake in it is one message at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prototxts import CONV, HEAD, layer, read, typed

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.layer_spec import BlobRule
from segspec.spec.net import load_net


def loss(more: str) -> Any:
    """A loss on an image's own channels and a label."""
    text = HEAD + 'input: "label" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }\n'
    return read(text + layer("SoftmaxWithLoss", f'bottom: "label" {more}')).layers[0].layer


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [
        (CONV, "kernel_size", (3, 3)),
        ("num_output: 4 kernel_h: 3 kernel_w: 5", "kernel_size", (3, 5)),
        ("num_output: 4 kernel_size: 3 kernel_size: 5", "kernel_size", (3, 5)),
        ("num_output: 4 kernel_size: [3, 5]", "kernel_size", (3, 5)),
        (f"{CONV} stride_h: 2 stride_w: 1", "stride", (2, 1)),
        (f"{CONV} pad_h: 2", "pad", (2, 0)),
        (f"{CONV} pad_w: 2", "pad", (0, 2)),
        (f"{CONV} dilation: 2", "dilation", (2, 2)),
        (f"{CONV} bias_term: False", "bias_term", False),
        (f"{CONV} bias_term: 0", "bias_term", False),
        (f"{CONV} bias_term: t", "bias_term", True),
        (f"{CONV} num_output: 8", "num_output", 8),
        (f"{CONV} engine: CAFFE", "group", 1),
    ],
)
def test_spellings_of_a_convolution(written: str, field: str, value: object) -> None:
    assert getattr(typed("Convolution", f"convolution_param {{ {written} }}"), field) == value


@pytest.mark.parametrize(
    ("kind", "more", "field", "value"),
    [
        ("Pooling", "pooling_param { pool: 1 kernel_size: 2 }", "pool", "AVE"),
        ("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", "pool", "AVE"),
        ("Pooling", "pooling_param { kernel_size: 2 round_mode: 1 }", "round_mode", "FLOOR"),
        ("Pooling", "pooling_param { kernel_size: 2 ceil_mode: false }", "round_mode", "FLOOR"),
        ("Eltwise", 'bottom: "data" eltwise_param { operation: 0 }', "operation", "PROD"),
        ("Eltwise", 'bottom: "data" eltwise_param { coeff: 1 coeff: -0.5 }', "coeff", (1.0, -0.5)),
        ("Reduction", "reduction_param { operation: 4 }", "operation", "MEAN"),
        ("Concat", 'bottom: "data" concat_param { concat_dim: 0 }', "axis", 0),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", "shape", (0, -1)),
        ("ReLU", "relu_param { negative_slope: 1 }", "negative_slope", 1.0),
        (
            "Dropout",
            "dropout_param { dropout_ratio: .3 } dropout_param { sample_weights_test: true }",
            "dropout_ratio",
            0.3,
        ),
        ("BatchNorm", "", "scale_bias", False),
        ("BN", "bn_param { bn_mode: 1 }", "bn_mode", "INFERENCE"),
    ],
)
def test_values_take_the_type_of_their_field(kind: str, more: str, field: str, value: object) -> None:
    assert getattr(typed(kind, more), field) == value


def test_a_filler_with_a_value_and_no_type_is_constant() -> None:
    filler = typed("Convolution", f"convolution_param {{ {CONV} bias_filler {{ value: 0.2 }} }}").bias_filler
    assert (filler.type, filler.value) == ("constant", 0.2)


def test_without_a_filler_caffe_starts_from_zero() -> None:
    assert typed("Convolution", f"convolution_param {{ {CONV} }}").weight_filler.type == "constant"


@pytest.mark.parametrize(
    ("more", "field", "value"),
    [
        (
            "loss_param { class_weighting: 1 class_weighting: 2 class_weighting: 3 weight_by_label_freqs: true }",
            "class_weights",
            (1, 2, 3),
        ),
        ("loss_param { class_weighting: 1 class_weighting: 2 class_weighting: 3 }", "class_weights", None),
        ("loss_param { normalize: false }", "normalization", "BATCH_SIZE"),
        ("loss_param { normalize: false normalization: FULL }", "normalization", "FULL"),
        ("loss_param { normalization: 0 }", "normalization", "FULL"),
        ("loss_param { ignore_label: 255 }", "ignore_label", 255),
        ("softmax_param { axis: 1 }", "axis", 1),
    ],
)
def test_spellings_of_a_loss(more: str, field: str, value: object) -> None:
    assert getattr(loss(more), field) == value


def test_a_layer_in_place_makes_a_new_version_of_its_blob() -> None:
    text = HEAD + layer("Power", top="a", name="p") + layer("ReLU", bottom="a", top="a", name="r")
    net = read(text + layer("Dropout", bottom="a", top="a", name="d") + layer("Power", bottom="a", top="b", name="q"))
    assert [(spec.bottoms, spec.tops) for spec in net.layers] == [
        (("data",), ("a",)),
        (("a",), ("a@r",)),
        (("a@r",), ("a@d",)),
        (("a@d",), ("b",)),
    ]


def test_an_eltwise_may_work_in_place() -> None:
    text = HEAD + layer("Power", top="a", name="p") + layer("Power", top="b", name="q")
    net = read(
        text + layer("Eltwise", 'bottom: "b"', bottom="a", top="a", name="sum") + layer("ReLU", bottom="b", name="r")
    )
    assert net.layers[2].tops == ("a@sum",)
    assert net.layers[3].bottoms == ("b",)


def test_param_entries_are_rules_of_blobs() -> None:
    more = "param { lr_mult: 1 decay_mult: 1 name: 'w' } param { lr_mult: 2 decay_mult: 0 }"
    net = read(HEAD + layer("Convolution", f"{more} convolution_param {{ {CONV} }}"))
    assert net.layers[0].rules == (BlobRule(name="w"), BlobRule(lr_mult=2.0, decay_mult=0.0))


def test_batch_norms_three_averages_have_no_rules() -> None:
    text = HEAD + layer("BatchNorm", "param { lr_mult: 0 } " * 3)
    assert read(text).layers[0].rules == ()
    build(read(text), "TRAIN", image_inputs(2, 8, 8, 3))


def test_loss_weights_are_one_a_top() -> None:
    text = HEAD + 'input: "label" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }'
    net = read(text + layer("SoftmaxWithLoss", 'bottom: "label" top: "p" loss_weight: 0.5 loss_weight: 0', top="loss"))
    assert net.layers[0].loss_weights == (0.5, 0.0)


@pytest.mark.parametrize(("flags", "passes"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_a_gradient_is_stopped_as_caffe_stops_it(flags: str, passes: bool) -> None:
    net = read(HEAD + layer("ReLU", f"propagate_down: {flags}"))
    assert net.layers[0].propagate_down == (passes,)
    assert not net.warnings
    assert loss("propagate_down: true propagate_down: false") == loss("")


@pytest.mark.parametrize(
    ("net", "dialect"),
    [
        (layer("Pooling", 'top: "mask" pooling_param { kernel_size: 2 }', top="p"), "segnet"),
        (layer("BN", name="bn", top="p"), "segnet"),
        (layer("Pooling", "pooling_param { kernel_size: 2 }", top="p"), "bvlc"),
        (layer("BN", "bn_param { frozen: true }", name="bn", top="p"), "bvlc"),
    ],
)
def test_the_dialect_is_told_from_the_layers(net: str, dialect: str) -> None:
    found: Any = read(HEAD + net + layer("Exp")).layers[-1].layer
    assert found.dialect == dialect


def test_the_dialect_can_be_said() -> None:
    found: Any = read_caffe_net(Source("net.prototxt", HEAD + layer("Exp")), dialect="segnet").layers[0].layer
    assert found.dialect == "segnet"


def test_pspnets_bn_is_a_batch_norm_with_scale_and_shift() -> None:
    params = "param { lr_mult: 1 } param { lr_mult: 2 } param { lr_mult: 0 } param { lr_mult: 0 }"
    net = read(HEAD + layer("BN", f"{params} bn_param {{ slope_filler {{ value: 1 }} frozen: true momentum: 0.95 }}"))
    norm: Any = net.layers[0].layer
    assert (norm.type, norm.scale_bias, norm.use_global_stats) == ("BatchNorm", True, True)
    assert norm.moving_average_fraction == 0.95
    assert [rule.lr_mult for rule in net.layers[0].rules] == [1, 2]
    assert net.warnings == ()


def test_fields_of_a_net() -> None:
    net = read("force_backward: true global_grad_scale: 2. foo: 1\n" + HEAD + layer("ReLU"))
    assert [warning.message for warning in net.warnings] == ["a net has no field 'foo' here"]
    assert [unread.field for unread in net.unread] == ["force_backward", "global_grad_scale", "foo"]


def test_layers_of_one_name_are_told_apart() -> None:
    net = read(HEAD + layer("PReLU", top="a") + layer("PReLU", top="b"))
    assert [spec.name for spec in net.layers] == ["l", "l#2"]
    assert "a second layer is called 'l'" in net.warnings[0].message
    silent = read(HEAD + layer("ReLU", top="a") + layer("ReLU", top="b"))
    assert [spec.name for spec in silent.layers] == ["l", "l#2"]
    assert silent.warnings == ()


def test_a_layer_without_a_name_gets_one() -> None:
    net = read(HEAD + 'layer { type: "ReLU" bottom: "data" top: "x" }')
    assert net.layers[0].name == "relu1"


def test_a_prototxt_is_read_by_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(HEAD + layer("ReLU"))
    assert load_net(path).name == "net"
    path.write_text("name: 'squares'\n" + HEAD + layer("ReLU"))
    assert load_net(path, phase="DEPLOY").name == "squares"


@pytest.mark.parametrize(
    ("name", "size"),
    [("small_segnet", (40, 48)), ("small_segnet_72x96", (72, 96)), ("small_bayesian_segnet", (40, 48))],
)
def test_real_nets_are_read_and_built(name: str, size: tuple[int, int], shared: Path) -> None:
    net = load_net(shared / "golden" / "nets" / f"{name}.prototxt")
    graph = build(net, "TRAIN", image_inputs(2, *size, 3))
    assert net.warnings == ()
    assert graph.prediction == "conv1_1_D"
    assert graph.blobs["conv1_1_D"].shape == (2, *size, 11)
