from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segspec.data.loader import training_batches
from segspec.errors import DataError, SegspecError, Source, SpecError
from segspec.layers.data import DenseImageData
from segspec.spec.net import load_net, read_net
from segspec.spec.netspec import InputSize
from segspec.spec.solver import Solver
from segspec.train.feed import feed
from segspec.train.session import Plan, make_plan, with_absolute_sources, with_class_weights

SOLVER = Solver(base_lr=0.1, max_iter=1)
SCORE = "  - Convolution: {name: score, num_output: $classes, kernel_size: 1}\n"
LOSS = "  - SoftmaxWithLoss: {name: loss}\n"
FULL = "  - InnerProduct: {name: fc, num_output: 2}\n"


def plan(path: Path, *overrides: str) -> Plan:
    return make_plan(load_net(path, overrides), SOLVER, Path())


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
        make_plan(spec, made, Path())
        return
    with pytest.raises(SpecError, match="cannot cut 1 into 2 equal parts"):
        make_plan(spec, made, Path())


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
    assert second.waited >= first.waited > 0


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
        make_plan(spec, Solver(base_lr=0.1, max_iter=1), Path())
    assert "net.yaml:" in str(caught.value)
