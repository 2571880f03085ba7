"""The top level of a spec: every section, what null means there, libraries of blocks, and all mistakes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.layers.data import DenseImageData
from segspec.spec.net import load_net, read_net
from segspec.spec.netspec import InputSize, NetSpec

HERE = Path("nowhere")
DATA = "data: {train: {type: DenseImageData, source: $where/t.txt, batch_size: $n}}\n"


def read(text: str, *overrides: str) -> NetSpec:
    return read_net(Source("x.yaml", f"segspec: 1\n{text}"), HERE, overrides)


def complaints(text: str, head: str = "segspec: 1\n") -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_net(Source("x.yaml", head + text), HERE)
    return [found.message for found in caught.value.diagnostics]


def test_every_section_is_read() -> None:
    net = read(
        f"name: n\nclasses: [a, b]\nparams: {{where: d, n: 2}}\ninput: {{height: 4, width: $n * 3}}\n{DATA}layers: [ReLU]\n"  # noqa: E501
    )
    assert (net.name, net.input) == ("n", InputSize(height=4, width=6))
    assert net.classes is not None
    assert net.classes.names == ("a", "b")
    train = net.data["train"]
    assert isinstance(train, DenseImageData)
    assert (train.source, train.batch_size) == ("d/t.txt", 2)


def test_a_mistake_in_the_classes_is_told_once() -> None:
    score = "layers: [{Convolution: {num_output: $classes, kernel_size: 1}}]\n"
    assert complaints(f"classes: {{classes: 3}}\n{score}") == ["'classes' of the class table must be a mapping, got 3"]


def test_a_net_without_a_name_is_called_like_its_file() -> None:
    assert read_net(Source("some/where/deep.yaml", "segspec: 1\nlayers: [ReLU]\n"), HERE).name == "deep"


@pytest.mark.parametrize("key", ["name", "params", "use", "blocks", "input", "data", "output"])
def test_a_section_without_a_value_is_no_section(key: str) -> None:
    assert read(f"{key}:\nlayers: [ReLU]\n") == read_net(
        Source("x.yaml", f"segspec: 1\n{key}:\nlayers: [ReLU]\n"), HERE
    )
    assert len(read(f"{key}:\nlayers: [ReLU]\n").layers) == 1


def test_params_may_use_earlier_ones_and_classes_are_a_value() -> None:
    text = "classes: 7\nparams: {w: 8, k: [3, 5], f: {type: gaussian, std: 0.5}, d: 2 * $w}\nlayers:\n"
    net = read(text + "  - Convolution: {num_output: $d + $classes, kernel_size: $k, weight_filler: $f}\n")
    layer = net.layers[0].layer.model_dump()
    assert (layer["num_output"], layer["kernel_size"], layer["weight_filler"]["std"]) == (23, (3, 5), 0.5)


def test_output_names_a_feature() -> None:
    assert read("layers: [ReLU, TanH]\noutput: relu1\n").output == "relu1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer: [ReLU]\n", "a spec has no field 'layer'"),
        ("", "the spec has no 'layers:'"),
        ("layers:\n", "layers are a list, one '- Type: {...}' each, got null"),
        ("layers: {ReLU: {}}\n", "layers are a list, one '- Type: {...}' each, got a mapping"),
        ("name: [a]\nlayers: [ReLU]\n", "'name' must be a word, got a list of 1"),
        ("name: 3\nlayers: [ReLU]\n", "'name' must be a word, got 3"),
        ("name: ' '\nlayers: [ReLU]\n", "'name' must be a word, got ' '"),
        ("params: [a]\nlayers: [ReLU]\n", "'params' must be a mapping of names to values, got a list of 1"),
        ("params: {a-b: 1}\nlayers: [ReLU]\n", "'a-b' cannot be the name of a param"),
        ("params: {classes: 1}\nlayers: [ReLU]\n", "'classes' is declared at the top of the spec"),
        ("params: {a: $b}\nlayers: [ReLU]\n", "nothing defines '$b'"),
        ("blocks: [a]\nlayers: [ReLU]\n", "'blocks' must be a mapping of names to blocks, got a list of 1"),
        ("blocks: {sum: {layers: []}}\nlayers: [ReLU]\n", "'sum' is a word of the language; a block needs another name"),  # noqa: E501
        ("blocks: {b: {args: [k], layers: []}}\nlayers: [ReLU]\n", "'args' of block 'b' must be a mapping, got a list of 1"),  # noqa: E501
        ("blocks: {b: {args: {name: 1}, layers: []}}\nlayers: [b]\n", "every block takes 'name' already; it cannot be an argument"),  # noqa: E501
        ("blocks: {b: {args: {1x: 1}, layers: []}}\nlayers: [b]\n", "'1x' cannot be the name of an argument"),
        ("layers:\n  - foreach: {a b: [1]}\n    do: []\n", "'a b' cannot be the name of a loop variable"),
        ("use: [[a]]\nlayers: [ReLU]\n", "'use' is a list of block libraries, got a list of 1"),
        ("use: x\nlayers: [ReLU]\n", "no block library 'x' (looked for blocks/x.yaml)"),
        ("use: \"" + "a" * 5000 + "\"\nlayers: [ReLU]\n", "no block library '" + "a" * 5000 + "' (looked for blocks/" + "a" * 5000 + ".yaml)"),  # noqa: E501
        ("input: 3\nlayers: [ReLU]\n", "'input' is written {height: 360, width: 480, channels: 3}, got 3"),
        ("input: {height: 3}\nlayers: [ReLU]\n", "'input' needs 'width': columns, in pixels"),
        ("data: 3\nlayers: [ReLU]\n", "'data' is a mapping with 'train' and 'test', got 3"),
        ("data: {train: 3}\nlayers: [ReLU]\n", "data.train is a mapping with a 'type', got 3"),
        ("data: {train: {}}\nlayers: [ReLU]\n", "data.train needs a 'type', such as DenseImageData"),
        ("data: {train: {type: ReLU}}\nlayers: [ReLU]\n", "unknown source of images 'ReLU'"),
        ("output: relu2\nlayers: [ReLU]\n", "'output' must name the blob that holds the scores, got 'relu2'"),
        ("output: loss1\nlayers: [SoftmaxWithLoss]\n", "'output' must name the blob that holds the scores, got 'loss1'"),  # noqa: E501
        (
            "data:\n  train: {type: DenseImageData, source: a}\n  test: {type: DenseImageData, source: b, color: false}\n"  # noqa: E501
            "layers: [ReLU]\n",
            "images must have equal channels in all phases, got 3 in data.train and 1 in data.test",
        ),
    ],
)  # fmt: skip
def test_mistakes(text: str, message: str) -> None:
    assert message in complaints(text)


@pytest.mark.parametrize("version", ["2", "'1'", "1.0", "true", "null", "[1]"])
def test_only_version_1_is_read(version: str) -> None:
    (message,) = complaints("layers: [ReLU]\n", f"segspec: {version}\n")
    assert message.startswith("this segspec reads version 1 of the language, not ")


def test_the_root_must_be_a_mapping() -> None:
    assert complaints("- a\n", "") == ["a spec is a mapping with 'layers:', got a list of 1"]


def test_a_name_that_cannot_be_a_file_is_no_crash() -> None:
    for name in ("a" * 5000, "../" * 100, "a/\\0", "a.yaml"):
        assert complaints(f'classes: "{name}"\nlayers: [ReLU]\n')


def test_all_mistakes_come_at_once_in_the_order_of_the_text() -> None:
    text = "nme: x\nlayers:\n  - Relu\n  - ReLU: {slope: 1}\n  - TanH: {bottom: no}\ndata: {trian: {}}\n"
    assert complaints(text) == [
        "a spec has no field 'nme'",
        "unknown layer type 'Relu'",
        "layer 'relu1' (ReLU) has no parameter 'slope'",
        "no layer 'no' before this one",
        "'data' has no part 'trian'",
    ]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a spec in `nets/`, and libraries beside it and one folder up."""
    for folder in ("nets/blocks", "nets/parts", "blocks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "blocks/far.yaml").write_text("a: {layers: [ReLU]}\nb: {layers: [TanH]}\n")
    (tmp_path / "nets/blocks/near.yaml").write_text("b: {layers: [Sigmoid]}\n")
    (tmp_path / "nets/parts/odd.yaml").write_text("c:\n  layers: [ReLU: {slope: 1}]\n")
    return tmp_path / "nets"


def used(project: Path, use: str, layers: str, more: str = "") -> list[str]:
    path = project / "net.yaml"
    path.write_text(f"segspec: 1\nuse: {use}\n{more}layers: {layers}\n")
    return [layer.layer.type for layer in load_net(path).layers]


def test_libraries_are_found_beside_the_spec_and_one_folder_up_and_later_ones_win(project: Path) -> None:
    assert used(project, "[far, near]", "[a, b]") == ["ReLU", "Sigmoid"]
    assert used(project, "[near, far]", "[a, b]") == ["ReLU", "TanH"]
    assert used(project, "far", "[a, b]", "blocks: {a: {layers: [BNLL]}}\n") == ["BNLL", "TanH"]


def test_a_mistake_in_a_library_shows_both_files(project: Path) -> None:
    with pytest.raises(SpecError) as caught:
        used(project, "[parts/odd.yaml]", "[c]")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{project / 'parts/odd.yaml'}:2:19: layer 'c1/relu1' (ReLU) has no parameter 'slope'"
    assert lines[-1].endswith(f"= used at {project / 'net.yaml'}:3: layers: [c]")


def test_an_unknown_library_is_named_with_the_nearest(project: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'near'"):
        used(project, "[naer]", "[b]")


@pytest.mark.parametrize(
    ("bytes", "message"),
    [
        (b"\xff\xfe", "not UTF-8 text (byte 0)"),
        (b"", "the file is empty"),
        (b"\xef\xbb\xbfsegspec: 1\nlayers: [ReLU]\n", ""),
    ],
)
def test_files_are_utf_8(tmp_path: Path, bytes: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(bytes)
    if not message:
        assert load_net(path).name == "x"
        return
    with pytest.raises(SpecError) as caught:
        load_net(path)
    assert (caught.value.diagnostics[0].message, caught.value.diagnostics[0].place) == (message, str(path))


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_net(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="this is a folder"):
        load_net(tmp_path)
