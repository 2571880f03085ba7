"""The generated reference and schemas: complete, true to what `check` accepts, and noticed when they are stale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import generate as tool
import jsonschema
import pytest

from segspec.errors import Source, SpecError
from segspec.layers import LAYERS
from segspec.schema.read import field_names
from segspec.spec.net import read_net
from segspec.spec.solver import Solver
from segspec.syntax.tree import read_source, to_python
from segspec.syntax.yaml import parse_yaml

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted([*(ROOT / "specs").glob("*.yaml"), *(ROOT / "specs").glob("segnet_paper/*.yaml")])
SOLVERS = sorted((ROOT / "solvers").glob("*.yaml"))
FILES = ("LAYERS.md", "README.md", "segspec.schema.json", "solver.schema.json")


@pytest.fixture(scope="module")
def texts() -> Mapping[str, str]:
    found: Mapping[str, str] = tool.generated()
    return found


@pytest.fixture(scope="module")
def spec_schema(texts: Mapping[str, str]) -> Any:
    return _validator(texts["segspec.schema.json"])


@pytest.fixture(scope="module")
def solver_schema(texts: Mapping[str, str]) -> Any:
    return _validator(texts["solver.schema.json"])


def _validator(text: str) -> Any:
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _value(text: str) -> object:
    """A YAML text as an editor sees it: dicts and lists."""
    return json.loads(json.dumps(to_python(parse_yaml(Source("text", text)))))


def _net(layers: str, more: str = "") -> str:
    return f"segspec: 1\nclasses: 3\n{more}layers:\n" + "".join(f"  {line}\n" for line in layers.splitlines())


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_shipped_specs_fit_the_schema(path: Path, spec_schema: Any) -> None:
    errors = [error.message for error in spec_schema.iter_errors(_value(read_source(path).text))]
    assert not errors


@pytest.mark.parametrize("path", SOLVERS, ids=lambda path: path.stem)
def test_the_shipped_solvers_fit_the_schema(path: Path, solver_schema: Any) -> None:
    errors = [error.message for error in solver_schema.iter_errors(_value(read_source(path).text))]
    assert not errors


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer.role != "data"], ids=lambda layer: layer.type)
def test_the_example_of_every_layer_fits_the_schema(layer: Any, spec_schema: Any) -> None:
    assert spec_schema.is_valid(_value(_net(f"- {layer.type}: {layer.example}")))
    assert not spec_schema.is_valid(_value(_net(f"- {layer.type}: {{surely_not_a_field: 1}}")))


GOOD = {
    "bare word": "- ReLU",
    "bare word with a colon": "- ReLU:",
    "one number or two": "- Convolution: {num_output: 8, kernel_size: [3, 5], pad: [1, 2]}",
    "names for numbers": "- Convolution: {num_output: $n, kernel_size: [$k, 3], weight_filler: {std: $s}}",
    "names for words": "- Pooling: {pool: $kind, kernel_size: 2, global_pooling: $all}",
    "arithmetic": "- Dropout: {repeat: $n - 1, when: $i > 2}",
    "block": "- cbr: {name: e1, out: 8, repeat: 2}",
    "bare block": "- cbr",
    "loop": "- foreach: {i: [1, 2], n: $widths}\n  do:\n    - cbr: {out: $n}",
    "branches": "- sum: [[ReLU, {cbr: {out: 8}}], [], Sigmoid]\n  name: joined",
    "a loop of branches": "- concat:\n      - foreach: {rate: $rates}\n        do: [ReLU]",
    "rules": "- InnerProduct: {num_output: 8, param: [{lr_mult: 0}, {name: shared, decay_mult: 0}]}",
    "one rule": "- InnerProduct: {num_output: 8, param: {lr_mult: $rate}}",
    "no ignored label": "- SoftmaxWithLoss: {ignore_label: null, loss_weight: 0.4}",
    "class weights by rule": "- SoftmaxWithLoss: {class_weights: median_frequency}",
    "class weights by number": "- SoftmaxWithLoss: {class_weights: [1, 2, 0.5]}",
}
BAD = {
    "missing parameter": "- Convolution",
    "misspelt parameter": "- Convolution: {num_output: 8, kernel_siz: 3}",
    "word for a number": "- Convolution: {num_output: many, kernel_size: 3}",
    "quoted number": "- Convolution: {num_output: '8', kernel_size: 3}",
    "too small": "- Convolution: {num_output: 0, kernel_size: 3}",
    "unknown enum": "- Pooling: {pool: max, kernel_size: 2}",
    "two types": "- ReLU: {}\n  Sigmoid: {}",
    "source among layers": "- SyntheticSquares",
    "loop without body": "- foreach: {i: [1, 2]}",
    "body without loop": "- do: [ReLU]",
    "one branch": "- sum: [[ReLU]]",
    "branches with more": "- concat: [[ReLU], []]\n  bottom: x",
    "name with a space": "- ReLU: {name: a b}",
}


@pytest.mark.parametrize("layers", GOOD.values(), ids=GOOD)
def test_what_the_language_allows_fits_the_schema(layers: str, spec_schema: Any) -> None:
    errors = [error.message for error in spec_schema.iter_errors(_value(_net(layers)))]
    assert not errors


@pytest.mark.parametrize("layers", BAD.values(), ids=BAD)
def test_what_check_refuses_does_not_fit_the_schema(layers: str, spec_schema: Any) -> None:
    assert not spec_schema.is_valid(_value(_net(layers)))
    with pytest.raises(SpecError):
        read_net(Source("text", _net(layers)), ROOT)


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ("data:\n  train: {type: SyntheticSquares, count: $n}\n", True),
        ("data:\n  train: {type: SyntheticSquares, new_height: 8}\n", False),
        ("data:\n  validation: {type: SyntheticSquares}\n", False),
        ("data:\n  train: {batch_size: 4}\n", False),
        ("input: {height: 360, width: 480}\n", True),
        ("input: {height: 360}\n", False),
        ("params: {n: 3, folder: data}\n", True),
        ("params: {classes: 3}\n", False),
        ("blocks:\n  cbr:\n    args: {out: int, drop: false}\n    layers: [ReLU]\n", True),
        ("blocks:\n  cbr:\n    args: {rates: list, more: [1, 2], mid: $out / 4}\n    layers: [ReLU]\n", True),
        ("blocks:\n  cbr:\n    args: {rates: {a: 1}}\n    layers: [ReLU]\n", False),
        ("blocks:\n  ReLU:\n    layers: [Sigmoid]\n", False),
        ("blocks:\n  cbr: [ReLU]\n", False),
        ("blok: {}\n", False),
    ],
)
def test_the_other_sections(more: str, fits: bool, spec_schema: Any) -> None:
    assert spec_schema.is_valid(_value(_net("- ReLU", more))) == fits


@pytest.mark.parametrize(
    ("classes", "fits"),
    [
        ("camvid", True),
        ("2", True),
        ("1", False),
        ("[road, car]", True),
        ("[road, road]", False),
        ("{classes: {road: [1, 2, 3]}, ignore: {label: 9}}", True),
        ("{classes: [road, car], ignore: {label: 255}}", True),
        ("{classes: [], ignore: {label: 255}}", False),
        ("{classes: {road: [1, 2, blue]}}", False),
        ("{classes: {road: [1, 2]}}", False),
    ],
)
def test_class_tables(classes: str, fits: bool, spec_schema: Any) -> None:
    assert spec_schema.is_valid(_value(f"segspec: 1\nclasses: {classes}\nlayers: [ReLU]\n")) == fits


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("{base_lr: 0.1, max_iter: 10}", True),
        ("{base_lr: 0.1}", False),
        ("{base_lr: 0.1, max_iter: 10, lr_policy: step, gamma: 0.5, stepsize: 3}", True),
        ("{base_lr: 0.1, max_iter: 10, lr_policy: step, gamma: 0.5}", False),
        ("{base_lr: 0.1, max_iter: 10, momentm: 0.9}", False),
    ],
)
def test_solvers(text: str, fits: bool, solver_schema: Any) -> None:
    assert solver_schema.is_valid(_value(text)) == fits


def test_the_reference_names_every_layer_and_field(texts: Mapping[str, str]) -> None:
    sections = {part.partition("\n")[0]: part for part in texts["LAYERS.md"].split("\n### ")}
    for layer in LAYERS:
        missing = [name for name in field_names(layer) if f"| `{name}` |" not in sections[layer.type]]
        assert not missing, f"{layer.type} lacks {missing}"
    assert not [name for name in Solver.model_fields if f"| `{name}` |" not in texts["LAYERS.md"]]


def test_the_reference_tells_caffes_default_where_it_differs(texts: Mapping[str, str]) -> None:
    rows = [row for row in texts["LAYERS.md"].splitlines() if row.startswith("| `moving_average_fraction` |")]
    assert rows
    assert all("(Caffe: `0.999`)" in row for row in rows)


def test_check_is_silent_about_what_was_just_written(tmp_path: Path, capsys: Any) -> None:
    assert tool.main(["--folder", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    capsys.readouterr()
    assert tool.main(["--folder", str(tmp_path), "--check"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", FILES)
def test_check_names_a_stale_file_and_the_command(name: str, tmp_path: Path, capsys: Any) -> None:
    tool.main(["--folder", str(tmp_path)])
    path = tmp_path / name
    path.write_text(path.read_text(encoding="utf-8").replace(" of ", " off "))
    assert tool.main(["--folder", str(tmp_path), "--check"]) == 1
    assert f"{path} is not what would be written; run: make generate" in capsys.readouterr().err
    path.unlink()
    assert tool.main(["--folder", str(tmp_path), "--check"]) == 1
