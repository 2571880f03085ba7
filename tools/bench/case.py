"""A task that a worker has made ready to be done again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Memory(NamedTuple):
    """Bytes that are held now, and the most that ever were."""

    held: int
    peak: int


def _nothing() -> None:
    return None


@dataclass
class Case:
    """A task made ready.

    Attributes:
        step: does it once and returns when it is done, on the device too; a loss, or None.
        info: what is told of it, such as the net's parameters.
        begin_turn: called, outside the time, before a turn.
        device_memory: bytes held now, and at most so far, on a device with memory of its own; None where that is the
            process's.
        last: what the last step returned.
    """

    step: Callable[[], float | None]
    info: Mapping[str, Any] = field(default_factory=dict)
    begin_turn: Callable[[], None] = _nothing
    device_memory: Callable[[], Memory | None] = _nothing
    last: float | None = None
