"""Weights between Caffe's files and ours."""

from __future__ import annotations

from pathlib import Path

from segspec.graph.graph import Graph
from segspec.net import init
from segspec.run.blobs import read_blobs
from segspec.weights.caffe_blobs import number_blobs
from segspec.weights.caffemodel import write_caffemodel
from segspec.weights.files import write_weights
from segspec.weights.fit import fit


def convert_weights(source: Path, target: Path, graph: Graph, name: str) -> str:
    """Writes the weights of a net in the form that the target's ending says.

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
    params, state, transfer = fit(graph, *init(graph, 0), read_blobs(source, graph))
    if target.suffix == ".caffemodel":
        write_caffemodel(target, name, number_blobs(graph, params, state))
    else:
        write_weights(target, params, state)
    return transfer.as_text().replace("\n", "\n  ")
