"""The ways in which an image is shown to a net whose answers are then averaged: test-time augmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from segspec.errors import UsageError, did_you_mean

LEAST, GREATEST = 0.1, 8.0
"""The scales that make sense; a mistyped one would fill the memory."""


class View(NamedTuple):
    """One way to show an image.

    Attributes:
        scale: factor of its height and width.
        mirrored: whether left and right are exchanged.
    """

    scale: float = 1.0
    mirrored: bool = False


@dataclass(frozen=True)
class Views:
    """All ways in which an image is shown: at each scale, the first of which is 1; with `flip` mirrored too."""

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __iter__(self) -> Iterator[View]:
        for scale in self.scales:
            for mirrored in (False, True)[: 1 + self.flip]:
                yield View(scale, mirrored)

    def __len__(self) -> int:
        return len(self.scales) * (1 + self.flip)

    def __str__(self) -> str:
        """What they are, such as `6 views: scales 1, 0.75 and 1.25, each mirrored too`."""
        if len(self) == 1:
            return "1 view"
        *others, last = (f"{scale:g}" for scale in self.scales)
        mirrored = "mirrored too" if self.flip else ""
        if not others:
            return f"{len(self)} views: {mirrored}"
        scales = f"scales {', '.join(others)} and {last}"
        return f"{len(self)} views: {scales}" + (f", each {mirrored}" if self.flip else "")


ONE_VIEW = Views()


def parse_views(text: str) -> Views:
    """The views that `--tta` asks for besides the image itself: `flip`, and scales, with commas between.

    Raises:
        UsageError: something else is written there, or a scale is out of range.
    """
    words = [word.strip() for word in text.split(",")]
    scales = [_scale(word) for word in words if word != "flip"]
    return Views(tuple(dict.fromkeys((1.0, *scales))), flip="flip" in words)


def _scale(word: str) -> float:
    try:
        scale = float(word)
    except ValueError:
        hint = did_you_mean(word, ("flip",)) or "write flip, scales, or both: --tta flip,0.75,1.25"
        raise UsageError(f"--tta takes flip and scales; got '{word}'", hint=hint) from None
    if not (math.isfinite(scale) and LEAST <= scale <= GREATEST):
        raise UsageError(f"a scale of --tta lies between {LEAST:g} and {GREATEST:g}; got '{word}'")
    return scale
