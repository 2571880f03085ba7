"""The bars that segspec is to meet, and whether a bench's contests meet them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.results import Contest
from bench.suite_scaling import find_growths

PRECISIONS = ("float32", "high", "bfloat16")
SIZES = ((180, 240), (360, 480))
NETWORKS = ("segnet", "segnet-basic")
FIRST_LOSS_SIZE = (180, 240)
SLOPE_BAR = 0.1
"""How far from 1 an exponent of growth may be."""


class Figure(NamedTuple):
    """One measured number that a bar applies to, and of what it is."""

    value: float
    of: str


@dataclass(frozen=True)
class Cell:
    """A bar, and the figures that are to meet it.

    Attributes:
        bar: the greatest value allowed, or the least.
        figures: what was measured.
        expected: how many there are when everything was measured.
        least: whether the bar is the least value allowed.
        unit: written behind values.
    """

    bar: float
    figures: tuple[Figure, ...]
    expected: int
    least: bool = False
    unit: str = ""

    @property
    def worst(self) -> Figure | None:
        """The figure that meets the bar least."""
        choose = min if self.least else max
        return choose(self.figures, key=lambda figure: figure.value, default=None)

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, `not measured`, or `incomplete` where what was measured passes."""
        worst = self.worst
        if worst is None:
            return "not measured"
        if worst.value < self.bar if self.least else worst.value > self.bar:
            return "fail"
        return "pass" if len(self.figures) >= self.expected else "incomplete"

    @property
    def text(self) -> str:
        """Such as `0.93 <= 1.0 pass (worst of 4: segnet 360x480)`."""
        sign = f"{'>=' if self.least else '<='} {self.bar:g}{self.unit}"
        if self.worst is None:
            return f"{sign}: not measured"
        count = f"{len(self.figures)} of {self.expected}" if self.verdict == "incomplete" else f"{len(self.figures)}"
        return f"{self.worst.value:.3g}{self.unit} {sign} **{self.verdict}** (worst of {count}: {self.worst.of})"


Row = tuple[str, tuple[tuple[Cell, ...], ...]]
"""What is measured, and the cells of each column."""


def main_rows(contests: Sequence[Contest]) -> list[Row]:
    """The ratios of time, ours over PyTorch's best; the columns are PRECISIONS."""
    return [
        ("SegNet and SegNet-Basic train, 180x240 and 360x480", _nets_row(contests, "train", (1.0, 0.55, 0.85))),
        ("inference", _nets_row(contests, "infer", (0.85, 0.45, 0.70))),
        ("pure JAX without the native kernel, train / infer", (_pure(contests), (), ())),
        ("GPU train / infer (bf16 or tf32, like with like)", (_gpu(contests), (), ())),
    ]


def further_rows(contests: Sequence[Contest]) -> list[Row]:
    """What is asked besides: memory, growth, start, loading; in one column."""
    memory = [(f"peak memory in training, {name}: over PyTorch's", _memory(contests, name)) for name in PRECISIONS]
    cells = [
        *memory,
        ("time grows linearly with pixels and batch: distance of the slope from 1", _slope(contests, memory=False)),
        ("memory grows linearly with pixels and batch: distance of the slope from 1", _slope(contests, memory=True)),
        ("`segspec --help`", _command(contests, "--help", 0.1)),
        ("`segspec check` of SegNet", _command(contests, "check", 1.5)),
        ("`segspec train` until the first loss of SegNet at 180x240, warm cache", _command(contests, "train, warm", 6)),
        ("images/s over torch DataLoader's", _loading(contests)),
    ]
    return [(title, ((cell,),)) for title, cell in cells]


def _nets_row(contests: Sequence[Contest], action: str, bars: tuple[float, ...]) -> tuple[tuple[Cell, ...], ...]:
    found = zip(PRECISIONS, bars, strict=True)
    return tuple((_ratios(contests, action, (precision,), "cpu", "segspec", bar),) for precision, bar in found)


def _pure(contests: Sequence[Contest]) -> tuple[Cell, ...]:
    bars = (("train", 1.3), ("infer", 1.0))
    return tuple(_ratios(contests, action, ("float32",), "cpu", "pure-jax", bar) for action, bar in bars)


def _gpu(contests: Sequence[Contest]) -> tuple[Cell, ...]:
    """TF32 is what `high` means there."""
    return tuple(_ratios(contests, action, PRECISIONS[1:], "gpu", "segspec", 0.9) for action in ("train", "infer"))


def _nets(contests: Sequence[Contest], action: str, precision: str, device: str) -> Iterator[tuple[Contest, str]]:
    """The contests between networks that bars are about, with what they are called."""
    for contest in contests:
        task = contest.task
        asked = contest.suite == action and task["batch"] == 1 and tuple(task["size"]) in SIZES
        if asked and (task["precision"], task["device"]) == (precision, device):
            yield contest, f"{task['network']} {task['size'][0]}x{task['size'][1]}"


def _ratios(
    contests: Sequence[Contest], action: str, precisions: Sequence[str], device: str, name: str, bar: float
) -> Cell:
    figures = [
        Figure(ratio.spread.median, of)
        for precision in precisions
        for contest, of in _nets(contests, action, precision, device)
        if (ratio := contest.ratio(name)) is not None
    ]
    return Cell(bar, tuple(figures), len(SIZES) * len(NETWORKS) * len(precisions))


def _memory(contests: Sequence[Contest], precision: str) -> Cell:
    """Of `train`, on whichever device."""
    found = [pair for device in ("cpu", "gpu") for pair in _nets(contests, "train", precision, device)]
    figures = [Figure(ratio, of) for contest, of in found if (ratio := contest.memory_ratio("segspec")) is not None]
    return Cell(1.0, tuple(figures), len(SIZES) * len(NETWORKS))


def _slope(contests: Sequence[Contest], *, memory: bool) -> Cell:
    figures = []
    for growth in find_growths(contests):
        slope = growth.memory if memory else growth.time
        if growth.name == "segspec" and slope is not None:
            figures.append(Figure(abs(slope - 1), f"{growth.network} by {growth.axis}, {slope:.2f}"))
    return Cell(SLOPE_BAR, tuple(figures), 2 * len(NETWORKS))


def _command(contests: Sequence[Contest], command: str, bar: float) -> Cell:
    name = "segspec-train" if "train" in command else "segspec"
    figures = [
        Figure(entry.median, "segnet")
        for contest in contests
        if contest.suite == "startup" and contest.task["command"] == command and contest.task["network"] == "segnet"
        if tuple(contest.task.get("size", FIRST_LOSS_SIZE)) == FIRST_LOSS_SIZE
        if (entry := contest.entry(name)) is not None
    ]
    return Cell(bar, tuple(figures), 1, unit=" s")


def _loading(contests: Sequence[Contest]) -> Cell:
    figures = [
        Figure(1 / ratio.spread.median, contest.task["variant"])
        for contest in contests
        if contest.suite == "data" and (ratio := contest.ratio("segspec")) is not None
    ]
    return Cell(1.1, tuple(figures), 2, least=True)
