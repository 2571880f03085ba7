"""What both sides of a contest between networks share: the files, the pictures, the classes' weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bench.machine import ROOT

SPECS = {
    "segnet": ROOT / "specs" / "segnet_camvid.yaml",
    "segnet-basic": ROOT / "specs" / "segnet_basic_camvid.yaml",
}
SOLVER = ROOT / "solvers" / "sgd.yaml"

CLASSES = 11
IGNORED = 11
CLASS_WEIGHTS = tuple(round(0.5 + 0.25 * number, 2) for number in range(CLASSES))
"""They stand for those counted in a data set."""

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 0.0005
"""What SOLVER says, for the side that does not read it."""


class NetTask(NamedTuple):
    """What is done with a network.

    Attributes:
        action: `train`, an iteration, or `infer`, from images to classes.
        network: a name of SPECS.
        size: (height, width) of the images.
        batch: how many there are.
        precision: `float32`, `high` or `bfloat16`.
        device: `cpu` or `gpu`.
    """

    action: str
    network: str
    size: tuple[int, int]
    batch: int
    precision: str
    device: str

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> NetTask:
        """The task of a request."""
        fields = {name: task[name] for name in cls._fields}
        return cls(**{**fields, "size": tuple(task["size"])})


def draw_batch(size: tuple[int, int], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, the same for every contestant.

    Returns:
        images: uint8 (batch, height, width, 3).
        labels: int32 (batch, height, width), the ignored one among them.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *size, 3), np.uint8)
    return images, rng.integers(0, CLASSES + 1, (batch, *size)).astype(np.int32)
