"""Weights of a training in a net that expects folded statistics: noise that nothing else would explain."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from segspec.errors import Diagnostic
from segspec.evaluate.fitting import fitting_graph
from segspec.evaluate.model import Model
from segspec.evaluate.predict import Image
from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Layer
from segspec.layers.normalization import BN
from segspec.net import Tree, apply

FAR = np.log(5.0)
"""By what factor the spread of what a BN gives must be further from 1 than its scale for it to lack statistics."""

LEAST_CONTRAST = 4.0
"""Standard deviation, in grey levels of 255, below which an image tells nothing of how values spread."""


def find_unfolded(model: Model, image: Image) -> Diagnostic | None:
    """A warning where BN in mode INFERENCE hold the scale and shift of a training, without its statistics.

    With statistics folded in, a layer's scale is a = gamma / sd(x), and what it gives has a standard deviation of about
    gamma, which training keeps in the region of 1, whatever that of x is. Without, a is gamma, and what the layer gives
    spreads as x does, times gamma. So a layer speaks for unfolded weights where |log(a sd(x))| exceeds |log a| by far,
    in the median over its channels; the net does where more than half of its layers do. Where values happen to spread
    by about 1 in a training, nothing tells.

    Args:
        model: the net.
        image: one that it is to predict, at the size and with the channels that it takes.

    Returns:
        The warning with its remedy, or None.
    """
    if not any(_infers(layer.layer) for layer in model.spec.layers) or image.std() < LEAST_CONTRAST:
        return None
    size, graph = fitting_graph(model, image.shape[:2])
    below, right = size[0] - image.shape[0], size[1] - image.shape[1]
    padded = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
    layers = [layer for layer in graph.layers if _infers(layer.layer)]
    spreads = _measure(model, graph, layers, padded)
    far = [name for name, (scale, spread) in spreads.items() if _distance(scale * spread) > _distance(scale) + FAR]
    if 2 * len(far) <= len(spreads):
        return None
    scale, spread = spreads[far[0]]
    message = (
        f"the weights seem to be a training's: scale and shift of {len(far)} of {len(spreads)} BN in mode INFERENCE do "
        f"not hold its statistics, so the net gives noise\n'{far[0]}' gives values with a standard deviation of "
        f"{scale * spread:.3g}; with the statistics it would be about {scale:.2g}"
    )
    hint = (
        "fold them in: segspec compute-bn-stats TRAINING_NET --weights WEIGHTS writes test_weights.caffemodel for this "
        "net; or test the training's net"
    )
    return Diagnostic(message, place=model.spec.source.name, hint=hint, severity="warning")


def _infers(layer: Layer) -> bool:
    return isinstance(layer, BN) and layer.bn_mode == "INFERENCE"


def _measure(
    model: Model, graph: Graph, layers: list[GraphLayer], image: Image
) -> dict[str, tuple[np.float64, np.float64]]:
    """By layer the medians over the channels of |scale| and of the standard deviation of what it reads."""
    wanted = tuple(dict.fromkeys(layer.bottoms[0] for layer in layers))

    @jax.jit
    def spread(params: Tree, state: Tree, images: jax.Array) -> dict[str, jax.Array]:
        data = images.astype(jnp.float32) if model.data is None else model.data.normalize(images)
        blobs = apply(graph, params, state, {"data": data}, key=jax.random.key(0), dtype=model.dtype, want=wanted).blobs
        return {name: jnp.std(blobs[name].astype(jnp.float32), axis=(0, 1, 2)) for name in wanted}

    found = spread(model.params, model.state, image[None])
    result = {}
    for layer in layers:
        owner, blob = layer.owners.get("scale", (layer.name, "scale"))
        scale = np.abs(np.asarray(model.params[owner][blob], np.float64))
        spreads = np.nan_to_num(np.asarray(found[layer.bottoms[0]], np.float64), nan=np.inf, posinf=np.inf)
        result[layer.name] = (np.median(scale), np.median(spreads))
    return result


def _distance(value: np.float64) -> float:
    """How far a factor is from 1, up or down."""
    return float(np.abs(np.log(np.clip(value, 1e-30, 1e30))))
