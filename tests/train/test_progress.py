from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from segspec.train import progress
from segspec.train.progress import Progress, Speed, clock, describe_iteration

RECORD = {"iteration": 5, "loss": 0.25, "smoothed_loss": 0.5, "rate": 0.1, "images_per_second": 0.0}
QUICK = {**RECORD, "images_per_second": 12.34, "seconds_per_iteration": 2.0, "waiting": 0.5}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_iteration_is_described_as_far_as_it_is_known() -> None:
    assert describe_iteration(RECORD, 10) == "loss 0.2500 (0.5000)  rate 0.1"
    quick = "loss 0.2500 (0.5000)  rate 0.1  12.3 images/s  0:10 left  50% waiting for data"
    assert describe_iteration(QUICK, 10) == quick
    assert describe_iteration({**QUICK, "miou": 0.712}, 10) == f"{quick}  mIoU 71.2%"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (725, "12:05"), (11400, "3:10:00")]
)
def test_time_is_written_like_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_elsewhere_only_displays_are_printed_and_no_control_characters() -> None:
    stream = io.StringIO()
    with Progress(10, 4, stream) as shown:
        shown.iteration(RECORD, display=True)
        shown.iteration({**RECORD, "iteration": 6}, display=False)
        shown.test({"iteration": 6, "loss": 0.5, "miou": 0.71, "accuracy": 0.9})
        shown.iteration({**RECORD, "iteration": 7}, display=True)
    assert stream.getvalue().splitlines() == [
        "iteration 5/10  loss 0.2500 (0.5000)  rate 0.1",
        "test at 6: mIoU 71.0%  loss 0.5000  accuracy 90.0%",
        "iteration 7/10  loss 0.2500 (0.5000)  rate 0.1",
    ]


def test_at_a_terminal_there_is_one_live_line_with_the_messages_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with Progress(10, 4, stream) as shown:
        shown.iteration(QUICK, display=False)
        shown.test({"iteration": 5, "loss": 0.5, "miou": 0.71, "accuracy": 0.9})
        shown.iteration({**QUICK, "iteration": 6}, display=True)
    text = stream.getvalue()
    assert "compiling ..." in text
    assert "test at 5: mIoU 71.0%  loss 0.5000  accuracy 90.0%" in text
    assert "6/10" in text and "0:08 left" in text and "mIoU 71.0%" in text
    assert "iteration 6/10" not in text, "displays are no lines of their own at a terminal"


@pytest.fixture
def clock_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock."""
    return lambda now: monkeypatch.setattr(progress.time, "monotonic", lambda: now)


def test_the_speed_counts_a_window_of_iterations(clock_at: Callable[[float], None]) -> None:
    speed = Speed(8, window=2)
    assert speed.total_waiting == 0
    paces = []
    for now, waited in ((0.0, 0.0), (10.0, 3.0), (12.0, 0.5), (14.0, 0.5)):
        clock_at(now)
        paces.append(speed.mark(waited))
    assert paces[0] == (0, 0, 0)
    assert paces[1] == (10.0, 0.8, 0.3)
    assert paces[3] == (2.0, 4.0, 0.25), "the slow first iteration has left the window"
    assert speed.total_waiting == 4 / 14


def test_a_test_pass_is_no_part_of_the_speed(clock_at: Callable[[float], None]) -> None:
    speed = Speed(1)
    for now in (0.0, 2.0):
        clock_at(now)
        speed.mark(0.5)
    speed.leave_out(100.0)
    clock_at(104.0)
    assert speed.mark(0.5) == (2.0, 0.5, 0.25)
