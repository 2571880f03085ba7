"""Single operations of SegNet: which there are, at which shapes, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

POOLS = ("pool", "unpool", "pool-gradient", "unpool-gradient")
CONVOLUTIONS = ("forward", "input-gradient", "weight-gradient")


class Filters(NamedTuple):
    """A convolution of SegNet or SegNet-Basic.

    Attributes:
        inputs, outputs: channels.
        kernel: height and width of a filter.
        halvings: poolings before it.
    """

    inputs: int
    outputs: int
    kernel: int
    halvings: int


FILTERS = (
    Filters(3, 64, 3, 0),
    Filters(64, 64, 3, 0),
    Filters(64, 11, 3, 0),
    Filters(64, 128, 3, 1),
    Filters(128, 128, 3, 1),
    Filters(256, 256, 3, 2),
    Filters(512, 512, 3, 3),
    Filters(512, 512, 3, 4),
    Filters(3, 64, 7, 0),
    Filters(64, 64, 7, 0),
    Filters(64, 64, 7, 1),
    Filters(64, 64, 7, 3),
)
POOLED = ((64, 0), (128, 1), (256, 2), (512, 3), (512, 4))
"""Channels and halvings of what SegNet pools."""


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """The size after so many poolings, which round up."""
    for _ in range(times):
        size = (-(-size[0] // 2), -(-size[1] // 2))
    return size


def pool_tasks(size: tuple[int, int], batch: int, precision: str, device: str) -> Iterator[dict[str, Any]]:
    """Every pooling and unpooling of SegNet on images of one size; shapes are (batch, height, width, channels)."""
    for channels, halvings in POOLED:
        for op in POOLS:
            shape = [batch, *halved(size, halvings), channels]
            yield {"op": op, "shape": shape, "precision": precision, "device": device}


def convolution_tasks(size: tuple[int, int], batch: int, precision: str, device: str) -> Iterator[dict[str, Any]]:
    """Every kind of convolution of both networks on images of one size, forward and backward."""
    for filters in FILTERS:
        for op in CONVOLUTIONS:
            if op == "input-gradient" and filters.inputs == 3:
                continue  # no training asks for the gradient of images
            shape = [batch, *halved(size, filters.halvings), filters.inputs]
            weights = {"outputs": filters.outputs, "kernel": filters.kernel}
            yield {"op": op, "shape": shape, **weights, "precision": precision, "device": device}


def flops(task: Mapping[str, Any]) -> float | None:
    """Floating point operations of a convolution, a multiplication and an addition being two; None of a pooling."""
    if "kernel" not in task:
        return None
    batch, height, width, inputs = task["shape"]
    return 2.0 * batch * height * width * task["kernel"] ** 2 * inputs * task["outputs"]


def draw(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Normally distributed float32 numbers, the same for every contestant."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
