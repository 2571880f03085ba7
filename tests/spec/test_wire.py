"""What layers are called, what they read and write, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.spec.layer_spec import LayerSpec
from segspec.spec.net import read_net
from segspec.spec.netspec import NetSpec
from segspec.spec.wire import counted

CONV = "Convolution: {num_output: 4, kernel_size: 1}"
HERE = Path("nowhere")


def read(layers: str, top: str = "", beside: Path = HERE) -> NetSpec:
    return read_net(Source("x.yaml", f"segspec: 1\n{top}layers:\n{layers}"), beside)


def wired(layers: str, top: str = "") -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(layer.name, layer.bottoms, layer.tops) for layer in read(layers, top).layers]


def names(layers: str, top: str = "") -> list[str]:
    return [layer.name for layer in read(layers, top).layers]


def last(layers: str, top: str = "") -> LayerSpec:
    return read(layers, top).layers[-1]


def complaints(layers: str, top: str = "") -> list[tuple[str, str]]:
    with pytest.raises(SpecError) as caught:
        read(layers, top)
    assert all(found.span is not None for found in caught.value.diagnostics)
    return [(found.message, found.hint) for found in caught.value.diagnostics]


def test_list_order_is_the_default_edge() -> None:
    assert wired(f"  - {CONV}\n  - ReLU\n") == [("conv1", ("data",), ("conv1",)), ("relu1", ("conv1",), ("relu1",))]


def test_losses_and_metrics_leave_the_feature_as_it_is() -> None:
    found = wired(f"  - {CONV}\n  - SoftmaxWithLoss\n  - Accuracy\n  - Silence\n  - ReLU\n", "classes: 4\n")
    assert [bottoms for _, bottoms, _ in found[1:]] == [("conv1", "label"), ("conv1", "label"), ("conv1",), ("conv1",)]


def test_a_loss_with_one_bottom_gets_the_label_and_with_two_none() -> None:
    text = (
        f"  - {CONV}\n  - ReLU\n  - SoftmaxWithLoss: {{bottom: conv1}}\n  - EuclideanLoss: {{bottom: [conv1, relu1]}}\n"
    )
    assert [bottoms for _, bottoms, _ in wired(text)[2:]] == [("conv1", "label"), ("conv1", "relu1")]


def test_a_layer_without_inputs_reads_no_feature() -> None:
    layers = wired(f"  - {CONV}\n  - Parameter: {{shape: [1, 4]}}\n  - Silence: {{bottom: [conv1, parameter1]}}")
    assert layers[1] == ("parameter1", (), ("parameter1",))


@pytest.mark.parametrize("null", ["bottom: null", "name: ~", "top:", "bottom: ~, name: ~"])
def test_null_is_the_same_as_nothing(null: str) -> None:
    assert wired(f"  - {CONV}\n  - ReLU: {{{null}}}\n")[1] == ("relu1", ("conv1",), ("relu1",))


def test_numbers_count_within_a_scope_and_step_over_names_that_are_taken() -> None:
    blocks = "blocks: {b: {layers: [ReLU, TanH, ReLU]}}\n"
    text = "  - ReLU: {name: relu1}\n  - ReLU\n  - b\n  - b: {name: x}\n  - ReLU: {name: relu4}\n  - ReLU\n  - ReLU\n"
    assert names(text, blocks) == [
        *("relu1", "relu2", "b1/relu1", "b1/tanh1", "b1/relu2", "x/relu1", "x/tanh1", "x/relu2"),
        *("relu4", "relu3", "relu5"),
    ]


def test_a_block_inside_a_block_adds_a_scope_only_when_it_is_named() -> None:
    blocks = "blocks:\n  a: {layers: [ReLU]}\n  b: {layers: [a, a: {name: in}, ReLU]}\n"
    assert names("  - b\n", blocks) == ["b1/relu1", "b1/in/relu1", "b1/relu2"]


def test_a_name_is_looked_for_outwards_and_the_nearest_wins() -> None:
    blocks = f"blocks: {{b: {{layers: [{CONV[:-1]}, name: a}}, Concat: {{with: a}}, Concat: {{with: z}}]}}}}\n"
    found = wired(
        f"  - {CONV[:-1]}, name: a}}\n  - ReLU: {{name: z}}\n  - b: {{name: s}}\n  - ReLU: {{bottom: s/a}}\n", blocks
    )
    assert [bottoms for _, bottoms, _ in found[3:]] == [("s/a", "s/a"), ("s/concat1", "z"), ("s/a",)]


def test_a_reference_keeps_the_scope_it_was_written_in() -> None:
    blocks = """blocks:
  join:
    args: {src: ref}
    layers:
      - ReLU: {name: a}
      - Concat: {with: $src}
  pick:
    args: {block: ref}
    layers:
      - PoolingMask: {name: pool}
      - ReLU: {name: e1}
      - Concat: {with: $block/a}
"""
    text = (
        "  - ReLU: {name: a}\n  - join: {name: j, src: a}\n"
        "  - join: {name: e1, src: j/a}\n  - pick: {name: p, block: e1}\n"
    )
    found = wired(text, blocks)
    assert found[2] == ("j/concat1", ("j/a", "a"), ("j/concat1",))
    assert found[4][1] == ("e1/a", "j/a")
    assert found[7][1] == ("p/e1", "e1/a")


def test_a_reference_is_passed_on_through_two_blocks() -> None:
    blocks = """blocks:
  inner:
    args: {src: ref}
    layers: [ReLU: {name: a}, Concat: {with: $src}]
  outer:
    args: {src: ref}
    layers:
      - ReLU: {name: a}
      - inner: {name: i, src: $src}
      - inner: {name: k, src: a}
"""
    text = "  - ReLU: {name: a}\n  - outer: {name: o, src: a}\n"
    found = {name: bottoms for name, bottoms, _ in wired(text, blocks)}
    assert found["o/i/concat1"] == ("o/i/a", "a")
    assert found["o/k/concat1"] == ("o/k/a", "o/a")


def test_the_name_of_a_block_means_its_last_layer_with_all_its_outputs() -> None:
    blocks = "blocks: {down: {layers: [ReLU, PoolingMask: {name: pool}]}, none: {layers: []}}\n"
    text = "  - down: {name: e}\n  - none: {name: n}\n  - Upsample: {mask: e}\n  - Concat: {bottom: [data, n]}\n"
    assert [bottoms for _, bottoms, _ in wired(text, blocks)[2:]] == [("e/pool", "e/pool/mask"), ("data", "e/pool")]


@pytest.mark.parametrize(
    ("text", "bottoms"),
    [
        ("  - PoolingMask: {name: p}\n  - Upsample: {mask: p}\n", ("p", "p/mask")),
        ("  - PoolingMask: {name: p}\n  - Upsample: {bottom: [p, p/mask]}\n", ("p", "p/mask")),
        ("  - PoolingMask: {name: p}\n  - Upsample: {mask: p/mask}\n", ("p", "p/mask")),
        ("  - PoolingMask: {top: [x, m]}\n  - Upsample: {mask: m}\n", ("x", "m")),
        ("  - PoolingMask: {top: [x, m]}\n  - Upsample: {mask: x}\n", ("x", "m")),
        ("  - PoolingMask: {name: q, top: [x, m]}\n  - Upsample: {mask: q}\n", ("x", "m")),
        ("  - Pooling: {kernel_size: 2, stride: 2, top: [x, m]}\n  - Upsample: {mask: pool1}\n", ("x", "m")),
        ("  - Slice: {name: s, top: [a, b, c]}\n  - Concat: {bottom: [s, b, c]}\n", ("a", "b", "c")),
        ("  - Slice: {top: [a, b, c]}\n  - Concat: {with: [c, b]}\n", ("a", "c", "b")),
        ("  - Concat: {with: data}\n", ("data", "data")),
        ("  - Upsample: {mask: null, bottom: [data, data]}\n", ("data", "data")),
    ],
)
def test_outputs_are_found_by_every_name_they_have(text: str, bottoms: tuple[str, ...]) -> None:
    assert last(text).bottoms == bottoms


def test_a_top_stands_in_the_scope_of_its_layer() -> None:
    blocks = "blocks: {b: {layers: [Slice: {top: [x, y, z]}, Concat: {with: [y, z]}]}}\n"
    found = wired("  - b\n  - ReLU: {bottom: b1/y}\n", blocks)
    assert found[0][2] == ("b1/x", "b1/y", "b1/z")
    assert found[1][1] == ("b1/x", "b1/y", "b1/z")
    assert found[2][1] == ("b1/y",)


@pytest.mark.parametrize(("kind", "type"), [("sum", "Eltwise"), ("concat", "Concat")])
def test_branches_start_from_one_feature_and_an_empty_one_is_that_feature(kind: str, type: str) -> None:
    net = read(f"  - {CONV}\n  - {kind}:\n      - [ReLU, TanH]\n      - []\n      - Sigmoid\n  - ReLU\n")
    assert [(x.name, x.bottoms) for x in net.layers[1:]] == [
        ("relu1", ("conv1",)),
        ("tanh1", ("relu1",)),
        ("sigmoid1", ("conv1",)),
        (f"{kind}1", ("tanh1", "conv1", "sigmoid1")),
        ("relu2", (f"{kind}1",)),
    ]
    assert net.layers[4].layer.type == type


def test_a_branch_that_when_leaves_empty_is_the_feature_too() -> None:
    text = f"  - {CONV}\n  - sum:\n      - [TanH]\n      - [ReLU: {{when: false}}]\n"
    assert last(text).bottoms == ("tanh1", "conv1")


def test_a_loss_in_a_branch_is_no_end_of_it() -> None:
    assert last(f"  - {CONV}\n  - sum: [[ReLU, SoftmaxWithLoss], [TanH]]\n").bottoms == ("relu1", "tanh1")


@pytest.mark.parametrize(
    ("written", "weights"),
    [("", ()), ("loss_weight: 2", (2.0,)), ("loss_weight: [0.5]", (0.5,)), ("loss_weight: 0", (0.0,))],
)
def test_loss_weights_are_kept_as_written(written: str, weights: tuple[float, ...]) -> None:
    assert last(f"  - {CONV}\n  - SoftmaxWithLoss: {{{written}}}\n").loss_weights == weights


TABLE = "classes: {classes: {a: [1, 1, 1], b: [2, 2, 2]}, ignore: {label: 9}}\n"


@pytest.mark.parametrize(
    ("layer", "table", "label"),
    [
        ("SoftmaxWithLoss", TABLE, 9),
        ("Accuracy", TABLE, 9),
        ("SoftmaxWithLoss: {ignore_label: 3}", TABLE, 3),
        ("SoftmaxWithLoss: {ignore_label: null}", TABLE, None),
        ("SoftmaxWithLoss", "classes: 2\n", None),
        ("SoftmaxWithLoss", "", None),
    ],
)
def test_the_ignored_label_comes_from_the_class_table_unless_the_layer_says_another(
    layer: str, table: str, label: int | None
) -> None:
    assert getattr(last(f"  - {CONV}\n  - {layer}\n", table).layer, "ignore_label", "absent") == label


def test_one_rule_is_for_all_blobs_and_a_list_for_one_each() -> None:
    one, two = read(
        "  - Convolution: {num_output: 1, kernel_size: 1, param: {lr_mult: 0}}\n"
        "  - Convolution: {num_output: 1, kernel_size: 1, param: [{lr_mult: 2, decay_mult: 0}, {name: b}]}\n"
    ).layers
    assert (one.rules, one.rest.lr_mult) == ((), 0)
    assert [(rule.name, rule.lr_mult, rule.decay_mult) for rule in two.rules] == [(None, 2, 0), ("b", 1, 1)]
    assert two.rest.lr_mult == 1


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("  - ReLU: {name: r}\n  - ReLU: {name: r}\n", "the name 'r' is taken (first at x.yaml:4)"),
        ("  - ReLU: {name: data}\n", "the name 'data' is taken (it names an input of the net)"),
        ("  - ReLU: {top: label}\n", "the name 'label' is taken (it names an input of the net)"),
        ("  - Slice: {top: [a, a, b]}\n", "the name 'a' is taken (first at x.yaml:4)"),
        ("  - ReLU: {name: r}\n  - Slice: {top: [r, b, c]}\n", "the name 'r' is taken (first at x.yaml:4)"),
        ("  - Slice: {name: b, top: [a, b, c]}\n", "the output 'b' has the name of its layer, which stands for its first output"),  # noqa: E501
        ("  - ReLU: {name: 3}\n", "a name must be a word, got 3"),
        ("  - ReLU: {name: [a]}\n", "a name must be a word, got a list of 1"),
        ("  - ReLU: {name: ''}\n", "'' cannot name a layer"),
        ("  - ReLU: {name: a b}\n", "'a b' cannot name a layer"),
        ("  - ReLU: {name: 'a:b'}\n", "'a:b' cannot name a layer"),
        ("  - ReLU: {name: /a}\n", "'/a' cannot name a layer"),
        ("  - ReLU: {name: a//b}\n", "'a//b' cannot name a layer"),
        ("  - ReLU: {name: \"a\\u200bb\"}\n", "'a\u200bb' cannot name a layer"),
        ("  - Slice: {top: ['a b', c, d]}\n", "'a b' cannot name a layer"),
        ("  - sum: [[ReLU], []]\n    name: [x]\n", "a name must be a word, got a list of 1"),
        ("  - b: {name: x y}\n", "'x y' cannot name a layer"),
        ("  - b: {name: [x]}\n", "a name must be a word, got a list of 1"),
        ("  - ReLU: {bottom: nope}\n", "no layer 'nope' before this one"),
        ("  - ReLU: {bottom: {a: 1}}\n", "'bottom' of layer 'relu1' (ReLU) must be a word, got a mapping"),
        ("  - ReLU: {bottom: [[a]]}\n", "'bottom.0' of layer 'relu1' (ReLU) must be a word, got a list of 1"),
        ("  - Concat: {with: 1}\n", "'with' of layer 'concat1' (Concat) must be a word, got 1"),
        ("  - ReLU: {bottom: []}\n", "layer 'relu1' (ReLU) takes 1 bottom, got 0"),
        ("  - Slice: {top: []}\n", "layer 'slice1' (Slice) takes at least 1 top, got 0"),
        ("  - PoolingMask: {top: x}\n", "layer 'pool1' (PoolingMask) takes 2 tops, got 1"),
        ("  - ReLU: {name: r}\n  - Upsample: {mask: r}\n", "'r' has no output of that kind"),
        ("  - Silence: {name: s}\n  - ReLU: {bottom: s}\n", "'s' has no output"),
        ("  - Input: {shape: [1, 3, 4, 4]}\n", "'Input' is no layer of a spec, where 'data' and 'label' are fed"),
        ("  - SyntheticStreet\n", "'SyntheticStreet' is a source of images and stands in the 'data:' section"),
        ("  - SoftmaxWithLoss: {loss_weight: .nan}\n", "'loss_weight' of layer 'loss1' (SoftmaxWithLoss) must be a finite number, got nan"),  # noqa: E501
        ("  - ReLU: {param: {lr: 3}}\n", "layer 'relu1' (ReLU) has no parameter 'param.0.lr'"),
    ],
)  # fmt: skip
def test_mistakes(layers: str, message: str) -> None:
    assert message in [found for found, _ in complaints(layers, "blocks: {b: {layers: [ReLU]}}\n")]


def test_a_wrong_layer_is_one_mistake_however_many_read_it() -> None:
    text = (
        "  - PoolingMask: {nme: p}\n  - Upsample: {mask: pool1}\n  - ReLU: {bottom: pool1}\n  - Concat: {with: pool1}\n"
    )
    assert complaints(text) == [("layer 'pool1' (PoolingMask) has no parameter 'nme'", "did you mean 'name'?")]


def test_a_wrong_layer_that_is_repeated_is_one_mistake() -> None:
    assert len(complaints("  - ReLU: {slope: 1, repeat: 1000}\n")) == 1


def test_mistakes_are_counted_out() -> None:
    found = complaints("  - ReLU: {bottom: nope}\n" * 500)
    assert len(found) == 101
    assert found[-1][0] == "100 mistakes were found, nothing further was looked at"


@pytest.mark.parametrize(
    ("least", "most", "words"),
    [
        (1, 1, "1 top"),
        (2, 2, "2 tops"),
        (1, 2, "1 to 2 tops"),
        (1, None, "at least 1 top"),
        (2, None, "at least 2 tops"),
        (0, 0, "0 tops"),
    ],
)
def test_numbers_in_words(least: int, most: int | None, words: str) -> None:
    assert counted(least, most, "top") == words


BLOCKS = """blocks:
  inner: {layers: [Convolution: {num_output: 3, kernel_size: 1}, ReLU]}
  outer: {layers: [inner, inner: {name: i}, Convolution: {name: own, num_output: 3, kernel_size: 1, share: mine}]}
"""


def shares(layers: str) -> list[tuple[str, str]]:
    return [(layer.name, layer.share) for layer in read(layers, BLOCKS).layers if layer.layer.type == "Convolution"]


def test_a_block_shares_the_blobs_of_its_layers_by_their_places() -> None:
    assert shares("  - outer: {name: a, share: s}\n  - outer: {share: s}\n  - outer: {name: c}\n") == [
        ("a/conv1", "s/conv1"),
        ("a/i/conv1", "s/i/conv1"),
        ("a/own", "mine"),
        ("outer1/conv1", "s/conv1"),
        ("outer1/i/conv1", "s/i/conv1"),
        ("outer1/own", "mine"),
        ("c/conv1", ""),
        ("c/i/conv1", ""),
        ("c/own", "mine"),
    ]
    assert read("  - inner: {name: a, share: s}\n", BLOCKS).layers[1].share == ""


def test_sharing_that_cannot_be_is_told() -> None:
    assert complaints("  - ReLU: {share: x}\n") == [("layer 'relu1' (ReLU) learns nothing that it could share", "")]
    two = "blocks:\n  in: {layers: [ReLU]}\n  out: {layers: [in: {share: x}]}\n"
    assert complaints("  - out\n", two) == [
        ("a block that shares its learned blobs needs a name here", "write 'name: ...'")
    ]
    assert complaints("  - b: {share: a b}\n", "blocks:\n  b: {layers: [ReLU]}\n") == [
        ("'a b' cannot name a layer", "no spaces, colons or '$'")
    ]
    args = "blocks:\n  b: {args: {share: 1}, layers: [ReLU]}\n"
    assert complaints("  - b\n", args)[0][0] == "every block takes 'share' already; it cannot be an argument"
