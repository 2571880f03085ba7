"""`--set KEY=VALUE`: what it changes, what it makes, and mistakes whose place is the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import SegspecError, Source, SpecError, UsageError
from segspec.spec.library import shipped
from segspec.spec.net import load_net, read_net
from segspec.spec.netspec import NetSpec

TEXT = """segspec: 1
params: {width: 8, where: d}
data:
  train: {type: DenseImageData, source: $where/t.txt, batch_size: 4}
layers:
  - Convolution: {num_output: $width, kernel_size: 1}
"""


def changed(*overrides: str, text: str = TEXT) -> NetSpec:
    return read_net(Source("x.yaml", text), Path("nowhere"), overrides)


def width(net: NetSpec) -> object:
    return net.layers[0].layer.model_dump()["num_output"]


def test_params_are_set_by_their_own_name_or_their_path() -> None:
    assert width(changed("width=16")) == 16
    assert width(changed("params.width=16")) == 16
    assert width(changed("width = 16")) == 16
    assert width(changed("width=16", "width=2")) == 2


def test_paths_reach_into_sections_and_make_what_is_missing() -> None:
    assert changed("data.train.batch_size=2").data["train"].batch_size == 2
    assert changed("data.train.mirror=true").data["train"].mirror
    assert changed("data.test={type: SyntheticSquares}").data["test"].type == "SyntheticSquares"
    made = changed("input.height=3", "input.width=4").input
    assert made is not None
    assert (made.height, made.width) == (3, 4)
    assert changed("name=other").name == "other"
    assert changed("output=conv1").output == "conv1"


def test_a_section_that_is_null_can_be_filled() -> None:
    made = changed("input.height=3", "input.width=4", text=TEXT + "input:\n").input
    assert made is not None


def test_values_are_yaml() -> None:
    assert [layer.name for layer in changed("layers=[ReLU, TanH]").layers] == ["relu1", "tanh1"]
    assert getattr(changed("where='a=b'").data["train"], "source", "") == "a=b/t.txt"


def test_classes_of_a_shipped_net_can_be_counted_or_named() -> None:
    path = shipped("specs") / "segnet_camvid.yaml"
    for override, names in (("classes=21", 21), ("classes=[a, b]", 2), ("classes=squares", 2)):
        table = load_net(path, [override]).classes
        assert table is not None
        assert table.count == names


@pytest.mark.parametrize(
    ("override", "message", "hint", "column"),
    [
        ("clases=3", "nothing is called 'clases' here", "did you mean 'classes'?", 1),
        ("widht=3", "nothing is called 'widht' here", "did you mean 'width'?", 1),
        ("params.widht=3", "the spec has no param 'widht'", "did you mean 'width'?", 8),
        ("data.trian.batch_size=3", "'data' has no part 'trian'", "did you mean 'train'?", 6),
        ("data.train.batchsize=3", "data.train (DenseImageData) has no parameter 'batchsize'", "did you mean 'batch_size'?", 12),  # noqa: E501
        ("data.train.batch_size=many", "'batch_size' of data.train (DenseImageData) must be a whole number, got 'many'", "", 23),  # noqa: E501
        ("data.train.batch_size=0", "'batch_size' of data.train (DenseImageData) must be at least 1, got 0", "", 23),
        ("width=", "'num_output' of layer 'conv1' (Convolution) must be a whole number, got null", "", 0),
        ("layers.0.num_output=3", "'layers' has no parts", "", 8),
        ("width.x=3", "'width' has no parts", "", 7),
        ("classes=1", "'classes' must be a class table's name, a number from 2 to 255, or a list of names; got 1", "", 9),  # noqa: E501
        ("input.height=3", "'input' needs 'width': columns, in pixels", "", 1),
    ],
)  # fmt: skip
def test_mistakes_show_the_command_line(override: str, message: str, hint: str, column: int) -> None:
    with pytest.raises(SpecError) as caught:
        changed(override)
    (found,) = caught.value.diagnostics
    assert (found.message, found.hint) == (message, hint)
    assert found.span is not None
    if column:
        assert (found.span.source.name, found.span.line, found.span.column) == ("--set", 1, column)
        assert f"  1 | {override}" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("classes", "--set takes KEY=VALUE, got 'classes'"),
        ("=3", "--set takes KEY=VALUE, got '=3'"),
        ("", "--set takes KEY=VALUE, got ''"),
        ("a..b=3", "a part of the key is missing"),
        (".a=3", "a part of the key is missing"),
        ("width=[1, 2", "this '[' is not closed"),
        ("width=&x 3", "anchors are not part of the language (&x)"),
        ("width=3\n---\n4", "a second document begins"),
        ("width=" + "9" * 30, "a number of 30 digits is too large"),
    ],
)  # fmt: skip
def test_what_is_no_override_is_wrong_use(override: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(override)
    assert caught.value.diagnostics[0].message == message
    assert caught.value.exit_code == 2


def test_the_caret_stands_below_the_value() -> None:
    with pytest.raises(SegspecError) as caught:
        changed("data.train.batch_size=many")
    line, caret = str(caught.value).splitlines()[1:3]
    assert line[caret.index("^") :] == "many"
