"""The tool that trains the shipped networks for a moment, on two small ones."""

from __future__ import annotations

from typing import Any

import pytest
import smoke_specs as tool


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_basic_no_addition", "squares_deep"])
def test_a_small_network_learns_two_street_scenes(name: str, capsys: Any) -> None:
    assert tool.main([name, "--size", "32x48"]) == 0
    assert name in capsys.readouterr().out


def test_a_loss_that_does_not_fall_is_said() -> None:
    assert not tool.Trial("net", 1, 2.0, 1.9, 0.0).falls
    assert not tool.Trial("net", 1, 2.0, float("nan"), 0.0).falls
    assert tool.Trial("net", 1, 2.0, 1.9, 0.0).row().endswith("does not fall")
    assert tool.Trial("net", 1, 2.0, 1.0, 0.0).falls
