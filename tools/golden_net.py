"""One net against Caffe: every blob after the layer that wrote it, the loss, the gradients of blobs and parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from golden_parts import (
    Case,
    Figure,
    Golden,
    Measure,
    WrappedLayer,
    blob_to_caffe,
    blob_to_stored,
    caffe_order,
    feeds_normalisation,
    find_weights,
    greatest_error,
    norm_error,
    params_from,
    read_blobs,
)
from golden_precision import Trial, compare

from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Context
from segspec.layers.dropout import Dropout
from segspec.net import Outputs, Tree, apply
from segspec.ops.argmax_pool import to_flat
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.solver import Precision
from segspec.syntax.tree import read_source
from segspec.weights.layout import to_caffe

FORWARD = 5e-5
"""Greatest relative error of a blob: five single layers', as normalising few pixels multiplies earlier rounding."""
TIES = 5e-3
"""How far an accuracy may be away: a pixel whose two best scores are an ulp apart falls to either class."""
GRADIENT = 2e-5
"""Least limit of a gradient's relative error in norm."""
NOISE = 6.0
"""How many times the change that rounding the parameters makes to a gradient it may be away from Caffe's."""
UNKNOWN_NOISE = 1e-2
"""The limit where a case does not say how a gradient answers to rounding: pools and ReLUs flip in deep nets."""


def run_net(path: Path, folders: list[Path], precision: Precision = "float32") -> Case:
    """Compares one net.

    Args:
        path: the prototxt; beside it NAME.npz.
        folders: where its weights may lie.
        precision: to compute at.
    """
    name = f"{path.parent.name}/{path.stem}"
    with np.load(path.with_suffix(".npz")) as file:
        golden = dict(file)
    learns = any(key.startswith("grad") for key in golden)
    phase = "TRAIN" if learns else "TEST"
    spec = read_caffe_net(read_source(path), phase=phase)
    batch, channels, height, width = golden["data/data"].shape
    graph = build(spec, phase, image_inputs(batch, height, width, channels))
    weights = find_weights(graph, path.stem, folders)
    if weights is None:
        return Case(name, (), "no caffemodel with blobs of this net's shapes lies beside it")
    params, state = params_from(graph, read_blobs(weights))
    graph = _with_masks(graph, golden)
    inputs = {key: _stored(golden[f"data/{key}"], graph.inputs[key].dtype) for key in graph.inputs}

    def run(trial: Trial) -> Iterator[Figure]:
        setting = _Setting(trial.prepare(graph, params, state, inputs), params, state, inputs, golden, trial)
        yield from _forward(setting)
        if learns:
            yield from _backward(setting)

    return Case(name, compare(run, precision), f"weights {weights.name}")


@dataclass(frozen=True)
class _Setting:
    """What is computed, how, and what Caffe found."""

    graph: Graph
    params: Tree
    state: Tree
    inputs: Mapping[str, jax.Array]
    golden: Golden
    trial: Trial

    def apply(self, graph: Graph, params: Tree, want: tuple[str, ...] = ()) -> Outputs:
        train = graph.phase == "TRAIN"
        return apply(graph, params, self.state, self.inputs, train=train, dtype=self.trial.dtype, want=want)


def _stored(values: np.ndarray, dtype: str) -> jax.Array:
    return jnp.asarray(blob_to_stored(values), dtype)


def _forward(setting: _Setting) -> Iterator[Figure]:
    graph, golden, measure = setting.graph, setting.golden, setting.trial.measure
    wanted = tuple(top for layer in graph.layers for top in layer.tops)
    found = jax.jit(lambda: setting.apply(graph, setting.params, wanted))()
    for layer in graph.layers:
        for index, top in enumerate(layer.tops):
            key = f"{layer.name}/{top.partition('@')[0]}"
            if key in golden:
                limit = _limit(layer, found.blobs)
                source = top if layer.layer.role == "feature" else layer.bottoms[0]
                yield Figure(key, _top_error(layer, index, found.blobs[top], golden[key], measure), limit, source)
    if "__total_loss" in golden and graph.phase == "TRAIN":
        (source, *_) = next(layer.bottoms for layer in graph.layers if any(layer.loss_weights))
        yield Figure("total loss", greatest_error(np.asarray(found.loss), golden["__total_loss"]), FORWARD, source)


def _limit(layer: GraphLayer, blobs: Mapping[str, jax.Array]) -> float:
    """The limit of a layer's tops: a softmax turns the absolute error of its scores into a relative one."""
    if layer.layer.type == "Softmax":
        return FORWARD * max(1.0, float(jnp.max(jnp.abs(blobs[layer.bottoms[0]]))))
    return TIES if layer.layer.type == "Accuracy" else FORWARD


def _top_error(layer: GraphLayer, index: int, top: jax.Array, theirs: np.ndarray, measure: Measure) -> float:
    """The error of a top; of a pooling's mask, the share of positions that differ."""
    window = layer.outputs[index].window
    if window is not None:
        positions = _kept_channels(blob_to_caffe(np.asarray(to_flat(top, window))), theirs)
        return float(np.mean(positions != theirs))
    ours = _kept_channels(blob_to_caffe(np.asarray(top)), theirs)
    return measure(ours.reshape(theirs.shape) if ours.size == theirs.size else ours, theirs)


def _kept_channels(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The channels that were kept of a wide blob: every so many, from the first."""
    if ours.ndim != 4 or theirs.ndim != 4 or ours.shape[1] <= theirs.shape[1]:
        return ours
    return ours[:, :: -(-ours.shape[1] // theirs.shape[1])]


def _backward(setting: _Setting) -> Iterator[Figure]:
    """Gradients of the parameters, and of blobs as their first writer made them."""
    graph, golden = setting.graph, setting.golden
    blobs = [key.partition("/")[2] for key in golden if key.startswith("blobdiff/")]
    shifts = {blob: jnp.zeros(graph.blobs[blob].shape, jnp.float32) for blob in blobs}

    def loss(params: Tree, shifts: Mapping[str, jax.Array]) -> jax.Array:
        return setting.apply(_with_shifts(graph, shifts), params).loss

    gradients, pulled = jax.jit(jax.grad(loss, (0, 1)))(setting.params, shifts)
    for blob in blobs:
        theirs = golden[f"blobdiff/{blob}"]
        error = norm_error(_kept_channels(blob_to_caffe(np.asarray(pulled[blob])), theirs), theirs)
        yield Figure(f"gradient of blob {blob}", error, _blob_limit(golden))
    for layer, blob, index in caffe_order(graph):
        if feeds_normalisation(graph, layer, blob):
            continue
        ours = to_caffe(layer.params[blob], np.asarray(gradients[layer.name][blob]))
        yield from _gradient_figures(f"{layer.name}:{index}", ours, golden)


def _gradient_figures(name: str, ours: np.ndarray, golden: Golden) -> Iterator[Figure]:
    noise = float(golden.get(f"noise/gradrel/{name}", UNKNOWN_NOISE / NOISE))
    limit = max(GRADIENT, NOISE * noise)
    for key in golden:
        kind, _, parameter = key.partition("/")
        if parameter != name:
            continue
        if kind == "grad":
            yield Figure(f"gradient of {name}", norm_error(ours, golden[key]), limit, name)
        elif sliced := re.fullmatch(r"gradslice_(\d+)x(\d+)", kind):
            part = ours[:: int(sliced[1]), :: int(sliced[2])]
            yield Figure(f"gradient of {name}, a part", norm_error(part, golden[key]), limit, name)
        elif kind == "gradnorm":
            norm = np.asarray(np.linalg.norm(ours.astype(np.float64)))
            yield Figure(f"norm of the gradient of {name}", greatest_error(norm, golden[key]), limit, name)


def _blob_limit(golden: Golden) -> float:
    """A blob's gradient is as uncertain as the filters' are, of which most lie behind it."""
    noise = [float(value) for key, value in golden.items() if key.startswith("noise/gradrel/") and key.endswith(":0")]
    return max(GRADIENT, NOISE * max(noise)) if noise else UNKNOWN_NOISE


@dataclass(frozen=True)
class _Masked(WrappedLayer):
    """A dropout that keeps what Caffe's random numbers kept."""

    mask: np.ndarray

    def forward(
        self, params: Any, state: Any, bottoms: Sequence[jax.Array], ctx: Context
    ) -> tuple[tuple[jax.Array, ...], dict[str, jax.Array]]:
        return (bottoms[0] * self.mask / (1 - self.layer.dropout_ratio),), {}


def _with_masks(graph: Graph, golden: Golden) -> Graph:
    layers = []
    for layer in graph.layers:
        bits = golden.get(f"{layer.name}/__mask")
        if bits is not None and isinstance(layer.layer, Dropout):
            shape = golden[f"{layer.name}/__mask_shape"]
            mask = np.unpackbits(bits)[: np.prod(shape)].reshape(shape).astype(np.float32)
            layer = replace(layer, layer=_Masked(layer.layer, blob_to_stored(mask)))  # type: ignore[arg-type]
        layers.append(layer)
    return replace(graph, layers=tuple(layers))


@dataclass(frozen=True)
class _Shifted(WrappedLayer):
    """A layer whose first top has something added, so that the gradient of that top can be asked for."""

    shift: jax.Array

    def forward(
        self, params: Any, state: Any, bottoms: Sequence[jax.Array], ctx: Context
    ) -> tuple[tuple[jax.Array, ...], dict[str, jax.Array]]:
        (first, *rest), changed = self.layer.forward(params, state, bottoms, ctx)
        return (first + self.shift.astype(first.dtype), *rest), changed


def _with_shifts(graph: Graph, shifts: Mapping[str, jax.Array]) -> Graph:
    layers = [
        replace(layer, layer=_Shifted(layer.layer, shifts[layer.tops[0]]))  # type: ignore[arg-type]
        if layer.tops and layer.tops[0] in shifts
        else layer
        for layer in graph.layers
    ]
    return replace(graph, layers=tuple(layers))
