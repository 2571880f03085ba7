"""What a prototxt is warned of or refused for, and what overrides do to it."""

from __future__ import annotations

from typing import Any

import pytest
from prototxts import CONV, HEAD, complaint, layer, read

from segspec.errors import UsageError


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


def test_a_field_of_many_layers_is_warned_of_once_and_kept_of_each() -> None:
    net = read(HEAD + "".join(layer("ReLU", "relu_param { slope: 1 }", name=f"r{i}", top=f"t{i}") for i in range(5)))
    assert [warning.message for warning in net.warnings] == [
        "layer 'r0' (ReLU) has no parameter 'slope'; it is left out, as in 4 more"
    ]
    assert [unread.layer for unread in net.unread] == [f"r{i}" for i in range(5)]


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
