"""A trainer killed by force: nothing that it had kept is lost, and what follows is as if it had not been killed."""

from __future__ import annotations

from pathlib import Path

import kill_train as tool
import pytest


@pytest.mark.slow
def test_a_training_killed_three_times_is_the_one_left_alone(tmp_path: Path) -> None:
    assert tool.kill_and_compare(tmp_path, kills=3, seed=1) >= 1


def test_the_tool_notices_a_difference(tmp_path: Path) -> None:
    for name, loss in (("a", 0.5), ("b", 0.25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text(f'{{"iteration": 1, "loss": {loss}}}\n')
    with pytest.raises(AssertionError, match="a loss is different"):
        tool.compare(tmp_path / "a", tmp_path / "b")
