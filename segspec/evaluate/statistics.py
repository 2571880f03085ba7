"""The statistics that batch normalisation infers with, measured over the training images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.data import DataLayer
from segspec.net import Tree, apply
from segspec.ops.channels import batch_moments

Mode = Literal["exact", "tutorial"]
Vector = npt.NDArray[np.float64]


@dataclass
class _Sums:
    """What is summed for one layer, in float64.

    Attributes:
        mean: of the batch means, weighted by `weight`.
        square: of the batch mean squares (exact) or the batch variances (tutorial), weighted likewise.
        within: of the batch variances, weighted likewise.
        weight: of all batches so far: pixels (exact) or batches (tutorial).
    """

    mean: Vector
    square: Vector
    within: Vector
    weight: float = 0.0


class Collector:
    """Accumulates the statistics of every normalised layer over batches.

    A forward pass normalises with the statistics of its own batch, as training does, and each normalising layer's input
    x is measured:

    * `exact`: the mean and the variance of x over all pixels of all images, E[x^2] - E[x]^2, summed in float64.
    * `tutorial`: the plain average over batches of the batch mean and the biased batch variance, as the script of the
      SegNet tutorial computes them. It misses the variance between batches and weighs a smaller last batch in full.

    Args:
        graph: the net, in phase DEPLOY, for the size of batch that will be given.
        data: the declaration of the images, for their normalisation.
        mode: `exact` or `tutorial`.
        sums: a collector for another size of batch, whose sums are continued.
        dtype: what convolutions compute in.
    """

    def __init__(
        self,
        graph: Graph,
        data: DataLayer | None,
        mode: Mode,
        *,
        sums: Collector | None = None,
        dtype: str = "float32",
    ):
        self.layers = normalised_layers(graph)
        self.mode = mode
        self.sums: dict[str, _Sums] = {} if sums is None else sums.sums
        self._moments = _make_moments(graph, self.layers, data, dtype)

    def add(self, params: Tree, state: Tree, images: npt.NDArray[np.uint8], key: jax.Array) -> None:
        """Measures one batch of raw images, (batch, height, width, channels)."""
        found = self._moments(params, state, images, key)
        for layer in self.layers:
            mean, variance = (np.asarray(value, np.float64) for value in found[layer.name])
            blob = layer.inputs[0]
            pixels = images.shape[0] * (blob.size // blob.shape[0] // blob.shape[-1])
            weight = float(pixels) if self.mode == "exact" else 1.0
            square = variance + mean**2 if self.mode == "exact" else variance
            sums = self.sums.setdefault(layer.name, _Sums(*np.zeros((3, *mean.shape))))
            sums.mean += weight * mean
            sums.square += weight * square
            sums.within += weight * variance
            sums.weight += weight

    def spread(self) -> tuple[str, float]:
        """The layer whose batches differ most, and how much of its variance lies between them.

        The share is the median over the layer's channels, from 0 to 1. `tutorial` does not measure it: 0.
        """
        shares = {name: _share_between(sums) for name, sums in self.sums.items()} if self.mode == "exact" else {}
        return max(shares.items(), key=lambda item: item[1], default=("", 0.0))

    def result(self) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
        """`{layer: {mean, variance, factor}}`, in the form of the net's own running statistics."""
        found = {}
        for name, sums in self.sums.items():
            mean, square = sums.mean / sums.weight, sums.square / sums.weight
            variance = np.maximum(square - mean**2, 0.0) if self.mode == "exact" else square
            found[name] = {
                "mean": mean.astype(np.float32),
                "variance": variance.astype(np.float32),
                "factor": np.ones((), np.float32),
            }
        return found


def _share_between(sums: _Sums) -> float:
    total = sums.square - sums.mean**2 / sums.weight
    return float(np.clip(np.median(1 - sums.within / np.maximum(total, 1e-30)), 0.0, 1.0))


def normalised_layers(graph: Graph) -> tuple[GraphLayer, ...]:
    """The layers that keep a running mean and variance."""
    return tuple(layer for layer in graph.layers if {"mean", "variance"} <= set(layer.state))


def _make_moments(
    graph: Graph, layers: Iterable[GraphLayer], data: DataLayer | None, dtype: str
) -> Callable[..., dict[str, tuple[jax.Array, jax.Array]]]:
    """A jitted function from raw images to (mean, biased variance) of each layer's input, a channel each."""
    wanted = tuple(dict.fromkeys(layer.bottoms[0] for layer in layers))

    @jax.jit
    def moments(params: Tree, state: Tree, images: jax.Array, key: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
        inputs = {"data": images.astype(jnp.float32) if data is None else data.normalize(images)}
        blobs = apply(graph, params, state, inputs, key=key, dtype=dtype, statistics="batch", want=wanted).blobs
        return {layer.name: batch_moments(blobs[layer.bottoms[0]]) for layer in layers}

    return moments


def batches_needed(images: int, batch: int, mode: Mode) -> int:
    """How many batches are run: every image once, or as the tutorial's script counts, n // b + n mod b."""
    return images // batch + images % batch if mode == "tutorial" else -(-images // batch)
