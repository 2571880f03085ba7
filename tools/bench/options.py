"""What the command line asks of a bench."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from bench.contest import Rules

Size = tuple[int, int]


@dataclass(frozen=True)
class Options:
    """What is measured, and how.

    Attributes:
        networks: of `bench.net_task.SPECS`.
        sizes: (height, width) of images.
        batches: images in a batch.
        precisions: `float32`, `high`, `bfloat16`.
        device: `cpu` or `gpu`.
        contestants: names; empty: those that take part by themselves.
        data: a folder with `train.txt` for the loaders, or None: one is drawn.
        torch_python: the Python that has PyTorch.
        rules: of every contest.
        quick: everything small.
    """

    networks: tuple[str, ...] = ("segnet", "segnet-basic")
    sizes: tuple[Size, ...] = ((180, 240), (360, 480))
    batches: tuple[int, ...] = (1,)
    precisions: tuple[str, ...] = ("float32", "high", "bfloat16")
    device: str = "cpu"
    contestants: tuple[str, ...] = ()
    data: Path | None = None
    torch_python: str = sys.executable
    rules: Rules = Rules()  # noqa: RUF009, it is frozen
    quick: bool = False


QUICK = Options(
    networks=("segnet-basic",),
    sizes=((45, 60),),
    precisions=("float32",),
    contestants=("segspec", "torch-nchw", "torch-channels-last"),
    quick=True,
)
"""Small enough to end within about a minute a suite; its figures only show that the bench works."""


def quickened(rules: Rules) -> Rules:
    """The rules with few and short turns."""
    return replace(rules, rounds=2, turn_seconds=0.05)
