"""What `compute-bn-stats` writes of a net and weights: weights to infer with, and a net with its statistics merged.

caffe-segnet's BN has no place for statistics: in a `.caffemodel` they are folded into its scale and shift, as SegNet's
script does, for a net whose BN say `bn_mode: INFERENCE`. All other layers and files keep them beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp

from segspec.atomic import write_atomically
from segspec.errors import UsageError
from segspec.evaluate.fold import affine, fold
from segspec.evaluate.model import Model
from segspec.graph.graph import Graph
from segspec.graph.nominal import nominal_graph
from segspec.layers.normalization import BN, BatchNorm
from segspec.net import Tree, gather_params
from segspec.spec.flatten import flat_text
from segspec.syntax.prototxt import is_prototxt
from segspec.weights.caffe_blobs import number_blobs
from segspec.weights.caffemodel import CaffeLayer, write_caffemodel
from segspec.weights.files import Blobs, write_weights
from segspec.weights.layout import to_caffe

NAME = "test_weights"
"""What SegNet's script calls its file."""

CAFFE, OURS = ".caffemodel", ".safetensors"


def weights_path(model: Model, out: Path | None) -> Path:
    """Where the weights to infer with go.

    Args:
        model: the net; one in a prototxt gets a `.caffemodel`.
        out: a file, or a folder for a file of the script's name; None: the working directory.

    Raises:
        UsageError: the file has no ending of weights.
    """
    ending = CAFFE if is_prototxt(Path(model.spec.source.name)) else OURS
    path = out or Path()
    if path.is_dir() or not path.suffix:
        path = path / f"{NAME}{ending}"
    if path.suffix not in (CAFFE, OURS):
        raise UsageError(f"a file of weights ends in {CAFFE} or {OURS}", place=str(path))
    return path


def folded_path(path: Path) -> Path:
    """The YAML of the net whose statistics are merged, beside the weights to infer with."""
    return path.with_name(f"{path.stem}_folded.yaml")


def write_inference_weights(path: Path, model: Model, found: Blobs, about: Mapping[str, str]) -> bool:
    """Writes a net's parameters and measured statistics. Returns whether these were folded into scale and shift.

    Args:
        path: a `.caffemodel` or a `.safetensors`.
        model: the net.
        found: its statistics, `{layer: {mean, variance, factor}}`.
        about: what a `.safetensors` says of itself.
    """
    state = with_measured(model.state, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == OURS:
        write_weights(path, model.params, state, about=about)
        return False
    graph = nominal_graph(model.spec)
    write_caffemodel(path, model.spec.name, _folded_layers(graph, model.params, state))
    return any(isinstance(graph.layer(name).layer, BN) for name in found)


def with_measured(state: Tree, found: Blobs) -> Tree:
    """The state with measured statistics in it."""
    measured = {name: {blob: jnp.asarray(value) for blob, value in blobs.items()} for name, blobs in found.items()}
    return {**state, **{name: {**state[name], **blobs} for name, blobs in measured.items()}}


def _folded_layers(graph: Graph, params: Tree, state: Tree) -> Iterator[CaffeLayer]:
    """Caffe's layers, those of type BN with their statistics in scale and shift."""
    for written in number_blobs(graph, params, state):
        layer = next((layer for layer in graph.layers if layer.name == written.name), None)
        if layer is None or not isinstance(layer.layer, BN):
            yield written
            continue
        folded = affine(layer, gather_params(layer, params, train=False), state.get(layer.name, {}))
        blobs = zip(layer.params.values(), folded, strict=True)
        yield replace(written, blobs=tuple(to_caffe(spec, value) for spec, value in blobs))


def write_folded(path: Path, model: Model, found: Blobs) -> str:
    """Writes a net that needs no statistics any more, and its weights beside it. Returns what was merged, in words.

    Args:
        path: the YAML to write; the weights are the `.safetensors` of the same name.
        model: the net.
        found: its statistics; none for BN in mode INFERENCE.
    """
    graph = nominal_graph(model.spec)
    spec, params, rest, merged = fold(model.spec, graph, model.params, with_measured(model.state, found))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, flat_text(replace(spec, name=f"{spec.name}_folded")).encode())
    write_weights(path.with_suffix(OURS), params, rest)
    left = sum(isinstance(layer.layer, BN | BatchNorm) for layer in graph.layers) - len(merged)
    remark = f"; {left} follow no convolution of their own and stay" if left else ""
    return f"{path}: {len(merged)} normalisations merged into their convolutions{remark}"
