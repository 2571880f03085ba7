"""Flat text reads back to an equal net, whatever layer, value or name it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.layers import LAYERS
from segspec.layers.base import Layer
from segspec.spec.flatten import flat_text
from segspec.spec.net import read_net
from segspec.spec.netspec import NetSpec

TABLE = "classes: {classes: {a: [1, 1, 1], b c: [2, 2, 2]}, ignore: {label: 9, name: $$x}}\n"
USED = [layer for layer in LAYERS if layer.role != "data"]
SOURCES = [layer for layer in LAYERS if layer.role == "data" and layer.type != "Input"]


def read(text: str) -> NetSpec:
    return read_net(Source("x.yaml", f"segspec: 1\nname: x\n{text}"), Path("nowhere"))


def same(text: str) -> str:
    """The flat text of a spec, which is read back and compared."""
    net = read(text)
    flat = flat_text(net)
    again = read_net(Source("x.yaml", flat), Path("nowhere"))
    parts = [
        [(x.name, x.layer, x.bottoms, x.tops, x.rules, x.rest, x.loss_weights) for x in y.layers] for y in (net, again)
    ]
    assert parts[0] == parts[1]
    others = [(y.name, y.classes, y.input, y.data, y.output) for y in (net, again)]
    assert others[0] == others[1]
    assert flat_text(again) == flat
    return flat


def use(layer: type[Layer]) -> str:
    """A layer of this type as its example writes it, with as many bottoms and tops as it needs."""
    names = {"e1", "p1"}
    body = layer.example.strip("{}")
    if not any(f"{field}:" in body for field in layer.references):
        body += f", bottom: [{', '.join(['e1', 'p1', 'data'][: layer.bottoms[0]])}]"
    if layer.tops == (1, None):
        body += ", top: [t1, t2]"
    assert names
    return f"  - {layer.type}: {{{body.strip(', ')}}}\n"


@pytest.mark.parametrize("layer", USED, ids=lambda layer: layer.type)
@pytest.mark.parametrize("table", ["", TABLE], ids=["plain", "classes"])
def test_every_layer_type(layer: type[Layer], table: str) -> None:
    same(f"{table}layers:\n  - ReLU: {{name: e1}}\n  - PoolingMask: {{name: p1}}\n{use(layer)}")


@pytest.mark.parametrize("layer", SOURCES, ids=lambda layer: layer.type)
def test_every_source_of_images(layer: type[Layer]) -> None:
    body = layer.example.strip("{}")
    same(
        f"data: {{train: {{type: {layer.type}, {body}, scale_jitter: [1, 1.5], mean_value: [1, 2.5, 1e-7]}}}}\nlayers: [ReLU]\n"  # noqa: E501
    )


@pytest.mark.parametrize(
    ("layer", "written"),
    [
        ("SoftmaxWithLoss: {ignore_label: null}", "ignore_label: null"),
        ("SoftmaxWithLoss", "ignore_label: 9"),
        ("PoolingMask: {kernel_size: null, stride: 1, global_pooling: true}", "kernel_size: null"),
        ("Slice: {top: [a, b, c], slice_point: [1, 2]}", "slice_point: [1, 2]"),
        ("Reshape: {shape: [0, 0], num_axes: 2}", "shape: [0, 0]"),
        ("Crop: {like: data, offset: [2, 2]}", "offset: [2, 2]"),
        ("Convolution: {num_output: 1, kernel_size: [3, 3], pad: [1, 1]}", "kernel_size: 3, stride: 1"),
        ("Convolution: {num_output: 1, kernel_size: [3, 1], pad: same}", "kernel_size: [3, 1]"),
        ("Convolution: {num_output: 1, kernel_size: 1, weight_filler: {type: gaussian, std: 1e-3}}", "{type: gaussian, std: 0.001}"),  # noqa: E501
        ("Convolution: {num_output: 1, kernel_size: 1, param: {lr_mult: 0}}", "param: {lr_mult: 0.0, decay_mult: 1.0}"),
        ("Convolution: {num_output: 1, kernel_size: 1, param: [{name: w}, {}]}", "param: [{name: w}, {lr_mult: 1.0"),
        ("BatchNorm: {share: x/y}", "share: x/y"),
        ("Silence: {bottom: [data, label]}", "bottom: [data, label]"),
        ("Split: {name: s, top: [x, y]}", "top: [x, y]"),
        ("ReLU: {name: 'a#b'}", "name: 'a#b'"),
        ("ReLU: {name: 'it''s'}", "name: 'it''s'"),
        ("ReLU: {name: 'no'}", "name: no"),
        ("ReLU: {name: 'true'}", "name: 'true'"),
        ("ReLU: {name: '3'}", "name: '3'"),
        ("ReLU: {name: '1e3'}", "name: '1e3'"),
        ("ReLU: {name: 'a,b]'}", "name: 'a,b]'"),
        ("ReLU: {name: äö/日本}", "name: 'äö/日本'"),
        ("ReLU: {name: '-'}", "name: '-'"),
        ("ReLU: {name: '~'}", "name: '~'"),
    ],
)  # fmt: skip
def test_what_is_easily_lost(layer: str, written: str) -> None:
    assert written in same(f"{TABLE}layers:\n  - {layer}\n")


def test_dollar_signs_stay_dollar_signs() -> None:
    flat = same("data: {train: {type: DenseImageData, source: a/$$x/$$$$.txt}}\nlayers: [ReLU]\n")
    assert "source: a/$$x/$$$$.txt" in flat
    assert (
        getattr(
            read("data: {train: {type: DenseImageData, source: a/$$x}}\nlayers: [ReLU]\n").data["train"], "source", ""
        )
        == "a/$x"
    )


def test_the_numbers_of_a_data_set_stay_with_its_classes() -> None:
    table = "{classes: {a: [0, 0, 0], b: [1, 1, 1]}, ids: [7, 11], ignore: {label: 255, ids: [0, 3]}}"
    flat = same(f"classes: {table}\nlayers: [ReLU]\n")
    assert "  ids: [7, 11]\n" in flat
    assert "color: [0, 0, 0], ids: [0, 3]}\n" in flat


def test_macros_are_carried_out_and_nothing_is_left_of_them() -> None:
    flat = same(
        "params: {n: 2}\nblocks: {b: {args: {k: 1}, layers: [ReLU, TanH: {when: $k > 1}]}}\n"
        "layers:\n  - foreach: {i: [1, 2]}\n    do: [b: {name: b$i, k: $i, repeat: $n}]\n  - sum: [[ReLU], []]\noutput: b1/relu2\n"  # noqa: E501
    )
    assert not [word for word in ("$", "foreach", "repeat", "blocks", "params", "sum:") if word in flat]
    assert flat.splitlines()[3:] == [
        "  - ReLU: {name: b1/relu1, bottom: data, negative_slope: 0.0}",
        "  - ReLU: {name: b1/relu2, bottom: b1/relu1, negative_slope: 0.0}",
        "  - ReLU: {name: b2/relu1, bottom: b1/relu2, negative_slope: 0.0}",
        "  - TanH: {name: b2/tanh1, bottom: b2/relu1}",
        "  - ReLU: {name: b2/relu2, bottom: b2/tanh1, negative_slope: 0.0}",
        "  - TanH: {name: b2/tanh2, bottom: b2/relu2}",
        "  - ReLU: {name: relu1, bottom: b2/tanh2, negative_slope: 0.0}",
        "  - Eltwise: {name: sum1, bottom: [relu1, b2/tanh2], operation: SUM, coeff: []}",
        "output: b1/relu2",
    ]


def test_a_shared_blob_that_is_frozen_where_it_is_held_reads_back() -> None:
    held = "param: [{name: w, lr_mult: 0}, {decay_mult: 0}]"
    flat = same(
        "layers:\n"
        f"  - Convolution: {{num_output: 3, kernel_size: 1, {held}}}\n"
        "  - Convolution: {num_output: 3, kernel_size: 1, param: [{name: w}]}\n"
        "  - Convolution: {num_output: 3, kernel_size: 1, share: s, param: {lr_mult: 0, decay_mult: 0}}\n"
        "  - Convolution: {num_output: 3, kernel_size: 1, share: s, param: {decay_mult: 0}}\n"
    )
    net = read_net(Source("x.yaml", flat), Path("nowhere"))
    layers = build(net, "DEPLOY", image_inputs(1, 4, 4, 3, labels=False)).layers
    assert [layer.multipliers["weight"] for layer in layers] == [(0, 1), (0, 1), (0, 0), (0, 0)]
