"""What stands, walks and drives in a street: each a function that draws one thing at a place, in metres."""

from __future__ import annotations

import math

import numpy as np

from segspec.data.canvas import Canvas, Color, Point, darker, varied

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST, VOID = range(12)

CLOTHES: tuple[Color, ...] = (
    (60, 40, 150),
    (120, 70, 40),
    (40, 40, 45),
    (90, 130, 60),
    (180, 180, 185),
    (50, 120, 190),
    (100, 60, 120),
)
CAR_COLORS: tuple[Color, ...] = (
    (40, 40, 170),
    (140, 70, 40),
    (190, 190, 192),
    (45, 45, 48),
    (120, 122, 125),
    (80, 110, 60),
    (225, 225, 228),
)
SKIN: tuple[Color, ...] = ((150, 180, 225), (90, 125, 175), (60, 80, 120))
GREY: Color = (70, 72, 74)


def _pick(rng: np.random.Generator, colors: tuple[Color, ...], spread: float = 8.0) -> Color:
    return varied(rng, colors[int(rng.integers(len(colors)))], spread)


def _box(left: float, right: float, bottom: float, top: float) -> list[Point]:
    return [(left, bottom), (left, top), (right, top), (right, bottom)]


def draw_car(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A car seen from behind, with the side that faces the camera's axis, and its shadow on the road."""
    color = _pick(rng, CAR_COLORS)
    half, length = 0.88, 3.8
    _shadow(canvas, x, z, half + 0.15, length)
    side = x - half if x > 0 else x + half
    if abs(x) > half:
        canvas.quad(
            [(side, 0.3, z), (side, 0.9, z), (side, 0.9, z + length), (side, 0.3, z + length)], darker(color, 0.7), CAR
        )
        cabin = [(side, 0.9, z + 0.3), (side * 0.95, 1.4, z + 0.7), (side * 0.95, 1.4, z + 2.4), (side, 0.9, z + 3.0)]
        canvas.quad(cabin, (75, 70, 62), CAR)
        for wheel in (0.7, 3.0):
            _wheel(canvas, side, z + wheel)
    canvas.board(x, z, _box(-half * 0.9, -half * 0.55, 0, 0.35), (25, 25, 25), CAR)
    canvas.board(x, z, _box(half * 0.55, half * 0.9, 0, 0.35), (25, 25, 25), CAR)
    canvas.board(
        x,
        z,
        [(-half, 0.25), (-half, 0.85), (-half * 0.92, 0.95), (half * 0.92, 0.95), (half, 0.85), (half, 0.25)],
        color,
        CAR,
    )
    canvas.board(
        x,
        z,
        [(-half * 0.9, 0.93), (-half * 0.68, 1.42), (half * 0.68, 1.42), (half * 0.9, 0.93)],
        darker(color, 0.9),
        CAR,
    )
    canvas.board(
        x, z, [(-half * 0.78, 0.97), (-half * 0.6, 1.34), (half * 0.6, 1.34), (half * 0.78, 0.97)], (80, 72, 60), CAR
    )
    canvas.board(x, z, _box(-half * 0.95, -half * 0.68, 0.66, 0.84), (40, 40, 205), CAR)
    canvas.board(x, z, _box(half * 0.68, half * 0.95, 0.66, 0.84), (40, 40, 205), CAR)
    canvas.board(x, z, _box(-0.26, 0.26, 0.5, 0.62), (190, 225, 230), CAR)


def _wheel(canvas: Canvas, x: float, z: float) -> None:
    """A wheel in the plane of a car's side."""
    turns = [math.pi * eighth / 4 for eighth in range(8)]
    canvas.quad([(x, 0.3 + 0.3 * math.sin(turn), z + 0.3 * math.cos(turn)) for turn in turns], (28, 28, 28), CAR)


def _shadow(canvas: Canvas, x: float, z: float, half: float, length: float) -> None:
    places = [(x - half, 0, z - 0.2), (x + half, 0, z - 0.2), (x + half, 0, z + length), (x - half, 0, z + length)]
    canvas.quad([(a, b, max(c, 0.8)) for a, b, c in places], (52, 50, 50), None)


def draw_pedestrian(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A person on foot, in mid-step."""
    coat, trousers, skin = _pick(rng, CLOTHES), darker(_pick(rng, CLOTHES), 0.6), _pick(rng, SKIN, 4)
    size, step = rng.uniform(0.92, 1.08), rng.uniform(0.04, 0.28)
    for foot in (-step, step):
        canvas.board(
            x,
            z,
            [
                (foot - 0.08, 0),
                (-0.13 if foot < 0 else -0.02, 0.85 * size),
                (0.02 if foot < 0 else 0.13, 0.85 * size),
                (foot + 0.08, 0),
            ],
            trousers,
            PEDESTRIAN,
        )
    canvas.board(
        x,
        z,
        [
            (-0.19, 0.78 * size),
            (-0.25, 1.4 * size),
            (-0.12, 1.5 * size),
            (0.12, 1.5 * size),
            (0.25, 1.4 * size),
            (0.19, 0.78 * size),
        ],
        coat,
        PEDESTRIAN,
    )
    for arm in (-1, 1):
        path = [(0.24 * arm, 1.4 * size), (0.3 * arm, 1.1 * size), ((0.22 + step / 2) * arm, 0.85 * size)]
        canvas.stroke(x, z, path, 0.1, darker(coat, 0.82), PEDESTRIAN)
    canvas.disc(x, 1.63 * size, z, 0.13, skin, PEDESTRIAN)
    canvas.board(
        x,
        z,
        [(-0.13, 1.66 * size), (-0.1, 1.77 * size), (0.1, 1.77 * size), (0.13, 1.66 * size)],
        (35, 45, 60),
        PEDESTRIAN,
    )


def draw_bicyclist(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A cyclist with the bicycle, seen from the side."""
    coat, trousers, skin = _pick(rng, CLOTHES), darker(_pick(rng, CLOTHES), 0.55), _pick(rng, SKIN, 4)
    frame = _pick(rng, CAR_COLORS)
    way = 1.0 if rng.random() < 0.5 else -1.0
    for wheel in (-0.52, 0.52):
        canvas.ring(x + wheel, 0.34, z, 0.32, 0.06, (38, 38, 40), BICYCLIST)
    bars = [(-0.52 * way, 0.34), (-0.12 * way, 0.85), (0.38 * way, 0.85), (0.52 * way, 0.34)]
    canvas.stroke(x, z, bars, 0.06, frame, BICYCLIST)
    canvas.stroke(
        x, z, [(-0.12 * way, 0.85), (0.0, 0.34), (0.38 * way, 0.85), (0.44 * way, 1.05)], 0.06, frame, BICYCLIST
    )
    canvas.stroke(x, z, [(-0.14 * way, 0.98), (0.2 * way, 0.72), (0.04 * way, 0.28)], 0.16, trousers, BICYCLIST)
    canvas.board(x, z, [(-0.28 * way, 0.94), (0.02 * way, 1.5), (0.24 * way, 1.42), (0.04 * way, 0.9)], coat, BICYCLIST)
    canvas.stroke(
        x, z, [(0.14 * way, 1.38), (0.3 * way, 1.16), (0.44 * way, 1.08)], 0.09, darker(coat, 0.85), BICYCLIST
    )
    canvas.disc(x + 0.22 * way, 1.62, z, 0.13, skin, BICYCLIST)
    canvas.board(x + 0.22 * way, z, [(-0.15, 1.65), (-0.1, 1.78), (0.1, 1.78), (0.15, 1.65)], frame, BICYCLIST)


def draw_tree(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A tree: a trunk and a crown of leaves in several greens, darker below."""
    height, spread = rng.uniform(4.5, 8.5), rng.uniform(1.1, 1.9)
    canvas.board(x, z, [(-0.16, 0), (-0.1, height * 0.6), (0.1, height * 0.6), (0.16, 0)], (45, 62, 82), TREE)
    leaf = varied(rng, (48, 104, 72), 12)
    blobs = rng.normal(0, 1, (14, 2)) * (spread * 0.55, height * 0.13)
    for dx, dy in blobs[np.argsort(blobs[:, 1])].tolist():
        light = 0.85 + 0.35 * dy / height * 4
        canvas.disc(x + dx, height * 0.72 + dy, z, spread * 0.5, darker(leaf, min(1.3, max(0.6, light))), TREE)


def draw_lamp(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A street lamp whose arm reaches over the road."""
    height = rng.uniform(5.0, 7.5)
    arm = -1.3 if x > 0 else 1.3
    canvas.stroke(x, z, [(0, 0), (0, height), (arm * 0.4, height + 0.35), (arm, height + 0.4)], 0.15, GREY, POLE)
    canvas.board(x + arm, z, _box(-0.3, 0.3, height + 0.3, height + 0.48), (150, 170, 175), POLE)


def draw_sign(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A traffic sign or light on its post."""
    kind, top = int(rng.integers(4)), rng.uniform(2.2, 2.7)
    canvas.stroke(x, z, [(0, 0), (0, top)], 0.1, (125, 125, 125), POLE)
    if kind == 0:
        canvas.disc(x, top, z, 0.42, (45, 45, 200), SIGN)
        canvas.disc(x, top, z, 0.29, (235, 235, 235), SIGN)
    elif kind == 1:
        canvas.board(x, z, [(-0.48, top - 0.35), (0, top + 0.5), (0.48, top - 0.35)], (45, 45, 200), SIGN)
        canvas.board(x, z, [(-0.29, top - 0.24), (0, top + 0.27), (0.29, top - 0.24)], (235, 235, 235), SIGN)
    elif kind == 2:
        canvas.board(x, z, _box(-0.45, 0.45, top - 0.4, top + 0.4), (185, 95, 35), SIGN)
        canvas.board(
            x,
            z,
            [
                (-0.1, top - 0.25),
                (-0.1, top),
                (-0.25, top),
                (0, top + 0.28),
                (0.25, top),
                (0.1, top),
                (0.1, top - 0.25),
            ],
            (240, 240, 240),
            SIGN,
        )
    else:
        canvas.board(x, z, _box(-0.22, 0.22, top - 0.3, top + 0.65), (35, 40, 38), SIGN)
        lit = int(rng.integers(3))
        for place, color in enumerate(((90, 200, 60), (40, 190, 240), (50, 50, 230))):
            canvas.disc(x, top - 0.12 + 0.3 * place, z, 0.11, color if place == lit else (55, 58, 58), None)


def draw_fence(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A stretch of railing or boards along the pavement."""
    length, height = rng.uniform(5, 10), rng.uniform(0.95, 1.3)
    color = varied(rng, (88, 104, 118) if rng.random() < 0.5 else (70, 98, 140), 12)
    canvas.quad(
        [(x, 0.05, z), (x, height, z), (x, height, z + length), (x, 0.05, z + length)], darker(color, 0.62), FENCE
    )
    bars = []
    for bar in np.arange(z, z + length, 0.35).tolist():
        places = ((x, 0.05, bar), (x, height, bar), (x, height, bar + 0.16), (x, 0.05, bar + 0.16))
        bars.append([canvas.project(*place) for place in places])
    canvas.polygons(bars, color, z, None)
    rail = [(x, height - 0.12, z), (x, height, z), (x, height, z + length), (x, height - 0.12, z + length)]
    canvas.quad(rail, darker(color, 1.15), None)


def draw_bin(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A litter bin, which belongs to no class."""
    color = varied(rng, (60, 78, 48), 14)
    canvas.board(x, z, [(-0.26, 0), (-0.3, 0.9), (0.3, 0.9), (0.26, 0)], color, VOID)
    canvas.board(x, z, _box(-0.33, 0.33, 0.86, 0.98), darker(color, 0.6), VOID)
