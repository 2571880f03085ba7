"""What signals mean to a training: stop in order, or keep what there is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Wishes:
    """What was asked for by signals since the last look.

    Attributes:
        stop: the signal that asks to stop after the iteration under way, or 0.
        snapshot: whether a snapshot is wanted.
    """

    stop: int = 0
    snapshot: bool = False


@contextmanager
def listen() -> Iterator[Wishes]:
    """Within this context SIGINT and SIGTERM ask to stop, SIGHUP asks for a snapshot; a second SIGINT stops at once."""
    wishes = Wishes()

    def stop(number: int, frame: FrameType | None) -> None:
        wishes.stop = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def keep(number: int, frame: FrameType | None) -> None:
        wishes.snapshot = True

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: keep}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield wishes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
