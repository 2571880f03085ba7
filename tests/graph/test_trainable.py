"""What is said of nets whose shapes fit, and that still cannot be trained or tested, or learn nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Diagnostic, Source
from segspec.graph.build import build, image_inputs
from segspec.graph.check import check, find_doubts
from segspec.graph.trainable import (
    find_idleness,
    find_need_of_batch,
    find_other_class_count,
    find_unsettled,
    numbered_classes,
)
from segspec.spec.net import read_net
from segspec.spec.netspec import NetSpec

TRAINED = "data: {train: {type: SyntheticSquares, height: 8, width: 8, batch_size: 4}}\n"
SCORE = "  - Convolution: {name: score, num_output: 2, kernel_size: 1%s}\n"
LOSS = "  - SoftmaxWithLoss%s\n"
FROZEN = ", param: [{lr_mult: 0}, {lr_mult: 0}]"
HALVES = "  - Slice: {axis: 0, top: [a, b]}\n  - Concat: {name: joined, axis: 0, bottom: [a, b]}\n"


def net(layers: str, top: str = "classes: 2\n" + TRAINED) -> NetSpec:
    return read_net(Source("x.yaml", f"segspec: 1\n{top}layers:\n{layers}"), Path("nowhere"))


def doubts(spec: NetSpec) -> list[str]:
    found = find_doubts(spec, (8, 8))
    assert {doubt.severity for doubt in found} <= {"warning"}
    return [doubt.message for doubt in found]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (SCORE % "" + LOSS % "", []),
        (SCORE % "", ["the net has no loss to train with"]),
        (SCORE.replace("2", "5") % "" + LOSS % "", ["'score' has 5 channels for 2 classes"]),
        (SCORE % "" + LOSS % ": {loss_weight: 0}", ["the net learns nothing: every loss has loss_weight 0"]),
        (SCORE % FROZEN + LOSS % "", ["the net learns nothing: lr_mult is 0 for every blob"]),
        (SCORE % ", param: [{lr_mult: 0}]" + LOSS % "", []),
        ("  - Convolution: {num_output: 2, kernel_size: 1, param: [{lr_mult: 0}, {lr_mult: 0}]}\n" + SCORE % "" + LOSS % "", []),  # noqa: E501
        ("  - Slice: {slice_point: 2, top: [a, b]}\n  - SoftmaxWithLoss: {bottom: [a, label]}\n", ["the net learns nothing: the net has no learned blobs"]),  # noqa: E501
        (SCORE % "" + LOSS % ": {name: one, loss_weight: 0}" + "  - HingeLoss: {bottom: [score, label]}\n", []),
    ],
)  # fmt: skip
def test_check_tells_beforehand_what_training_would_come_to(layers: str, expected: list[str]) -> None:
    assert doubts(net(layers)) == expected


@pytest.mark.parametrize(("top", "expected"), [("", []), ("classes: 5\n", ["'score' has 2 channels for 5 classes"])])
def test_a_net_without_training_images_needs_no_loss(top: str, expected: list[str]) -> None:
    assert doubts(net(SCORE % "", top)) == expected


def test_every_mistake_of_a_loss_is_told_with_its_place() -> None:
    losses = "  - SoftmaxWithLoss: {class_weights: enet}\n  - InfogainLoss: {bottom: [score, label], source: h.bin}\n"
    found = find_unsettled(net(SCORE % "" + losses, TRAINED))
    assert [each.span and each.span.line for each in found] == [5, 6]
    assert [each.hint for each in found] == ["declare 'classes'", "write it as 'matrix'"]


def test_a_net_that_divides_the_batch_is_shown_and_said_to_be_no_use_for_tests() -> None:
    spec = net(SCORE % "" + HALVES + LOSS % "")
    assert "parameters     8  (32 B)\nmultiply-adds  384 an image" in check(spec)
    (doubt,) = find_need_of_batch(spec, 4, (8, 8), 3)
    assert doubt.message.startswith("the net takes 4 images at once but not one, so 'segspec test' cannot use it: ")
    assert doubt.span is not None and doubt.span.line == 6
    assert doubts(spec) == [doubt.message]
    assert find_need_of_batch(net(SCORE % "" + LOSS % ""), 4, (8, 8), 3) == ()


def test_the_rules_speak_of_a_graph() -> None:
    graph = build(net(SCORE % FROZEN + LOSS % "", "classes: 3\n"), "TRAIN", image_inputs(2, 8, 8, 3))
    hint = "write num_output: $classes"
    message = "'score' has 2 channels for 3 classes"
    assert find_other_class_count(graph, "x.yaml") == (Diagnostic(message, hint=hint, place="x.yaml"),)
    assert [each.place for each in find_idleness(graph, "x.yaml")] == ["x.yaml"]


@pytest.mark.parametrize(
    ("channels", "loss", "count", "ignored"),
    [
        (3, "SoftmaxWithLoss: {ignore_label: 255}", 3, 255),
        (3, "SoftmaxWithLoss: {ignore_label: 3}", 3, 3),
        (3, "SoftmaxWithLoss: {ignore_label: 2}", 3, None),
        (3, "SoftmaxWithLoss: {ignore_label: 256}", 3, None),
        (1, "SigmoidCrossEntropyLoss", 2, None),
    ],
)
def test_classes_are_numbered_by_the_channels_of_the_scores(
    channels: int, loss: str, count: int, ignored: int | None
) -> None:
    spec = net(f"  - Convolution: {{num_output: {channels}, kernel_size: 1}}\n  - {loss}\n", "")
    table = numbered_classes(spec, build(spec, "TRAIN", image_inputs(1, 4, 4, 3)))
    assert table is not None and (table.count, table.ignore_label) == (count, ignored)
