"""The statistics of batch normalisation against SegNet's script, and what a net infers with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from golden_parts import (
    Case,
    Figure,
    Golden,
    blob_to_caffe,
    find_weights,
    greatest_error,
    norm_error,
    open_list,
    params_from,
    read_blobs,
)

from segspec.data.loader import training_batches
from segspec.evaluate.statistics import Collector, batches_needed
from segspec.graph.build import build, image_inputs
from segspec.net import apply
from segspec.spec.caffe.net import read_caffe_net
from segspec.syntax.tree import read_source

MOMENTS = 2e-5
FOLDED = 1e-4
"""Scales and shifts: a difference of large numbers over a small root multiplies the rounding of the moments."""
LOGITS = 1e-4
"""In norm: a pool whose two greatest values are an ulp apart moves a few pixels."""
HALF = 1e-3
"""For logits that were kept with 16 bits."""
EPSILON = 1e-9


def run_statistics(path: Path, root: Path) -> Case:
    """Compares one net's statistics.

    Args:
        path: NAME_bn.npz; beside it the net NAME_calc_bn.prototxt, and weights of its shapes.
        root: what paths in the prototxts are relative to.
    """
    stem = path.stem.removesuffix("_bn")
    with np.load(path) as file:
        golden = dict(file)
    net = path.with_name(f"{stem}_calc_bn.prototxt")
    spec = read_caffe_net(read_source(net), phase="TEST")
    data = spec.data.get("test") or spec.data["train"]
    images = open_list(data, root)
    graph = build(spec, "DEPLOY", image_inputs(data.batch_size, *images.size, data.channels, labels=False))
    weights = find_weights(graph, stem, [path.parent])
    if weights is None:
        return Case(f"{path.parent.name}/{path.stem}", (), "no caffemodel with blobs of this net's shapes")
    blobs = {**read_blobs(weights), **_trained_scales(golden)}
    params, state = params_from(graph, blobs)
    count = batches_needed(len(images), data.batch_size, "tutorial")
    all_batches = Collector(graph, data, "tutorial")
    figures: list[Figure] = [Figure("number of batches", abs(count - int(golden["num_iterations"])), 0.5)]
    with training_batches(images, data.batch_size, workers=1) as loader:
        for number in range(count):
            one = Collector(graph, data, "tutorial")
            batch = next(loader).data
            one.add(params, state, batch, jax.random.key(0))
            all_batches.add(params, state, batch, jax.random.key(0))
            figures += _moments(one, number, golden)
    figures += _folded(all_batches, golden)
    figures += _inference(path, stem, golden, root)
    return Case(f"{path.parent.name}/{path.stem}", tuple(figures), f"weights {weights.name}")


def _trained_scales(golden: Golden) -> dict[str, list[np.ndarray]]:
    """Scale and shift as they were trained; the file of weights may hold folded ones."""
    layers = [key.partition("/")[2] for key in golden if key.startswith("gamma/")]
    return {layer: [golden[f"{what}/{layer}"].reshape(1, -1, 1, 1) for what in ("gamma", "beta")] for layer in layers}


def _moments(collector: Collector, number: int, golden: Golden) -> Iterator[Figure]:
    for layer, found in collector.result().items():
        for ours, theirs in (("mean", "batch_mean"), ("variance", "batch_var")):
            error = greatest_error(found[ours], golden[f"{theirs}/{layer}"][number])
            yield Figure(f"{ours} of {layer} in batch {number + 1}", error, MOMENTS)


def _folded(collector: Collector, golden: Golden) -> Iterator[Figure]:
    """What the script writes into the net: scale / sqrt(v + eps) and shift - scale * mean / sqrt(v + eps)."""
    for layer, found in collector.result().items():
        root = np.sqrt(found["variance"].astype(np.float64) + EPSILON)
        scale = golden[f"gamma/{layer}"] / root
        shift = golden[f"beta/{layer}"] - golden[f"gamma/{layer}"] * found["mean"] / root
        yield Figure(f"scale of {layer}", greatest_error(scale, golden[f"new_scale_py2/{layer}"]), FOLDED)
        yield Figure(f"shift of {layer}", greatest_error(shift, golden[f"new_shift_py2/{layer}"]), FOLDED)


def _inference(path: Path, stem: str, golden: Golden, root: Path) -> Iterator[Figure]:
    """The logits of the net for inference with the script's weights, on the first images of the list."""
    net = next(iter(sorted(path.parent.glob(f"{stem}_inference*.prototxt"))), None)
    if net is None:
        return
    spec = read_caffe_net(read_source(net), phase="TEST")
    data = spec.data.get("test") or spec.data["train"]
    images = open_list(data, root)
    graph = build(spec, "DEPLOY", image_inputs(1, *images.size, data.channels, labels=False))
    weights = find_weights(graph, stem, [path.parent])
    assert weights is not None
    params, state = params_from(graph, read_blobs(weights))
    logits = [layer.bottoms[0] for layer in graph.layers if layer.layer.type == "Softmax"][-1]
    run = jax.jit(
        lambda image: apply(graph, params, state, {"data": data.normalize(image)}, want=(logits,)).blobs[logits]
    )
    for key in sorted(key for key in golden if re.fullmatch(r"inf_logits/\d+", key)):
        number = int(key.partition("/")[2])
        ours = blob_to_caffe(np.asarray(run(images.load(number).image[None])))
        theirs = golden[key]
        limit = LOGITS if theirs.dtype == np.float32 else HALF
        yield Figure(f"logits of image {number}, in norm", norm_error(ours, theirs.astype(np.float32)), limit)
        differ = np.mean(ours.argmax(1) != golden[f"inf_argmax/{number}"])
        yield Figure(f"classes of image {number}, share that differs", float(differ), 1e-3)
