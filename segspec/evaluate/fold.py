"""Merging batch normalisation into the convolutions before it, for faster inference with the same result.

At inference a normalisation is one multiplication and one addition a channel, y = a x + b. A convolution before it can
carry both: W' = a W, bias' = a bias + b.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.convolution import Convolution, Deconvolution
from segspec.layers.normalization import BN, BatchNorm
from segspec.net import Tree
from segspec.spec.layer_spec import LayerSpec
from segspec.spec.netspec import NetSpec


def fold(spec: NetSpec, graph: Graph, params: Tree, state: Tree) -> tuple[NetSpec, Tree, Tree, tuple[str, ...]]:
    """The net without the normalisations that directly follow a convolution and nothing else reads that convolution.

    Args:
        spec: the net.
        graph: the same net, built.
        params, state: its arrays, with the statistics to infer with; a BN in mode INFERENCE needs none.

    Returns:
        The new spec, its params and state, and the names of the layers merged.
    """
    merging = _find_merges(spec, graph)
    folded_params = {name: blobs for name, blobs in params.items() if name not in merging}
    for name, before in merging.items():
        factor, offset = affine(graph.layer(name), params.get(name, {}), state.get(name, {}))
        folded_params[before.name] = _merge(before, params[before.name], factor, offset)
    renamed = {graph.layer(name).tops[0]: before.tops[0] for name, before in merging.items()}
    biased = {before.name for before in merging.values()}
    layers = tuple(_rewire(layer, renamed, biased) for layer in spec.layers if layer.name not in merging)
    kept_state = {name: blobs for name, blobs in state.items() if name not in merging}
    output = renamed.get(spec.output, spec.output) if spec.output else None
    unread = tuple(field for field in spec.unread if field.layer not in merging)
    return replace(spec, layers=layers, output=output, unread=unread), folded_params, kept_state, tuple(sorted(merging))


def _find_merges(spec: NetSpec, graph: Graph) -> dict[str, GraphLayer]:
    """By the name of each normalisation that can be merged, the convolution before it.

    A convolution whose output or whose weights are used elsewhere too must stay as it is. Losses count as readers, so
    the spec is asked, not the graph.
    """
    readers = Counter(bottom for layer in spec.layers for bottom in layer.bottoms)
    readers.update([spec.output] if spec.output else [])
    shared = {owner for layer in graph.layers for owner, _ in layer.owners.values()}
    convolutions = {layer.tops[0]: layer for layer in graph.layers if _can_carry(layer)}
    found = {}
    for layer in graph.layers:
        if not isinstance(layer.layer, BN | BatchNorm) or len(layer.tops) > 1:
            continue
        before = convolutions.get(layer.bottoms[0])
        if before is None or readers[before.tops[0]] != 1:
            continue
        if not any(each.owners or each.name in shared for each in (before, layer)):
            found[layer.name] = before
    return found


def _can_carry(layer: GraphLayer) -> bool:
    """Whether a factor and an offset for each output channel can go into a layer's weights.

    A deconvolution whose size is another layer's may have rows of zeros that are no sums of its filters.
    """
    if isinstance(layer.layer, Deconvolution):
        return layer.layer.group == 1 and len(layer.bottoms) == 1
    return isinstance(layer.layer, Convolution)


def affine(
    layer: GraphLayer, params: Mapping[str, jax.Array], state: Mapping[str, npt.ArrayLike]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The a and b of a normalisation at inference, y = a x + b, a channel each.

    a = scale / sqrt(variance + eps) and b = shift - a mean; scale and shift themselves where nothing is normalised.

    Args:
        layer: a BatchNorm or a BN.
        params, state: its own arrays.
    """
    channels = layer.inputs[0].shape[-1]
    scale = np.asarray(params.get("scale", np.ones(channels)), np.float64)
    shift = np.asarray(params.get("shift", np.zeros(channels)), np.float64)
    if not layer.state:
        return scale, shift
    assert isinstance(layer.layer, BN | BatchNorm)
    eps = layer.layer.EPS if isinstance(layer.layer, BN) else layer.layer.eps
    factor = scale / np.sqrt(np.asarray(state["variance"], np.float64) + eps)
    return factor, shift - factor * np.asarray(state["mean"], np.float64)


def _merge(
    layer: GraphLayer,
    blobs: Mapping[str, jax.Array],
    factor: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
) -> dict[str, jax.Array]:
    """The blobs of a convolution with y = factor x + offset behind it.

    A convolution's weight ends in the output channels, a deconvolution's has them before the input's.
    """
    across = factor[:, None] if isinstance(layer.layer, Deconvolution) else factor
    bias = np.asarray(blobs.get("bias", np.zeros_like(offset)), np.float64)
    merged = {"weight": np.asarray(blobs["weight"], np.float64) * across, "bias": bias * factor + offset}
    return {name: jnp.asarray(value.astype(np.float32)) for name, value in merged.items()}


def _rewire(spec: LayerSpec, renamed: dict[str, str], biased: set[str]) -> LayerSpec:
    bottoms = tuple(renamed.get(bottom, bottom) for bottom in spec.bottoms)
    layer = spec.layer.model_copy(update={"bias_term": True}) if spec.name in biased else spec.layer
    return replace(spec, bottoms=bottoms, layer=layer)
