"""Which layers the backward pass computes a second time, instead of keeping what they gave."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from segspec.graph.graph import Graph, GraphLayer
from segspec.spec.solver import Remat

Layers = tuple[GraphLayer, ...]

MOST_BLOCKS = 64
"""Blocks that a net is cut into at most."""


class Segment(NamedTuple):
    """Layers in a row that run as one.

    Attributes:
        layers: in the order they run.
        recomputed: whether the backward pass keeps nothing but what they read, and computes the rest once more.
        parts: the segments that these layers are made of, or none.
    """

    layers: Layers
    recomputed: bool
    parts: tuple[Segment, ...] = ()


def plan_segments(graph: Graph, remat: Remat) -> tuple[Segment, ...]:
    """The segments of a net, in order.

    Args:
        graph: the net.
        remat: what the backward pass computes once more. `none`: nothing. `light`: what costs little, such as
            normalisations and activations, but neither convolutions and other products nor pooling. `blocks`:
            everything but what is read across the borders of blocks, which are chosen so that this and the inside of
            the largest block take the least memory together.
    """
    match remat:
        case "none":
            return (Segment(graph.layers, recomputed=False),)
        case "light":
            return light_segments(graph.layers)
        case "blocks":
            # The backward pass begins with the last block, just computed: nothing is won by doing it again.
            *earlier, last = choose_blocks(graph.layers)
            return (*(Segment(block, True, light_segments(block)) for block in earlier), *light_segments(last))


def is_light(layer: GraphLayer) -> bool:
    """Whether recomputing a layer costs little beside the memory of its outputs: no products, and no smaller result."""
    if layer.layer.role != "feature" or layer.multiply_adds or not layer.inputs:
        return False
    return sum(blob.size for blob in layer.outputs) >= max(blob.size for blob in layer.inputs)


def light_segments(layers: Layers) -> tuple[Segment, ...]:
    """Runs of light layers to be recomputed, each with the convolution or product that follows it; all others as is.

    A convolution needs its input for the gradient of its weights but not its own output, so it is not computed again.
    """
    segments: list[Segment] = []
    run: Layers = ()
    for layer in layers:
        if is_light(layer):
            run = (*run, layer)
        elif layer.multiply_adds and {top for light in run for top in light.tops}.intersection(layer.bottoms):
            segments.append(Segment((*run, layer), recomputed=True))
            run = ()
        else:
            segments += [Segment(run, recomputed=True)] * bool(run) + [Segment((layer,), recomputed=False)]
            run = ()
    return (*segments, *[Segment(run, recomputed=True)] * bool(run))


def choose_blocks(layers: Layers) -> list[Layers]:
    """Cuts layers into blocks so that what the blocks read, and the outputs inside the largest of them, are least."""
    total = sum(map(_kept_bytes, layers))
    cuts = [_cut(layers, total / parts) for parts in range(1, 1 + min(len(layers), MOST_BLOCKS))]
    return min(cuts, key=_block_bytes)


def _cut(layers: Layers, limit: float) -> list[Layers]:
    """Blocks that end where their outputs exceed a limit in bytes."""
    blocks: list[Layers] = []
    block: Layers = ()
    inside = 0
    for layer in layers:
        block, inside = (*block, layer), inside + _kept_bytes(layer)
        if inside >= limit:
            blocks.append(block)
            block, inside = (), 0
    return [*blocks, block] if block else blocks


def _block_bytes(blocks: Iterable[Layers]) -> int:
    """Bytes that blocks read of each other, and those inside the largest."""
    blocks = list(blocks)
    home = {top: number for number, block in enumerate(blocks) for layer in block for top in layer.tops}
    sizes = {
        bottom: blob.bytes
        for number, block in enumerate(blocks)
        for layer in block
        for bottom, blob in zip(layer.bottoms, layer.inputs, strict=True)
        if home.get(bottom, -1) != number
    }
    return sum(sizes.values()) + max(sum(map(_kept_bytes, block)) for block in blocks)


def _kept_bytes(layer: GraphLayer) -> int:
    """Bytes of the outputs of a layer, where they are kept for the backward pass."""
    return 0 if is_light(layer) else sum(blob.bytes for blob in layer.outputs)


def find_moving(graph: Graph) -> frozenset[str]:
    """The blobs that depend on something learned, and so get gradients in training."""
    moving: set[str] = set()
    for layer in graph.layers:
        learns = any(rate for rate, _ in layer.multipliers.values())
        inputs = {bottom for number, bottom in enumerate(layer.bottoms) if number not in layer.stopped}
        if learns or moving & inputs:
            real = (top for top, blob in zip(layer.tops, layer.outputs, strict=True) if blob.dtype == "float32")
            moving.update(real)
    return frozenset(moving)


def read_outside(graph: Graph, layers: Collection[str]) -> frozenset[str]:
    """The blobs that layers other than the named ones read."""
    return frozenset(bottom for layer in graph.layers if layer.name not in layers for bottom in layer.bottoms)
