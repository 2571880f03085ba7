"""How much of the input image one position of a blob can see, walking the graph once."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from segspec.graph.graph import Graph, GraphLayer

_FAR = Fraction(2**40)
"""Input pixels, more than any image has; a jump of this much or more leads out of it all the same."""


class Field(NamedTuple):
    """The receptive field of a blob.

    Attributes:
        size: (height, width) of the stretch seen, in input pixels.
        jump: (height, width) of input pixels between neighbouring positions.
        image: (height, width) of the input image, which a field cannot exceed.
    """

    size: tuple[Fraction, Fraction]
    jump: tuple[Fraction, Fraction]
    image: tuple[int, int]

    @property
    def extent(self) -> tuple[int, int]:
        """The stretch in whole pixels, at most the image."""
        height, width = (min(math.ceil(self.size[axis]), self.image[axis]) for axis in (0, 1))
        return (height, width)

    @property
    def whole(self) -> bool:
        """Whether every position sees the whole image."""
        return all(self.size[axis] >= self.image[axis] for axis in (0, 1))


def receptive_fields(graph: Graph) -> dict[str, Field]:
    """The receptive field of every blob.

    A layer with kernel k on an input whose neighbours lie j input pixels apart widens the field by (k - 1) j and
    multiplies j by its stride; several bottoms give the widest of their fields.
    """
    one = (Fraction(1), Fraction(1))
    fields: dict[str, Field] = {}
    for name, blob in graph.inputs.items():
        image = (blob.shape[1], blob.shape[2]) if len(blob.shape) == 4 else (1, 1)
        fields[name] = Field(one, one, image)
    for layer in graph.layers:
        found = _through(layer, [fields[bottom] for bottom in layer.bottoms])
        fields.update(dict.fromkeys(layer.tops, found))
    return fields


def _through(layer: GraphLayer, bottoms: list[Field]) -> Field:
    if not bottoms:
        return Field((Fraction(1), Fraction(1)), (Fraction(1), Fraction(1)), (1, 1))
    kernel, stride = layer.layer.sampling(layer.inputs, layer.outputs)
    first = bottoms[0]
    if len(bottoms) == 1 and kernel == (1, 1) and stride == (Fraction(1), Fraction(1)):
        return first
    size = tuple(
        max([_widened(first, axis, kernel[axis]), *(other.size[axis] for other in bottoms[1:])]) for axis in (0, 1)
    )
    jump = tuple(min(max(first.jump[axis] * stride[axis], 1 / _FAR), _FAR) for axis in (0, 1))
    return Field((size[0], size[1]), (jump[0], jump[1]), first.image)


def _widened(field: Field, axis: int, kernel: int) -> Fraction:
    if kernel == 0:
        return Fraction(field.image[axis])
    return field.size[axis] + (kernel - 1) * field.jump[axis]
