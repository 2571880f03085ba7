from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from segspec.data.loader import training_batches
from segspec.errors import DataError, SegspecError, Source, SpecError
from segspec.layers.data import DenseImageData
from segspec.layers.stored import Data
from segspec.net import init
from segspec.spec.classes import ClassTable
from segspec.spec.net import load_net, read_net
from segspec.spec.netspec import InputSize
from segspec.spec.solver import Solver
from segspec.train.feed import feed
from segspec.train.optimizer import make_optimizer
from segspec.train.session import Plan, make_plan, with_absolute_sources, with_class_weights
from segspec.train.step import make_step, start

SOLVER = Solver(base_lr=0.1, max_iter=1)
SCORE = "  - Convolution: {name: score, num_output: $classes, kernel_size: 1}\n"
LOSS = "  - SoftmaxWithLoss: {name: loss}\n"
FULL = "  - InnerProduct: {name: fc, num_output: 2}\n"


def plan(path: Path, *overrides: str) -> Plan:
    return make_plan(load_net(path, overrides), SOLVER)


def test_the_plan_declares_the_size_it_trains_at(project: Any) -> None:
    made = plan(project.write_spec(SCORE + LOSS))
    assert made.spec.input == InputSize(height=24, width=24, channels=3)
    assert made.graph.inputs["data"].shape == (2, 24, 24, 3)
    assert (len(made.train), made.test is not None and len(made.test)) == (6, 3)
    assert plan(project.write_spec(SCORE + LOSS, data=", color: false")).spec.input == InputSize(
        height=24, width=24, channels=1
    )


def test_a_declared_size_stays(project: Any) -> None:
    path = project.write_spec(SCORE + LOSS)
    path.write_text(path.read_text().replace("data:", "input: {height: 96, width: 64}\ndata:", 1))
    made = plan(path)
    assert made.spec.input == InputSize(height=96, width=64)
    assert made.graph.inputs["data"].shape == (2, 24, 24, 3)


@pytest.mark.parametrize(
    ("layers", "old", "new", "message"),
    [
        (SCORE, "", "", "the net has no loss to train with"),
        (SCORE + LOSS, "$classes", "7", "'score' has 7 channels for 2 classes\n  write num_output: $classes"),
        (SCORE + LOSS, "classes: [ground, thing]\n", "", "classes"),
    ],
)
def test_what_cannot_be_trained_says_why(layers: str, old: str, new: str, message: str, project: Any) -> None:
    path = project.write_spec(layers)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SegspecError) as caught:
        plan(path)
    assert message in str(caught.value)


HALVES = "  - Slice: {axis: 0, top: [a, b]}\n  - Concat: {name: joined, axis: 0, bottom: [a, b]}\n"


@pytest.mark.parametrize(
    ("solver", "refused"),
    [
        ({"test_interval": 1}, True),
        ({"test_interval": 1, "test_iter": 1}, False),
        ({"test_interval": 1, "test_iter": 2}, True),
        ({}, False),
    ],
)
def test_a_last_batch_that_the_net_does_not_take_is_refused_before_training(
    solver: dict[str, int], refused: bool, project: Any
) -> None:
    spec = load_net(project.write_spec(SCORE + HALVES + LOSS))
    made = Solver(base_lr=0.1, max_iter=1, **solver)  # type: ignore[arg-type]
    if not refused:
        make_plan(spec, made)
        return
    with pytest.raises(SpecError, match="cannot cut 1 into 2 equal parts"):
        make_plan(spec, made)


def test_a_spec_without_training_images_is_told_how_to_name_some(project: Any) -> None:
    path = project.write_spec(SCORE + LOSS)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("  train:")]
    path.write_text("\n".join(lines))
    with pytest.raises(SpecError, match="the spec names no training images\n  add 'data: "):
        plan(path)


def test_lists_without_labels_are_told_apart(project: Any) -> None:
    (project.folder / "val.txt").write_text("val0.png\n")
    with pytest.raises(DataError, match="test images have no labels"):
        plan(project.write_spec(SCORE + LOSS))
    (project.folder / "train.txt").write_text("train0.png\n")
    with pytest.raises(DataError, match="training images have no labels"):
        plan(project.write_spec(SCORE + LOSS))


def test_another_size_keeps_the_weights(project: Any) -> None:
    made = plan(project.write_spec(SCORE + LOSS))
    assert made.graph_at((24, 24)) is made.graph
    assert made.graph_at((7, 9)).inputs["data"].shape == (2, 7, 9, 3)
    fixed = plan(project.write_spec(FULL + "  - EuclideanLoss: {bottom: [fc, fc]}\n"), "classes=2")
    with pytest.raises(SpecError, match="'weight' of layer 'fc' would be 189x2 instead of 1728x2"):
        fixed.graph_at((7, 9))


def test_sources_get_full_paths_and_nothing_else_changes(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    path = project.write_spec(SCORE + LOSS, data=", root_folder: .")
    path.write_text(path.read_text().replace(f"{project.folder}/", ""))
    spec = load_net(path)
    full = with_absolute_sources(spec)
    train = full.data["train"]
    assert isinstance(train, DenseImageData)
    assert (train.source, train.root_folder) == (str(project.folder / "train.txt"), str(project.folder))
    assert train.model_copy(update={"source": "train.txt", "root_folder": "."}) == spec.data["train"]
    assert with_absolute_sources(full) == full


def test_rules_for_class_weights_become_numbers(project: Any) -> None:
    rule = "  - SoftmaxWithLoss: {name: loss, class_weights: median_frequency}\n"
    spec = load_net(project.write_spec(SCORE + rule))
    asked: list[str] = []
    settled = with_class_weights(spec, lambda rule: (asked.append(rule), (0.5, 2.0))[1])
    assert asked == ["median_frequency"]
    assert settled.layers[-1].layer.class_weights == (0.5, 2.0)  # type: ignore[attr-defined]
    assert with_class_weights(settled, lambda rule: pytest.fail("asked again")) == settled


def test_an_iteration_is_fed_its_batches_and_the_names_of_their_images(project: Any) -> None:
    made = plan(project.write_spec(SCORE + LOSS))
    with training_batches(made.train, 2, workers=0) as loader:
        stream = feed(loader, 2)
        first, second = next(stream), next(stream)
    assert (first.batches.data.shape, first.batches.label.shape) == ((2, 2, 24, 24, 3), (2, 2, 24, 24, 1))
    assert (first.batches.data.dtype, first.batches.label.dtype) == ("uint8", "int32")
    assert first.names == ("train0.png", "train1.png", "train2.png", "train3.png")
    assert second.names == ("train4.png", "train5.png", "train0.png", "train1.png"), "round the end of the list"


@pytest.mark.parametrize(
    ("classes", "loss", "message"),
    [
        ("", "SoftmaxWithLoss: {class_weights: enet}", "class_weights: enet counts the pixels of each class"),
        ("classes: squares\n", "InfogainLoss: {source: h.binaryproto}", "the matrix of an InfogainLoss is not read"),
    ],
)
def test_what_only_the_first_step_would_miss_is_refused_at_once(classes: str, loss: str, message: str) -> None:
    text = (
        f"segspec: 1\n{classes}data:\n  train: {{type: SyntheticSquares, height: 16, width: 16}}\n"
        f"layers:\n  - Convolution: {{num_output: 2, kernel_size: 1}}\n  - {loss}\n"
    )
    spec = read_net(Source("net.yaml", text), Path())
    with pytest.raises(SpecError, match=message) as caught:
        make_plan(spec, Solver(base_lr=0.1, max_iter=1))
    assert "net.yaml:" in str(caught.value)


PROTOTXT = """
layer {{ name: "data" type: "{kind}" top: "data" top: "label"
  image_data_param {{ source: "{list}" batch_size: 2 label_type: PIXEL }} }}
layer {{ name: "c" type: "{layer}" bottom: "data" top: "c" {param} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss"
  loss_param {{ ignore_label: 255 }} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "c" bottom: "label" top: "accuracy" include {{ phase: TEST }} }}
"""


def write_prototxt(project: Any, **words: str) -> Path:
    path: Path = project.folder / "net.prototxt"
    path.write_text(PROTOTXT.format(**words))
    return path


def test_a_prototxt_has_a_class_for_each_channel_of_its_scores(project: Any) -> None:
    param = "convolution_param { num_output: 2 kernel_size: 1 }"
    words = {"kind": "ImageSegData", "layer": "Convolution", "list": str(project.folder / "train.txt")}
    made = plan(write_prototxt(project, param=param, **words))
    assert made.spec.classes == replace(ClassTable.numbered(2), ignore_label=255)
    batch = next(training_batches(made.train, 2, workers=0))
    assert batch.label is not None and batch.label.shape == (2, 24, 24, 1)


def test_a_net_that_classifies_trains_on_a_number_an_image(project: Any) -> None:
    lines = (project.folder / "train.txt").read_text().split("\n")
    numbered = project.folder / "numbers.txt"
    numbered.write_text("".join(f"{line.split()[0]} {index % 2}\n" for index, line in enumerate(lines) if line))
    param = "inner_product_param { num_output: 2 }"
    words = {"kind": "ImageData", "layer": "InnerProduct", "list": str(numbered)}
    made = plan(write_prototxt(project, param=param, **words))
    assert made.graph.inputs["label"].shape == (2,)
    step = make_step(made.graph, made.data, make_optimizer(SOLVER, {}), seed=0, dtype="float32")
    params, state = init(made.graph, 0)
    fed = next(feed(training_batches(made.train, 2, workers=0), 1))
    begun = start(params, state, make_optimizer(SOLVER, {}))
    _, metrics = step(begun, fed.batches, jnp.int32(0))
    assert bool(metrics["finite"]) and float(metrics["loss"]) > 0


def test_all_paths_of_a_source_become_full() -> None:
    spec = read_net(
        Source(
            "net.yaml",
            "segspec: 1\ndata:\n  train: {type: Data, source: a, label_source: b, mean_file: c}\nlayers:\n  - ReLU\n",
        ),
        Path(),
    )
    layer = with_absolute_sources(spec).data["train"]
    assert isinstance(layer, Data)
    assert [layer.source, layer.label_source, layer.mean_file] == [str(Path(name).absolute()) for name in "abc"]
