"""What a person sees while a net trains: one live line at a terminal, one line a display elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Record = dict[str, float]


class Speed:
    """Images a second over the last iterations, and what share of the time was spent waiting for data."""

    def __init__(self, images: int, window: int = 20):
        self.images = images
        self.marks: deque[tuple[float, float]] = deque(maxlen=window + 1)

    def mark(self, waited: float) -> None:
        """Notes the end of an iteration; `waited` is the total of seconds spent waiting for data so far."""
        self.marks.append((time.monotonic(), waited))

    @property
    def seconds(self) -> float:
        """Seconds an iteration; 0 before two have ended."""
        if len(self.marks) < 2:
            return 0.0
        return (self.marks[-1][0] - self.marks[0][0]) / (len(self.marks) - 1)

    @property
    def rate(self) -> float:
        """Images a second; 0 before two iterations have ended."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time, 0..1, that the step waited for images."""
        if len(self.marks) < 2 or not self.seconds:
            return 0.0
        elapsed = self.marks[-1][0] - self.marks[0][0]
        return min(1.0, max(0.0, (self.marks[-1][1] - self.marks[0][1]) / elapsed))


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
