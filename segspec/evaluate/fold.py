"""Merging batch normalisation into the convolutions before it, for faster inference with the same result.

At inference a normalisation is one multiplication and one addition a channel, y = a x + b. A convolution before it can
carry both: W' = a W, bias' = a bias + b.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Context
from segspec.layers.convolution import Convolution
from segspec.net import Tree
from segspec.spec.net import NetSpec
from segspec.spec.wire import LayerSpec


def fold(spec: NetSpec, graph: Graph, params: Tree, state: Tree) -> tuple[NetSpec, Tree, Tree, tuple[str, ...]]:
    """The net without the normalisations that directly follow a convolution and nothing else reads that convolution.

    Args:
        spec: the net.
        graph: the same net, built.
        params, state: its arrays, with the statistics to infer with.

    Returns:
        The new spec, its params and state, and the names of the layers merged.
    """
    merging = _find_merges(spec, graph)
    folded_params = {name: blobs for name, blobs in params.items() if name not in merging}
    for name, before in merging.items():
        factor, offset = _affine(graph.layer(name), params, state)
        folded_params[before.name] = _merge(params[before.name], factor, offset)
    renamed = {graph.layer(name).tops[0]: before.tops[0] for name, before in merging.items()}
    biased = {before.name for before in merging.values()}
    layers = tuple(_rewire(layer, renamed, biased) for layer in spec.layers if layer.name not in merging)
    kept_state = {name: blobs for name, blobs in state.items() if name not in merging}
    output = renamed.get(spec.output, spec.output) if spec.output else None
    return replace(spec, layers=layers, output=output), folded_params, kept_state, tuple(sorted(merging))


def _find_merges(spec: NetSpec, graph: Graph) -> dict[str, GraphLayer]:
    """By the name of each normalisation that can be merged, the convolution before it.

    A convolution whose output or whose weights are used elsewhere too must stay as it is. Losses count as readers, so
    the spec is asked, not the graph.
    """
    readers = Counter(bottom for layer in spec.layers for bottom in layer.bottoms)
    readers.update([spec.output] if spec.output else [])
    shared = {owner for layer in graph.layers for owner, _ in layer.owners.values()}
    convolutions = {layer.tops[0]: layer for layer in graph.layers if isinstance(layer.layer, Convolution)}
    found = {}
    for layer in graph.layers:
        if not {"mean", "variance"} <= set(layer.state) or len(layer.tops) > 1:
            continue
        before = convolutions.get(layer.bottoms[0])
        if before is None or readers[before.tops[0]] != 1:
            continue
        if not any(each.owners or each.name in shared for each in (before, layer)):
            found[layer.name] = before
    return found


def _affine(layer: GraphLayer, params: Tree, state: Tree) -> tuple[jnp.ndarray, jnp.ndarray]:
    """The a and b of a normalisation at inference, read off its answers to 0 and to 1."""
    channels = layer.inputs[0].shape[-1]
    probe = jnp.stack([jnp.zeros(channels), jnp.ones(channels)]).reshape(2, 1, 1, channels)
    context = Context(train=False, statistics="running")
    (answer, *_), _ = layer.layer.forward(params.get(layer.name, {}), state[layer.name], [probe], context)
    offset, total = answer.reshape(2, channels)
    return total - offset, offset


def _merge(blobs: dict[str, jnp.ndarray], factor: jnp.ndarray, offset: jnp.ndarray) -> dict[str, jnp.ndarray]:
    """The convolution's blobs with y = factor x + offset behind it; its weight ends in the output channels."""
    bias = blobs.get("bias", jnp.zeros_like(offset))
    merged = {"weight": blobs["weight"] * factor, "bias": bias * factor + offset}
    return {name: jnp.asarray(np.asarray(value, np.float32)) for name, value in merged.items()}


def _rewire(spec: LayerSpec, renamed: dict[str, str], biased: set[str]) -> LayerSpec:
    bottoms = tuple(renamed.get(bottom, bottom) for bottom in spec.bottoms)
    layer = spec.layer.model_copy(update={"bias_term": True}) if spec.name in biased else spec.layer
    return replace(spec, bottoms=bottoms, layer=layer)
