"""What a person sees while a net trains: one live line at a terminal, one line a display elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Record = dict[str, float]


class Pace(NamedTuple):
    """How fast a training is at one moment.

    Attributes:
        seconds: of one iteration; 0 before two have ended.
        rate: images a second; 0 before two iterations have ended.
        waiting: share of the time, 0..1, that the training waited for images.
    """

    seconds: float
    rate: float
    waiting: float


class _Mark(NamedTuple):
    """The end of an iteration: when it was, tests left out, and the seconds spent waiting so far."""

    time: float
    waited: float


class Speed:
    """Images a second over the last iterations, and what share of the time was spent waiting for images.

    The first iteration, which compiles, and tests do not count.
    """

    def __init__(self, images: int, window: int = 20):
        self.images = images
        self._marks: deque[_Mark] = deque(maxlen=window + 1)
        self._first: _Mark | None = None
        self._left_out = 0.0
        self._waited = 0.0

    def mark(self, waited: float) -> Pace:
        """Notes the end of an iteration, and the seconds that were then waited for the images of the next."""
        self._waited += waited
        mark = _Mark(time.monotonic() - self._left_out, self._waited)
        self._first = self._first or mark
        self._marks.append(mark)
        seconds = (mark.time - self._marks[0].time) / max(1, len(self._marks) - 1)
        return Pace(seconds, self.images / seconds if seconds else 0.0, _waiting(self._marks[0], mark))

    def leave_out(self, seconds: float) -> None:
        """Says that so much time went into something else than iterations."""
        self._left_out += seconds

    @property
    def total_waiting(self) -> float:
        """Share of the time of all iterations, 0..1, that was spent waiting for images."""
        return _waiting(self._first, self._marks[-1]) if self._first else 0.0


def _waiting(start: _Mark, end: _Mark) -> float:
    elapsed = end.time - start.time
    return min(1.0, (end.waited - start.waited) / elapsed) if elapsed > 0 else 0.0


def describe_iteration(record: Record, iterations: int) -> str:
    """`loss 0.312 (0.345)  rate 0.1  12.3 images/s  0:42 left  mIoU 71.2 %`, as far as the record knows."""
    parts = [f"loss {record['loss']:.4f} ({record['smoothed_loss']:.4f})", f"rate {record['rate']:.3g}"]
    if record.get("images_per_second"):
        parts.append(f"{record['images_per_second']:.1f} images/s")
        left = (iterations - record["iteration"]) * record["seconds_per_iteration"]
        parts.append(f"{clock(left)} left")
    if record.get("waiting", 0.0) > 0.02:
        parts.append(f"{record['waiting']:.0%} waiting for data")
    if "miou" in record:
        parts.append(f"mIoU {record['miou']:.1%}")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """`0:42`, `12:05` or `3:10:00`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Progress:
    """Shows iterations and messages on standard error; a context manager, so that the line is left in order."""

    def __init__(self, iterations: int, first: int = 0, stream: TextIO | None = None):
        self.iterations = iterations
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self._bar = _live_bar(self.stream, iterations, first) if self.live else None
        self._last: Record = {}

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def iteration(self, record: Record, *, display: bool) -> None:
        """Shows one finished iteration; away from a terminal only those of the solver's `display`."""
        self._last = {**{key: value for key, value in self._last.items() if key == "miou"}, **record}
        if self._bar is not None:
            text = describe_iteration(self._last, self.iterations)
            self._bar.update(self._bar.task_ids[0], completed=int(record["iteration"]), text=text)
        elif display:
            number = f"{int(record['iteration'])}/{self.iterations}"
            print(f"iteration {number}  {describe_iteration(record, self.iterations)}", file=self.stream, flush=True)

    def test(self, record: Record) -> None:
        """Shows the outcome of a test pass."""
        self._last["miou"] = record["miou"]
        loss = f"  loss {record['loss']:.4f}" if "loss" in record else ""
        self.note(
            f"test at {int(record['iteration'])}: mIoU {record['miou']:.1%}{loss}  accuracy {record['accuracy']:.1%}"
        )

    def note(self, text: str) -> None:
        """A message of its own line, above the live one."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)


def _live_bar(stream: TextIO, iterations: int, first: int) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    bar = Bar(*columns, console=Console(file=stream), refresh_per_second=5)
    bar.add_task("", total=iterations, completed=first, text="compiling ...")
    return bar
