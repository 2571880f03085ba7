"""Which images may not meet in a batch, told before training; and a step for each size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from training_runs import train

from segspec.data.order import Evaluation, Training
from segspec.errors import DataError
from segspec.spec.net import load_net
from segspec.spec.solver import Solver
from segspec.train import sizes as sizing
from segspec.train.session import Plan, make_plan
from segspec.train.sizes import find_meeting, make_sized_step, refuse_sizes

LAYERS = "  - Convolution: {name: score, num_output: $classes, kernel_size: 1}\n  - SoftmaxWithLoss\n"
SMALL, LARGE = (4, 5), (6, 5)


def meets(batches: list[list[int]], sizes: np.ndarray) -> bool:
    """Whether any batch holds two sizes, by looking at all."""
    return any(len({tuple(sizes[index]) for index in batch}) > 1 for batch in batches)


@given(st.lists(st.sampled_from([SMALL, LARGE]), min_size=1, max_size=12), st.integers(1, 7), st.integers(1, 30))
def test_images_meet_where_the_order_of_training_brings_them_together(
    drawn: list[tuple[int, int]], together: int, batches: int
) -> None:
    sizes = np.array(drawn)
    order = Training(len(sizes), together, 0, shuffle=False)
    every = [[position.index for position in order.positions(batch)[0]] for batch in range(batches)]
    found = find_meeting(sizes, together, together * batches, shuffle=False)
    assert (found is not None) == meets(every, sizes)
    if found is not None:
        assert (sizes[found[0]] != sizes[found[1]]).any()
        assert any(set(found) <= set(batch) for batch in every)


@given(st.lists(st.sampled_from([SMALL, LARGE]), min_size=1, max_size=12), st.integers(1, 7))
def test_images_meet_where_the_order_of_a_test_brings_them_together(
    drawn: list[tuple[int, int]], together: int
) -> None:
    sizes, batches = np.array(drawn), -(-len(drawn) // together)
    order = Evaluation(len(sizes), together)
    positions = [order.positions(batch) for batch in range(batches)]
    every = [[position.index for position in batch[0]] for batch in positions if batch]
    assert (find_meeting(sizes, together, together * batches, shuffle=False) is not None) == meets(every, sizes)


def test_in_random_order_any_two_may_meet() -> None:
    sizes = np.array([SMALL, SMALL, LARGE, LARGE])
    assert find_meeting(sizes, 2, 8, shuffle=False) is None
    assert find_meeting(sizes, 2, 8, shuffle=True) == (0, 2)
    assert find_meeting(sizes, 1, 8, shuffle=True) is None
    assert find_meeting(sizes[:2], 2, 8, shuffle=True) is None


def plan_of(project: Any, data: str = "", **solver: Any) -> Plan:
    spec = load_net(project.write_spec(LAYERS, data=data))
    return make_plan(spec, Solver(base_lr=0.1, max_iter=9, **solver))


ONE_LARGER = np.array([[24, 24], [24, 24], [11, 17], [24, 24], [24, 24], [24, 24]])


@pytest.mark.parametrize(
    ("data", "iter_size", "single"),
    [
        ("", 1, "batch_size: 1"),
        (", shuffle: true", 3, "batch_size: 1 and the solver's iter_size: 1"),
    ],
)
def test_the_message_names_two_images_their_sizes_and_the_remedy(
    data: str, iter_size: int, single: str, project: Any
) -> None:
    with pytest.raises(DataError) as caught:
        refuse_sizes(plan_of(project, data, iter_size=iter_size), "train", ONE_LARGER)
    message, hint = str(caught.value).split("\n")
    assert message.startswith("training images of one batch differ in size: train")
    assert "train2.png is 11 x 17" in message and " is 24 x 24" in message
    assert hint == f"  set new_height and new_width, or crop_size, or {single}"


def test_the_message_says_whether_training_or_test_images_are_meant(project: Any) -> None:
    with pytest.raises(DataError, match=r"^test images of one batch differ in size: val"):
        refuse_sizes(plan_of(project, "", iter_size=1), "test", np.array([[24, 24], [11, 17]]))


def test_single_images_may_differ_but_not_within_an_iteration(project: Any) -> None:
    project.write_spec(LAYERS)
    spec = load_net(project.spec, ["data.train.batch_size=1"])
    for iter_size in (1, 2):
        plan = make_plan(spec, Solver(base_lr=0.1, max_iter=9, iter_size=iter_size))
        if iter_size == 1:
            refuse_sizes(plan, "train", ONE_LARGER)
            continue
        with pytest.raises(DataError, match=r"images of one iteration .*\n.* or the solver's iter_size: 1$"):
            refuse_sizes(plan, "train", ONE_LARGER)


def test_a_test_takes_as_many_batches_as_it_is_told(project: Any) -> None:
    last = np.array([[24, 24], [24, 24], [11, 17]])
    with pytest.raises(DataError, match=r"val2\.png is 11 x 17, val0\.png is 24 x 24"):
        refuse_sizes(plan_of(project), "test", last)
    refuse_sizes(plan_of(project, test_iter=1), "test", last)


def test_one_size_for_all_is_no_mixture(project: Any) -> None:
    refuse_sizes(plan_of(project, ", new_height: 8, new_width: 8"), "train", ONE_LARGER)
    refuse_sizes(plan_of(project, ", crop_size: 8"), "train", ONE_LARGER)


def test_an_image_smaller_than_the_crop_is_named(project: Any) -> None:
    plan = plan_of(project, ", crop_size: [12, 12]")
    Image.new("RGB", (17, 11)).save(project.folder / "train2.png")
    Image.new("L", (17, 11)).save(project.folder / "train2_label.png")
    with pytest.raises(DataError, match=r"train2\.png .*11 x 17 pixels .*smaller than crop_size 12 x 12"):
        refuse_sizes(plan, "train", ONE_LARGER)


def test_a_step_is_made_once_for_each_size(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []

    def make(graph: Any, *arguments: Any, **named: Any) -> Any:
        made.append(graph.inputs["data"].shape)
        return lambda state, batches, iteration: (state, iteration)

    monkeypatch.setattr(sizing, "make_step", make)
    step: Any = make_sized_step(plan_of(project), None, "float32")  # type: ignore[arg-type]

    class Batches:
        def __init__(self, *size: int):
            self.data = np.zeros((1, 2, *size, 3))

    for size in ((24, 24), (8, 9), (24, 24), (8, 9)):
        assert step("state", Batches(*size), 3) == ("state", 3)
    assert made == [(2, 24, 24, 3), (2, 8, 9, 3)]


@pytest.mark.usefixtures("quick")
class TestSizes:
    """Images that are neither resized nor cropped."""

    def shrink(self, project: Any, size: tuple[int, int]) -> None:
        for name in ("train1.png", "train1_label.png"):
            path = project.folder / name
            Image.open(path).crop((0, 0, *size)).save(path)

    def test_are_trained_on_one_by_one_each_at_its_own(self, project: Any, tmp_path: Path) -> None:
        self.shrink(project, (17, 11))
        more = ("--set", "data.train.batch_size=1", "--solver-set", "iter_size=1")
        assert train(project, tmp_path / "run", *more) == 0

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ((), "images of one batch differ in size"),
            (("--set", "data.train.batch_size=1"), "images of one iteration differ in size"),
        ],
    )
    def test_cannot_share_an_iteration(
        self, more: tuple[str, ...], message: str, project: Any, tmp_path: Path, capsys: Any
    ) -> None:
        self.shrink(project, (17, 11))
        assert train(project, tmp_path / "run", *more) == 1
        told = capsys.readouterr().err
        assert message in told
        assert "set new_height and new_width" in told
        assert not (tmp_path / "run").exists(), "told before anything is made"

    def test_that_the_net_does_not_allow_are_named(self, project: Any, tmp_path: Path, capsys: Any) -> None:
        self.shrink(project, (17, 11))
        project.write_spec(
            "  - InnerProduct: {name: fc, num_output: 1152}\n"
            "  - Reshape: {shape: [0, 2, 24, 24]}\n"
            "  - SoftmaxWithLoss\n"
        )
        more = ("--set", "data.train.batch_size=1", "--solver-set", "iter_size=1")
        assert train(project, tmp_path / "run", *more) == 1
        assert "train1.png: the net does not fit this image: " in capsys.readouterr().err
