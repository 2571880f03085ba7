"""The page that grows a network step by step: each step checks, also at an odd size, and costs what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segspec.errors import Source
from segspec.graph.build import build
from segspec.graph.graph import Graph
from segspec.graph.inputs import net_inputs
from segspec.graph.summary import summarize
from segspec.spec.library import shipped
from segspec.spec.net import read_net

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "networks.md").read_text(encoding="utf-8")
STEPS = {match[2]: match[1] for match in re.finditer(r"```yaml\n(segspec: 1\nname: (\w+)\n.*?)```", PAGE, re.DOTALL)}
COSTS = {row[0]: (row[1], row[2]) for row in re.findall(r"^\| (step\d) \| ([\d,]+) \| (\S+) \|$", PAGE, re.MULTILINE)}


def graph(name: str, size: tuple[int, int] | None = None) -> Graph:
    spec = read_net(Source(f"{name}.yaml", STEPS[name]), shipped("specs"))
    return build(spec, "TRAIN", net_inputs(spec, size))


def test_the_page_has_seven_steps_and_says_what_each_costs() -> None:
    assert list(STEPS) == list(COSTS) == [f"step{number}" for number in range(1, 8)]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_costs_what_the_page_says(name: str) -> None:
    summary = summarize(graph(name))
    assert summary.scores is not None
    seen = "x".join(map(str, summary.scores[1].extent))
    assert (f"{summary.parameters:,}", seen) == COSTS[name]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_fits_an_odd_size(name: str) -> None:
    net = graph(name, (101, 203))
    assert net.blobs["score"].shape == (1, 101, 203, 11)
