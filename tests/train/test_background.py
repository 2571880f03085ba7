"""Jobs beside the training: one at a time, and no failure is lost."""

from __future__ import annotations

import threading

import pytest

from segspec.train.background import Background


def test_a_job_runs_beside_and_the_next_one_waits_for_it() -> None:
    may_end, seen = threading.Event(), []

    def job() -> None:
        may_end.wait(10)
        seen.append("first")

    with Background("jobs") as background:
        background.submit(job)
        assert background.busy and not seen
        background.check()
        may_end.set()
        background.submit(lambda: seen.append("second"))
        assert seen[0] == "first"
        background.wait()
        assert seen == ["first", "second"] and not background.busy


def fail() -> None:
    raise OSError("disk full")


def test_what_a_job_raises_is_raised_once_by_whoever_asks_next() -> None:
    with Background("jobs") as background:
        for ask in (background.wait, lambda: background.submit(fail)):
            background.submit(fail)
            with pytest.raises(OSError, match="disk full"):
                ask()
            background.check()


def test_the_end_waits_for_the_job_and_tells_of_its_failure() -> None:
    seen: list[str] = []
    with Background("jobs") as background:
        background.submit(lambda: seen.append("done"))
    assert seen == ["done"]
    with pytest.raises(OSError, match="disk full"), Background("jobs") as background:
        background.submit(fail)


def test_another_failure_is_not_hidden_by_that_of_a_job() -> None:
    def diverge() -> None:
        with Background("jobs") as background:
            background.submit(fail)
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        diverge()
