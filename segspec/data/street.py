"""Drawing a street: sky, houses, road and pavements in perspective, and what is in it, in CamVid's classes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np

from segspec.data.canvas import OVERSAMPLING, Canvas, Color, darker, varied
from segspec.data.squares import texture
from segspec.data.street_things import (
    BUILDING,
    PAVEMENT,
    ROAD,
    SKY,
    VOID,
    draw_bicyclist,
    draw_bin,
    draw_car,
    draw_fence,
    draw_lamp,
    draw_pedestrian,
    draw_sign,
    draw_tree,
)

KERB, HOUSES = 4.2, 7.6
NEAR, FAR = 1.2, 400.0
WINDOWS_UNTIL = 45.0
FORECOURT: Color = (112, 126, 124)
WALLS: tuple[Color, ...] = (
    (110, 130, 165),
    (70, 85, 140),
    (150, 165, 180),
    (120, 125, 130),
    (95, 120, 155),
    (165, 185, 200),
    (90, 95, 115),
)
SKIES: tuple[tuple[Color, Color], ...] = (
    ((215, 160, 105), (240, 225, 205)),
    ((190, 185, 180), (228, 226, 224)),
    ((205, 150, 120), (175, 205, 245)),
)
Draw = Callable[[Canvas, np.random.Generator, float, float], None]


def draw_street(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws a street scene.

    Args:
        rng: source of randomness.
        height, width: size in pixels.

    Returns:
        uint8 image (height, width, 3) in blue, green, red, and uint8 label (height, width): CamVid's classes 0 to 10,
        and 11 for void.
    """
    canvas = _sky(rng, height * OVERSAMPLING, width * OVERSAMPLING)
    _strip(canvas, -80.0, 80.0, FORECOURT, PAVEMENT)
    for side in (-1.0, 1.0):
        _houses(canvas, rng, side)
    _ground(canvas, rng)
    for z, x, draw in sorted(_things(rng), key=lambda thing: -thing[0]):
        draw(canvas, rng, x, z)
    if rng.random() < 0.3:
        _bonnet(canvas, rng)
    image = cv2.resize(canvas.image, (width, height), interpolation=cv2.INTER_AREA)
    label = canvas.label[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]
    return _photograph(image, rng), np.ascontiguousarray(label)


def _sky(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """An empty canvas under a sky that pales towards the horizon."""
    top, low = SKIES[int(rng.integers(len(SKIES)))]
    horizon = height * rng.uniform(0.42, 0.52)
    rows, columns = max(2, round(horizon) // 4), max(2, width // 4)
    share = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    column = np.array(top, np.float32) * (1 - share) + np.array(low, np.float32) * share
    clouds = texture(rng, rows, columns, 11.0).clip(-6, 30)
    sky = (column[:, None, :] + clouds[..., None]).clip(0, 255).astype(np.uint8)
    image = np.full((height, width, 3), low, np.uint8)
    image[: round(horizon)] = cv2.resize(sky, (width, round(horizon)), interpolation=cv2.INTER_LINEAR)
    center = (width * rng.uniform(0.4, 0.6), horizon)
    return Canvas(image, np.full((height, width), SKY, np.uint8), center, height * 0.95, low)


def _houses(canvas: Canvas, rng: np.random.Generator, side: float) -> None:
    """A row of houses along one side, drawn from far to near, with gaps that show the sky."""
    edges = [rng.uniform(1.5, 6)]
    while edges[-1] < 70:
        edges.append(edges[-1] + rng.uniform(7, 16))
    for near, far in reversed(list(itertools.pairwise(edges))):
        if rng.random() < 0.84:
            _house(canvas, rng, side * HOUSES, max(near, NEAR), far)


def _house(canvas: Canvas, rng: np.random.Generator, x: float, near: float, far: float) -> None:
    wall = varied(rng, WALLS[int(rng.integers(len(WALLS)))], 10)
    if x > 0:
        wall = darker(wall, 0.8)
    floors, gap = int(rng.integers(2, 5)), 3.0
    top = floors * gap + rng.uniform(0.4, 1.4)
    back = x * 2.2
    canvas.quad([(x, 0, near), (x, top, near), (back, top, near), (back, 0, near)], darker(wall, 0.72), BUILDING)
    canvas.quad([(x, 0, near), (x, top, near), (x, top, far), (x, 0, far)], wall, BUILDING)
    canvas.quad([(x, top - 0.35, near), (x, top, near), (x, top, far), (x, top - 0.35, far)], darker(wall, 0.6), None)
    if near < WINDOWS_UNTIL:
        pane, door = varied(rng, (92, 78, 62), 14), varied(rng, (70, 66, 72), 14)
        places = np.arange(near + 0.6, min(far, WINDOWS_UNTIL) - 1.2, rng.uniform(1.8, 2.8))
        if places.size:
            canvas.polygons(_panes(canvas, x, places, 0.5, 1), door, near, None)
            canvas.polygons(_panes(canvas, x, places, 0.9 + gap, floors - 1), pane, near, None)


def _panes(canvas: Canvas, x: float, places: np.ndarray, low: float, floors: int) -> np.ndarray:
    """Corners of windows in pixels (windows, 4, 2): one a metre wide at every place, on every floor."""
    z = places[:, None] + np.array([0.0, 0.0, 1.0, 1.0])
    y = low + 3.0 * np.arange(floors)[:, None, None] + np.array([0.0, 1.5, 1.5, 0.0])
    across, down = canvas.project(x, y, z)
    return np.stack(np.broadcast_arrays(across, down), -1).reshape(-1, 4, 2)


def _ground(canvas: Canvas, rng: np.random.Generator) -> None:
    """Road, pavements with kerbs, and marks on the road."""
    height, width = canvas.label.shape
    ground = round(canvas.center[1])
    stone = varied(rng, (138, 144, 150), 6)
    asphalt = varied(rng, (92, 90, 90), 7)
    reach = HOUSES
    _strip(canvas, -reach, reach, stone, PAVEMENT)
    _strip(canvas, -KERB - 0.15, KERB + 0.15, darker(stone, 1.18), PAVEMENT)
    _strip(canvas, -KERB, KERB, asphalt, ROAD)
    _marks(canvas, rng)
    grain = cv2.merge([texture(rng, height - ground, width, 4.0).astype(np.int16)] * 3)
    canvas.image[ground:] = cv2.add(canvas.image[ground:], grain, dtype=cv2.CV_8U)


def _strip(canvas: Canvas, left: float, right: float, color: Color, label: int | None) -> None:
    """A strip of ground from the camera's feet to the horizon, hazier in the distance."""
    for near, far in ((25.0, FAR), (10.0, 25.0), (0.7, 10.0)):
        canvas.quad([(left, 0, near), (right, 0, near), (right, 0, far), (left, 0, far)], color, label)


def _marks(canvas: Canvas, rng: np.random.Generator) -> None:
    paint: Color = (225, 228, 228)
    start = rng.uniform(0, 5)
    dashes = [(-0.07, 0.07, z, z + 2.2) for z in np.arange(1.2 + start, 60, 5.0).tolist()]
    if rng.random() < 0.35:
        first = rng.uniform(6, 14)
        dashes = [dash for dash in dashes if dash[3] < first or dash[2] > first + 2.6]
        dashes += [(x, x + 0.5, first, first + 2.5) for x in np.arange(-KERB + 0.4, KERB - 0.5, 1.0).tolist()]
    for edge in (-KERB + 0.3, KERB - 0.42):
        dashes.append((edge, edge + 0.12, 0.8, 80.0))
    shapes = [
        [canvas.project(x, 0, z) for x, z in ((left, near), (right, near), (right, far), (left, far))]
        for left, right, near, far in dashes
    ]
    canvas.polygons(shapes, paint, 6.0, None)


def _things(rng: np.random.Generator) -> list[tuple[float, float, Draw]]:
    """What is in the street: (metres ahead, metres to the right, how to draw it)."""
    things: list[tuple[float, float, Draw]] = []

    def place(count: int, draw: Draw, inner: float, outer: float, near: float, far: float) -> None:
        for _ in range(count):
            side = -1.0 if rng.random() < 0.5 else 1.0
            things.append((near + (far - near) * rng.random() ** 1.5, side * rng.uniform(inner, outer), draw))

    place(int(rng.integers(2, 6)), draw_tree, KERB + 1.6, HOUSES - 0.4, 10, 45)
    place(int(rng.integers(1, 4)), draw_lamp, KERB + 0.3, KERB + 0.5, 6, 35)
    place(int(rng.integers(1, 4)), draw_sign, KERB + 0.3, KERB + 0.7, 5.5, 18)
    place(int(rng.integers(1, 4)), draw_fence, KERB + 0.5, KERB + 0.6, 5, 22)
    place(int(rng.integers(1, 4)), draw_car, KERB - 1.2, KERB - 1.1, 5, 30)
    place(int(rng.integers(0, 3)), draw_car, 1.5, 1.8, 9, 40)
    place(int(rng.integers(1, 5)), draw_pedestrian, KERB + 0.6, HOUSES - 0.6, 5.5, 20)
    place(int(rng.integers(0, 2)), draw_pedestrian, 0.4, KERB, 8, 18)
    place(int(rng.integers(1, 3)), draw_bicyclist, 0.6, KERB - 0.4, 5, 15)
    place(int(rng.integers(0, 3)), draw_bin, KERB + 0.6, KERB + 1.0, 5, 20)
    return things


def _bonnet(canvas: Canvas, rng: np.random.Generator) -> None:
    """The camera's own car, which belongs to no class."""
    height, width = canvas.label.shape
    rise = height * rng.uniform(0.03, 0.07)
    across = np.linspace(-0.05, 1.05, 13)
    edge = [(width * x, height - rise * (1 - (2 * x - 1) ** 2)) for x in across.tolist()]
    canvas.polygons([[*edge, (width * 1.05, height + 2.0), (-width * 0.05, height + 2.0)]], (48, 46, 45), 0.0, VOID)


def _photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, a cast of colour, darker corners and the sensor's noise."""
    height, width = image.shape[:2]
    gain = (rng.uniform(0.75, 1.12) * rng.uniform(0.95, 1.05, 3)).astype(np.float32)
    rows, columns = (np.linspace(-1, 1, size, dtype=np.float32) ** 2 for size in (height, width))
    corners = 1 - 0.08 * (rows[:, None] + columns)
    noise = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(1.5, 5))
    exposed: np.ndarray = image * (corners[..., None] * gain) + noise
    return exposed.clip(0, 255).astype(np.uint8)
