"""The tool that trains the shipped networks for a moment, on two small ones, and the page that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import smoke_specs as tool

PAGE = tool.SPECS / "SMOKE.md"
SHOWN = {trial.name: trial for trial in tool.read_page(PAGE.read_text(encoding="utf-8"))}
TRIALS = (
    tool.Trial("enet", 372_031, 2.7570, 2.4112, tool.Setting()),
    tool.Trial("pspnet depth=6", 46_704_150, 3.25, 0.5, tool.Setting((64, 96), 1, 0.0003)),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_basic_no_addition", "squares_deep"])
def test_a_small_network_learns_two_street_scenes(name: str, capsys: Any) -> None:
    assert tool.main([name, "--size", "32x48"]) == 0
    assert name in capsys.readouterr().out


def test_a_loss_that_does_not_fall_is_said() -> None:
    def trial(last: float) -> tool.Trial:
        return tool.Trial("net", 1, 2.0, last, tool.Setting())

    assert not trial(1.9).falls
    assert not trial(float("nan")).falls
    assert trial(1.9).line().endswith("does not fall")
    assert trial(1.0).falls


def test_a_page_is_read_back() -> None:
    assert tuple(tool.read_page(tool.page(reversed(TRIALS)))) == TRIALS
    assert tuple(tool.read_page(tool.page(()))) == ()


@pytest.mark.slow
def test_results_are_put_into_the_page_and_resuming_passes_over_them(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "page.md"
    path.write_text(tool.page(TRIALS))
    arguments = ["segnet_squares", "--size", "16x16", "--iterations", "3", "--page", str(path), "--resume"]
    tool.main(arguments)
    enet, pspnet, squares = tool.read_page(path.read_text())
    assert (enet, pspnet) == TRIALS
    assert (squares.name, squares.setting.size) == ("segnet_squares", (16, 16))
    capsys.readouterr()
    tool.main(arguments)
    assert "segnet_squares" not in capsys.readouterr().out
    path.write_text(path.read_text().replace(f"{squares.parameters:,}", "1"))
    tool.main(arguments)
    assert "segnet_squares" in capsys.readouterr().out


@pytest.mark.parametrize("trial", SHOWN.values(), ids=SHOWN)
def test_the_page_shows_networks_that_learn_as_they_are_now(trial: tool.Trial) -> None:
    """Where this fails: python tools/smoke_specs.py --below 1000 --page specs/SMOKE.md --resume."""
    (entry,) = (entry for entry in tool.entries() if entry.name == trial.name)
    assert trial.falls
    assert trial.parameters == tool.graph_of(entry, trial.setting).parameters
    assert trial.setting == entry.setting


def test_the_page_is_as_the_tool_writes_it() -> None:
    assert tool.page(SHOWN.values()) == PAGE.read_text(encoding="utf-8")


def test_a_page_says_which_networks_it_lacks() -> None:
    lacking = tool.page(TRIALS).partition("Not tried yet: ")[2].rstrip(".\n").split(", ")
    assert set(lacking) == {entry.name for entry in tool.entries()} - {"enet", "pspnet depth=6"}
    every = [tool.Trial(entry.name, 1, 2.0, 1.0, entry.setting) for entry in tool.entries()]
    assert "Not tried" not in tool.page(every)
