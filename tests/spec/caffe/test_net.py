"""A prototxt becomes the same typed net as YAML, and every mistake in it is one message at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segspec.errors import Source, SpecError, UsageError
from segspec.graph.build import build, image_inputs
from segspec.layers.base import Blob
from segspec.layers.data import DenseImageData
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.layer_spec import BlobRule
from segspec.spec.net import load_net
from segspec.spec.netspec import NetSpec, Phase

HEAD = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


def read(text: str, *overrides: str, phase: Phase = "TRAIN") -> NetSpec:
    return read_caffe_net(Source("net.prototxt", text), overrides, phase)


def layer(kind: str, more: str = "", *, name: str = "l", bottom: str = "data", top: str = "top") -> str:
    tops = f'top: "{top}"' if top else ""
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" {tops} {more} }}\n'


def typed(kind: str, more: str = "") -> Any:
    """The one layer of a net, typed."""
    return read(HEAD + layer(kind, more)).layers[0].layer


def loss(more: str) -> Any:
    """A loss on an image's own channels and a label."""
    text = HEAD + 'input: "label" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }\n'
    return read(text + layer("SoftmaxWithLoss", f'bottom: "label" {more}')).layers[0].layer


def complaint(text: str, *overrides: str, phase: Phase = "TRAIN") -> str:
    with pytest.raises(SpecError) as caught:
        read(text, *overrides, phase=phase)
    return str(caught.value)


CONV = "num_output: 4 kernel_size: 3"


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


DATA = """
layer { name: "data" type: "DenseImageData" top: "image" top: "truth" include { phase: TRAIN }
  dense_image_data_param { source: "train.txt" batch_size: 4 shuffle: true is_color: 0 }
  transform_param { mirror: true mean_value: 104 } }
layer { name: "data" type: "DenseImageData" top: "image" top: "truth" include: { phase: TEST }
  dense_image_data_param { source: "test.txt" } }
layer { name: "score" type: "Convolution" bottom: "image" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "truth" top: "loss" exclude { phase: 1 } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "truth" include { phase: TEST } }
"""


def test_images_and_labels_are_called_so_inside_and_both_phases_are_read() -> None:
    net = read(DATA)
    train, test = net.data["train"], net.data["test"]
    assert isinstance(train, DenseImageData) and isinstance(test, DenseImageData)
    assert (train.source, train.batch_size, train.color, train.mirror) == ("train.txt", 4, False, True)
    assert train.mean_value == (104.0,)
    assert test.source == "test.txt"
    assert [spec.name for spec in net.layers] == ["score", "loss"]
    assert net.layers[1].bottoms == ("score", "label")


def test_a_phase_has_its_own_layers() -> None:
    net = read(DATA, phase="TEST")
    assert [(spec.name, spec.tops) for spec in net.layers] == [("score", ("score",)), ("accuracy", ("accuracy",))]


def test_without_labels_what_needs_them_falls_away() -> None:
    graph = build(read(DATA, phase="DEPLOY"), "DEPLOY", image_inputs(1, 4, 4, 3, labels=False))
    assert [spec.name for spec in graph.layers] == ["score"]
    assert graph.prediction == "score"


@pytest.mark.parametrize(
    ("rule", "present"),
    [
        ("include { phase: TRAIN }", True),
        ("include { phase: TEST }", False),
        ("include { phase: TEST } include { phase: TRAIN }", True),
        ("exclude { phase: TRAIN }", False),
        ("exclude { phase: TEST }", True),
        ("include { stage: 'deploy' }", True),
        ("include { stage: 'fit' }", False),
        ("include { not_stage: 'deploy' }", False),
        ("include { min_level: 1 }", False),
        ("include { max_level: 0 }", True),
        ("include { phase: 0 }", True),
        ("include { phase: TRAIN stage: 'deploy' }", True),
        ("exclude { phase: TRAIN stage: 'fit' }", True),
    ],
)
def test_rules_of_phase_stage_and_level(rule: str, present: bool) -> None:
    net = read(
        HEAD + "state { stage: 'deploy' }" + layer("ReLU", name="a", top="a") + layer("ReLU", rule, name="b", top="b")
    )
    assert [spec.name for spec in net.layers] == (["a", "b"] if present else ["a"])


def test_stages_and_a_level_are_given_from_outside() -> None:
    text = HEAD + layer("ReLU", "include { stage: 'val' min_level: 2 }", name="b", top="b") + layer("ReLU", name="a")
    names = {}
    for stages, level in ((("val",), 2), (("val",), None), ((), 2)):
        net = read_caffe_net(Source("net.prototxt", text), stages=stages, level=level)
        names[stages, level] = [spec.name for spec in net.layers]
    assert names == {(("val",), 2): ["b", "a"], (("val",), None): ["a"], ((), 2): ["a"]}


def test_what_waits_for_a_stage_says_which() -> None:
    text = HEAD + layer("ReLU", "include { stage: 'val' }", name="b", top="b") + layer("ReLU", name="a", bottom="b")
    assert "--stage val brings it" in complaint(text)


def test_a_phase_that_is_none_is_a_mistake() -> None:
    assert "net.prototxt:2:75: a 'phase' is TRAIN or TEST" in complaint(
        HEAD + layer("ReLU", "include { phase: TRIAN }")
    )


def test_a_net_that_is_fed_takes_its_inputs_from_the_data_layers_of_any_phase() -> None:
    source = 'layer { name: "d" type: "WindowData" top: "image" top: "l" include { phase: TRAIN stage: "x" } }\n'
    net = read(source + layer("ReLU", bottom="image"), phase="DEPLOY")
    assert net.layers[0].bottoms == ("data",)
    assert "which no layer before it makes" in complaint(source + layer("ReLU", bottom="image"), phase="TEST")


@pytest.mark.parametrize(
    "head",
    [
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 6',
        'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 6 }',
        'input: "x" input_shape { dim: [1, 3, 8, 6] }',
        'layer { name: "in" type: "Input" top: "x" input_param { shape: { dim: 1 dim: 3 dim: 8 dim: 6 } } }',
        'input: "x" layer { type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 6 } } }',
    ],
)
def test_a_declared_image_is_the_nets_input(head: str) -> None:
    bottom = "data" if '"data"' in head else "x"
    net = read(f"{head}\n{layer('ReLU', bottom=bottom)}")
    assert net.declared == {"data": (1, 3, 8, 6)}
    assert net.input is not None
    assert (net.input.height, net.input.width, net.input.channels) == (8, 6, 3)
    assert net.layers[0].bottoms == ("data",)


def test_further_inputs_keep_their_names() -> None:
    net = read(
        'input: "a" input_shape { dim: 2 dim: 3 } input: "b" input_shape { dim: 2 dim: 3 }'
        + layer("Eltwise", 'bottom: "b"', bottom="a")
    )
    assert net.declared == {"a": (2, 3), "b": (2, 3)}
    graph = build(net, "TEST", {"a": Blob((2, 3)), "b": Blob((2, 3))})
    assert graph.layers[0].outputs[0].shape == (2, 3)


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


def test_a_field_without_meaning_is_one_warning_at_its_place() -> None:
    net = read(HEAD + layer("ReLU", "\nrelu_param { slope: 1 engine: CUDNN }\npad: 3 weird_param { a: 1 }"))
    assert [warning.render().splitlines()[0] for warning in net.warnings] == [
        "net.prototxt:3:14: warning: layer 'l' (ReLU) has no parameter 'slope'; it is left out",
        "net.prototxt:4:1: warning: layer 'l' (ReLU) has no parameter 'pad'; it is left out",
        "net.prototxt:4:22: warning: layer 'l' (ReLU) has no parameter 'a'; it is left out",
    ]
    assert [(unread.layer, unread.field) for unread in net.unread] == [
        ("l", "relu_param.engine"),
        ("l", "relu_param.slope"),
        ("l", "pad"),
        ("l", "weird_param.a"),
    ]


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ("loss_param { normalize: false }", "loss_param.normalization"),
        ("relu_param { engine: CUDNN }", "relu_param.engine"),
        ("forward_type: FLOAT16", "forward_type"),
    ],
)
def test_what_means_nothing_in_caffe_either_is_kept_without_a_word(more: str, kept: str) -> None:
    net = read(HEAD + layer("ReLU", more))
    assert net.warnings == ()
    assert [unread.field for unread in net.unread] == [kept]


def test_fields_of_a_net() -> None:
    net = read("force_backward: true global_grad_scale: 2. foo: 1\n" + HEAD + layer("ReLU"))
    assert [warning.message for warning in net.warnings] == ["a net has no field 'foo' here"]
    assert [unread.field for unread in net.unread] == ["force_backward", "global_grad_scale", "foo"]


def test_a_crop_of_nothing_is_none() -> None:
    text = 'layer { name: "d" type: "DenseImageData" top: "data" dense_image_data_param { source: "s" } transform_param'
    net = read(text + " { crop_size: 0 } }" + layer("ReLU"))
    assert net.data["train"].size is None


def test_a_field_of_many_layers_is_warned_of_once_and_kept_of_each() -> None:
    net = read(HEAD + "".join(layer("ReLU", "relu_param { slope: 1 }", name=f"r{i}", top=f"t{i}") for i in range(5)))
    assert [warning.message for warning in net.warnings] == [
        "layer 'r0' (ReLU) has no parameter 'slope'; it is left out, as in 4 more"
    ]
    assert [unread.layer for unread in net.unread] == [f"r{i}" for i in range(5)]


def test_a_source_that_cannot_be_read_still_feeds_the_net() -> None:
    text = 'layer { name: "d" type: "WindowData" top: "image" top: "l" }' + layer("ReLU", bottom="image")
    net = read(text)
    assert net.layers[0].bottoms == ("data",)
    assert "images are not read by 'WindowData'" in net.warnings[0].render()


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + layer("Convolutoin"), "net.prototxt:2:25: unknown layer type 'Convolutoin' of layer 'l'"),
        (
            HEAD + layer("ReLU", bottom="dta"),
            "net.prototxt:2:40: layer 'l' (ReLU) reads 'dta', which no layer before it makes",
        ),
        (HEAD + layer("ReLU", 'bottom: "data"'), "net.prototxt:2:15: layer 'l' (ReLU) takes 1 bottom, got 2"),
        (HEAD + layer("Silence"), "net.prototxt:2:15: layer 'l' (Silence) takes 0 tops, got 1"),
        (
            HEAD + layer("Convolution", "convolution_param { kernel_size: 3 }"),
            "layer 'l' (Convolution) needs 'num_output'",
        ),
        (
            HEAD + layer("Pooling", "pooling_param { pool: 7 kernel_size: 2 }"),
            "'pool' of layer 'l' (Pooling) must be one of 'MAX', 'AVE'",
        ),
        (
            HEAD + layer("ReLU", "relu_param { negative_slope: 'x' }"),
            "'negative_slope' of layer 'l' (ReLU) must be a number, got 'x'",
        ),
        (
            HEAD + layer("Convolution", "convolution_param { num_output: 4 kernel_h: 3 }"),
            "has 'kernel_h' without 'kernel_w'",
        ),
        (
            HEAD + layer("Convolution", f"convolution_param {{ {CONV} kernel_h: 3 kernel_w: 3 }}"),
            "has 'kernel_size' and 'kernel_h'",
        ),
        (
            HEAD + layer("ReLU", top="a") + layer("ReLU", name="m", top="a"),
            "the blob 'a' is made twice (first at net.prototxt:2)",
        ),
        (
            HEAD + layer("Pooling", 'top: "top" pooling_param { kernel_size: 2 }'),
            "the layer makes the blob 'top' twice",
        ),
        (HEAD + layer("BN", 'top: "data" top: "data"', top=""), "the layer makes the blob 'data' twice"),
        (HEAD + 'layer { name: "l" bottom: "data" }', "a layer needs a 'type'"),
        ("base_lr: 0.1 net: 'x'", "this is a solver, not a net"),
        ("", "the net has no 'layer'"),
        (HEAD.replace("dim: 8 }", "dim: 0 }") + layer("ReLU"), "of input 'data' must be at least 1, got 0"),
        (
            'input: "a" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 input: "b"' + layer("ReLU", bottom="a"),
            "declares 2 'input' and 1 shapes",
        ),
        (HEAD + layer("Dropout", "dropout_param { dropout_ratio: ${R} }"), "nothing fills '${R}'"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    assert message in complaint(text)


def test_all_mistakes_are_found_in_one_run() -> None:
    text = complaint(
        HEAD + layer("Foo", top="a") + layer("ReLU", bottom="zz", top="b") + layer("Bar", name="q", top="c")
    )
    assert text.count("net.prototxt:") == 3


def test_a_blob_of_the_other_phase_is_named_so() -> None:
    text = HEAD + layer("ReLU", "include { phase: TEST }", top="a") + layer("ReLU", name="m", bottom="a", top="b")
    assert "only a layer of the other phase makes it" in complaint(text)
    assert len(read(text, phase="TEST").layers) == 2


TEMPLATE = HEAD + layer("Convolution", "convolution_param { num_output: ${N} kernel_size: 1 }", name="fc_${EXP}")


def test_template_words_are_filled_by_overrides() -> None:
    net = read(TEMPLATE, "N=21", "EXP=voc")
    score: Any = net.layers[0].layer
    assert (net.layers[0].name, score.num_output) == ("fc_voc", 21)


def test_template_words_that_stay_in_names_are_told_once() -> None:
    (warning,) = read(TEMPLATE.replace("{EXP}", "{EXP}_${ID}${EXP}"), "N=21").warnings
    assert warning.message == "nothing fills '${EXP}', '${ID}'; they stay in names and paths"
    assert warning.hint == "--set EXP=... --set ID=..."
    assert read(TEMPLATE, "N=21", "EXP=voc").warnings == ()


def test_a_field_of_a_layer_can_be_overridden() -> None:
    conv = layer("Convolution", f"convolution_param {{ {CONV} }}")
    found: Any = (
        read(HEAD + conv, "l.convolution_param.num_output=7", "l.convolution_param.bias_term=false").layers[0].layer
    )
    assert (found.num_output, found.bias_term) == (7, False)


def test_an_override_that_meets_nothing_is_a_mistake() -> None:
    text = complaint(HEAD + layer("ReLU", name="relu1"), "relu2.relu_param.negative_slope=1")
    assert "no layer is called 'relu2'" in text
    assert "did you mean 'relu1'?" in text
    with pytest.raises(UsageError):
        read(HEAD + layer("ReLU"), "relu1")


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
