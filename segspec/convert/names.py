"""Names that nothing else has."""

from __future__ import annotations

from collections.abc import Container


def free_name(name: str, taken: Container[str], between: str = "") -> str:
    """The name, with a number from 2 on behind it where it is taken.

    Args:
        name: what it should be.
        taken: names that are given already.
        between: what stands before the number.
    """
    number, free = 2, name
    while free in taken:
        free = f"{name}{between}{number}"
        number += 1
    return free
