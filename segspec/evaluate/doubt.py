"""Whether a net that is asked several times doubts where it is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segspec.evaluate.confusion import Labels


@dataclass
class Doubt:
    """Sums over pixels: first those that are predicted rightly, then mistakes.

    Attributes:
        uncertainty: the summed uncertainty of each kind of pixel.
        pixels: how many there are of each.
    """

    uncertainty: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    def add(self, uncertainty: npt.NDArray[np.float32], prediction: Labels, label: Labels, ignored: int | None) -> None:
        """Counts the labelled pixels of one image; all arrays are (height, width)."""
        counted = np.ones(label.shape, bool) if ignored is None else label != ignored
        wrong = (prediction != label)[counted].astype(np.int64)
        self.uncertainty += np.bincount(wrong, weights=uncertainty[counted], minlength=2)
        self.pixels += np.bincount(wrong, minlength=2)

    def as_text(self) -> str:
        """The means in one line."""
        words = (
            f"{mean:.3f} over {kind}" if count else f"no {kind}"
            for mean, count, kind in zip(
                self.uncertainty / np.maximum(self.pixels, 1), self.pixels, ("right pixels", "mistakes"), strict=True
            )
        )
        return f"mean uncertainty: {', '.join(words)}"
