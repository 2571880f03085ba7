"""Drawing squares on a textured, noisy background: the smallest data set a segmentation net can learn."""

from __future__ import annotations

import cv2
import numpy as np

MIN_CONTRAST = 60.0


def draw_squares(
    rng: np.random.Generator, height: int, width: int, squares: int = 1, noise: float = 12.0, *, bright: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one to `squares` squares with upright sides, each of one colour that stands out from the background.

    Args:
        rng: source of randomness.
        height, width: size in pixels.
        squares: greatest number of squares.
        noise: standard deviation of the noise added to every value, in grey levels.
        bright: whether every square is brighter than the background; else both may have any colour.

    Returns:
        uint8 image (height, width, 3) in blue, green, red, and uint8 label (height, width): 0 background, 1 square.
    """
    background = rng.uniform(20, 120 if bright else 235, 3)
    image = background + texture(rng, height, width, 14.0)[..., None] * rng.uniform(0.4, 1.0, 3)
    label = np.zeros((height, width), np.uint8)
    shorter = min(height, width)
    for _ in range(int(rng.integers(1, squares + 1))):
        side = int(rng.integers(max(1, shorter // 8), max(2, shorter // 3)))
        top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
        image[top : top + side, left : left + side] = _standing_out(rng, background, bright=bright)
        label[top : top + side, left : left + side] = 1
    image += rng.normal(0, noise, image.shape)
    return image.clip(0, 255).astype(np.uint8), label


def texture(rng: np.random.Generator, height: int, width: int, strength: float) -> np.ndarray:
    """Smooth random blotches of this strength: float (height, width) around 0."""
    coarse = rng.normal(0, strength, (max(2, height // 12), max(2, width // 12))).astype(np.float32)
    smooth: np.ndarray = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return smooth


def _standing_out(rng: np.random.Generator, background: np.ndarray, *, bright: bool) -> np.ndarray:
    """A colour that differs from the background by at least `MIN_CONTRAST`: in brightness, or in any channel's mean."""
    while True:
        color = rng.uniform(0, 255, 3)
        difference = (color - background).mean() if bright else np.abs(color - background).mean()
        if difference >= MIN_CONTRAST:
            return color
