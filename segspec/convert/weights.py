"""Weights between Caffe's files and ours."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from segspec.graph.graph import Graph, GraphLayer
from segspec.messages import warn
from segspec.net import Tree, init
from segspec.run.blobs import read_blobs
from segspec.weights.caffe_blobs import number_blobs
from segspec.weights.caffemodel import write_caffemodel
from segspec.weights.files import write_weights
from segspec.weights.fit import fit


def convert_weights(source: Path, target: Path, graph: Graph, name: str) -> str:
    """Writes the weights of a net in the form that the target's ending says; what the source lacks stays out.

    Args:
        source: a file of weights, a run folder or a snapshot.
        target: a `.safetensors` or a `.caffemodel`.
        graph: the net that they belong to.
        name: of the net.

    Returns:
        An account of the blobs.

    Raises:
        WeightsError: the source has blobs of other shapes than the net, or none of its layers.
    """
    found = read_blobs(source, graph)
    warn(*found.warnings)
    params, state, transfer = fit(graph, *init(graph, 0), found)
    loaded = frozenset(transfer.loaded)
    if target.suffix == ".caffemodel":
        kept = {layer.name for layer in graph.layers if _has_any(layer, loaded)}
        layers = number_blobs(graph, params, state)
        write_caffemodel(
            target, name, (each for each in layers if {each.name, each.name.removesuffix("/scale")} & kept)
        )
    else:
        write_weights(target, _only(params, loaded), _only(state, loaded))
    return transfer.as_text().replace("\n", "\n  ")


def _has_any(layer: GraphLayer, loaded: Set[str]) -> bool:
    """Whether any blob of a layer was read, or it has none."""
    owners = [layer.owners.get(blob, (layer.name, blob)) for blob in (*layer.params, *layer.state)]
    return not owners or any(f"{owner}.{blob}" in loaded for owner, blob in owners)


def _only(tree: Tree, loaded: Set[str]) -> Tree:
    return {
        layer: {blob: value for blob, value in blobs.items() if f"{layer}.{blob}" in loaded}
        for layer, blobs in tree.items()
    }
