"""The layer types, each declared in the file of its family; `LAYERS` is the complete list."""

from __future__ import annotations

from segspec.layers.base import Layer
from segspec.layers.data import DenseImageData, Input, SyntheticSquares, SyntheticStreet

LAYERS: tuple[type[Layer], ...] = (
    DenseImageData,
    Input,
    SyntheticSquares,
    SyntheticStreet,
)


def by_type(name: str) -> type[Layer] | None:
    """The layer type of this name, as Caffe spells it; None when there is none."""
    return next((layer for layer in LAYERS if layer.type == name), None)


__all__ = ["LAYERS", "by_type"]
