"""A picture and its label, drawn together through the eyes of a camera in a street."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Color = tuple[float, float, float]
Point = tuple[float, float]

OVERSAMPLING = 2
CAMERA_HEIGHT = 1.6
HAZE_METRES = 90.0


@dataclass(frozen=True)
class Canvas:
    """A drawing surface in front of a camera that looks along a road.

    Places are metres: x to the right of the camera, y above the ground, z ahead. The surface has twice the resolution
    of the result, which smooths edges in the image; labels stay sharp.

    Attributes:
        image: uint8 (2 height, 2 width, 3) in blue, green, red.
        label: uint8 (2 height, 2 width).
        center: (x, y) in pixels of the point where parallels to the road meet.
        focal: pixels that one metre spans at one metre's distance.
        haze: the colour that things fade to with distance.
    """

    image: np.ndarray
    label: np.ndarray
    center: Point
    focal: float
    haze: Color

    def project(self, x: float, y: float, z: float) -> Point:
        """The pixel at which a place appears."""
        scale = self.focal / z
        return (self.center[0] + x * scale, self.center[1] - (y - CAMERA_HEIGHT) * scale)

    def faded(self, color: Color, z: float) -> tuple[int, int, int]:
        """A colour as it looks from this distance."""
        clear = math.exp(-z / HAZE_METRES)
        blue, green, red = self.haze
        return (
            int(blue + (color[0] - blue) * clear),
            int(green + (color[1] - green) * clear),
            int(red + (color[2] - red) * clear),
        )

    def polygons(
        self, shapes: Sequence[Sequence[Point]] | np.ndarray, color: Color, z: float, label: int | None
    ) -> None:
        """Fills polygons, given in pixels; a label of None leaves the labels as they are."""
        corners = [np.array(shape, np.int32) for shape in shapes]
        cv2.fillPoly(self.image, corners, self.faded(color, z))
        if label is not None:
            cv2.fillPoly(self.label, corners, (label,))

    def quad(self, places: Sequence[tuple[float, float, float]], color: Color, label: int | None) -> None:
        """Fills a polygon whose corners are places."""
        nearest = min(place[2] for place in places)
        self.polygons([[self.project(*place) for place in places]], color, nearest, label)

    def board(self, x: float, z: float, outline: Sequence[Point], color: Color, label: int | None) -> None:
        """Fills an upright polygon that faces the camera; its corners are (metres right of x, metres above ground)."""
        scale = self.focal / z
        left, ground = self.project(x, 0, z)
        self.polygons([[(left + dx * scale, ground - dy * scale) for dx, dy in outline]], color, z, label)

    def disc(self, x: float, y: float, z: float, radius: float, color: Color, label: int | None) -> None:
        """Fills a disc that faces the camera, of at least one pixel."""
        across, down = self.project(x, y, z)
        center, pixels = (round(across), round(down)), max(1, round(radius * self.focal / z))
        cv2.circle(self.image, center, pixels, self.faded(color, z), -1)
        if label is not None:
            cv2.circle(self.label, center, pixels, (label,), -1)

    def stroke(self, x: float, z: float, path: Sequence[Point], width: float, color: Color, label: int) -> None:
        """Draws a line through points given as (metres right of x, metres above ground), at least two pixels wide."""
        scale = self.focal / z
        left, ground = self.project(x, 0, z)
        corners = [np.array([(left + dx * scale, ground - dy * scale) for dx, dy in path], np.int32)]
        pixels = max(OVERSAMPLING, round(width * scale))
        cv2.polylines(self.image, corners, False, self.faded(color, z), pixels)
        cv2.polylines(self.label, corners, False, (label,), pixels)

    def ring(self, x: float, y: float, z: float, radius: float, width: float, color: Color, label: int) -> None:
        """Draws a circle that faces the camera."""
        across, down = self.project(x, y, z)
        center, pixels = (round(across), round(down)), max(1, round(radius * self.focal / z))
        line = max(OVERSAMPLING, round(width * self.focal / z))
        cv2.circle(self.image, center, pixels, self.faded(color, z), line)
        cv2.circle(self.label, center, pixels, (label,), line)


def varied(rng: np.random.Generator, color: Color, spread: float) -> Color:
    """A colour near this one."""
    blue, green, red, light = rng.normal(0, spread, 4).tolist()
    return (
        min(255.0, max(0.0, color[0] + blue / 2 + light)),
        min(255.0, max(0.0, color[1] + green / 2 + light)),
        min(255.0, max(0.0, color[2] + red / 2 + light)),
    )


def darker(color: Color, factor: float) -> Color:
    """A colour multiplied by a factor."""
    return (color[0] * factor, color[1] * factor, color[2] * factor)
