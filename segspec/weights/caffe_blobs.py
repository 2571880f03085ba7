"""Caffe numbers the blobs of a layer, a net names them: from one to the other.

Caffe has three kinds of batch normalisation with learned scale and shift, and its own without. Their numbers of blobs
tell them apart: 2 are caffe-segnet's BN (scale, shift), 3 BVLC's BatchNorm (sums of means and variances, and the factor
that they are divided by), 4 PSPNet's BN (scale, shift, mean, variance), 5 NVIDIA's BatchNorm (BVLC's three, scale,
shift). The pair of BVLC's BatchNorm and the Scale behind it is one layer here, if the net has no layer of that name.
The bias of a convolution before BVLC's BatchNorm, as in ResNet-50's model, goes into the mean, if the net has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.normalization import BN, BatchNorm
from segspec.net import Tree, gather_params
from segspec.proto.blob import Array
from segspec.weights.caffemodel import CaffeLayer
from segspec.weights.files import Blobs, Found
from segspec.weights.layout import running_from_averages, running_from_caffe, running_to_caffe, to_caffe

Takers = Mapping[str, Sequence[GraphLayer]]
"""The layers of a net that take each layer of a file."""


def name_blobs(graph: Graph, layers: Sequence[CaffeLayer], place: str, takers: Takers | None = None) -> Found:
    """The blobs of a file under the names that a net gives them, in Caffe's shapes.

    Where a name stands more than once in the file, each takes the place of the one before it, as in Caffe. A blob that
    two layers share is found under the layer that holds it here.

    Args:
        graph: the net.
        layers: of the file.
        place: its name, for messages.
        takers: the layers of the net that take each layer of the file; None: those of the same name.
    """
    takers = {layer.name: [layer] for layer in graph.layers} if takers is None else takers
    blobs: Blobs = {}
    miscounted: dict[str, tuple[str, str]] = {}
    for layer in _paired(_without_idle_biases(layers, takers), takers):
        if layer.name not in takers and layer.blobs:
            numbered = {str(index): blob for index, blob in enumerate(layer.blobs)}
            blobs.setdefault(layer.name, {}).update(numbered)
        for target in takers.get(layer.name, ()):
            named = _name(target, layer.blobs)
            if named is None:
                miscounted[target.name] = (_expected(target), f"{len(layer.blobs)}")
            else:
                put(blobs, target, named)
    return Found(blobs, place, "caffe", miscounted)


def put(blobs: Blobs, layer: GraphLayer, named: Mapping[str, Array]) -> None:
    """Puts blobs of a layer among others, shared ones under the layer that holds them."""
    for blob, array in named.items():
        owner, name = layer.owners.get(blob, (layer.name, blob))
        blobs.setdefault(owner, {})[name] = array


def _without_idle_biases(layers: Sequence[CaffeLayer], takers: Takers) -> list[CaffeLayer]:
    """The layers less each bias that the net lacks and a BatchNorm takes away with the mean, then as much less.

    The mean stands in the file times the factor.
    """
    changed = list(layers)
    for index, reader in _readers(layers).items():
        before, norm = layers[index], layers[reader]
        targets = takers.get(before.name, ())
        if (before.type, norm.type, len(before.blobs), len(norm.blobs)) != ("Convolution", "BatchNorm", 2, 3):
            continue
        (weight, bias), (mean, variance, factor) = before.blobs, norm.blobs
        lacking = bool(targets) and not any("bias" in target.params for target in targets)
        if lacking and bias.size == mean.size and factor.size == 1:
            changed[index] = replace(before, blobs=(weight,))
            taken = bias.astype(np.float32).reshape(mean.shape) * factor.astype(np.float32).reshape(())
            changed[reader] = replace(norm, blobs=(mean.astype(np.float32) - taken, variance, factor))
    return changed


def _paired(layers: Sequence[CaffeLayer], takers: Takers) -> list[CaffeLayer]:
    """The layers, a Scale that the net does not have joined to the BatchNorm whose output it reads."""
    joined = list(layers)
    for index, reader in _readers(layers).items():
        norm, scale = layers[index], layers[reader]
        pair = (norm.type, scale.type, len(norm.blobs)) == ("BatchNorm", "Scale", 3) and len(scale.blobs) in (1, 2)
        wanted = any("scale" in target.params for target in takers.get(norm.name, ()))
        if pair and wanted and scale.name not in takers:
            factor, *shift = scale.blobs
            joined[index] = replace(norm, blobs=(*norm.blobs, factor, *(shift or [np.zeros_like(factor)])))
            joined[reader] = replace(scale, blobs=())
    return joined


def _readers(layers: Sequence[CaffeLayer]) -> dict[int, int]:
    """The first layer that reads what each layer writes, by their places; the next one where the file does not say."""
    found: dict[int, int] = {}
    reader: dict[str, int] = {}
    for index in reversed(range(len(layers))):
        tops = layers[index].tops
        if not tops and index + 1 < len(layers):
            found[index] = index + 1
        elif tops and tops[0] in reader:
            found[index] = reader[tops[0]]
        reader.update(dict.fromkeys(layers[index].bottoms, index))
    return found


def _name(layer: GraphLayer, blobs: Sequence[Array]) -> Mapping[str, Array] | None:
    """The blobs by name, or None where the layer does not take so many."""
    if not blobs:
        return {}
    if not isinstance(layer.layer, BatchNorm | BN):
        return dict(zip(layer.params, blobs, strict=True)) if len(blobs) == len(layer.params) else None
    named = _name_normalization(layer.layer, blobs)
    return named if named and named.keys() <= {*layer.params, *layer.state} else None


def _name_normalization(layer: BatchNorm | BN, blobs: Sequence[Array]) -> Mapping[str, Array] | None:
    """The blobs of a batch normalisation of any kind."""
    fraction = moving_fraction(layer)
    match blobs:
        case [scale, shift]:
            return {"scale": scale, "shift": shift}
        case [mean, variance, factor]:
            return _running(mean, variance, factor)
        case [scale, shift, mean, variance]:
            return {"scale": scale, "shift": shift, **running_from_averages(mean, variance, fraction)}
        case [mean, variance, factor, scale, shift]:
            # NVIDIA's keeps averages and leaves the factor at 0; forks of it that divide leave it above.
            summed = factor.size != 1 or bool(factor.ravel()[0])
            running = _running(mean, variance, factor) if summed else running_from_averages(mean, variance, fraction)
            return {**running, "scale": scale, "shift": shift}
    return None


def moving_fraction(layer: BatchNorm | BN) -> float:
    """What the running averages keep of themselves at each batch."""
    return layer.FRACTION if isinstance(layer, BN) else layer.moving_average_fraction


def _running(mean: Array, variance: Array, factor: Array) -> Mapping[str, Array]:
    """The state from BVLC's blobs; as they are where the factor is no single number, so that its shape is refused."""
    if factor.size != 1:
        return {"mean": mean, "variance": variance, "factor": factor}
    return running_from_caffe(mean, variance, factor)


def _expected(layer: GraphLayer) -> str:
    names = [*layer.params, *layer.state]
    plural = "" if len(names) == 1 else "s"
    return f"{len(names)} blob{plural} ({', '.join(names)})" if names else "no blobs"


def number_blobs(graph: Graph, params: Tree, state: Tree) -> Iterator[CaffeLayer]:
    """The layers of a net with their blobs as Caffe numbers and shapes them: the inverse of `name_blobs`.

    A BatchNorm with scale and shift becomes BVLC's pair, the second layer called `NAME/scale`. The running averages
    of a BN are left out: caffe-segnet's has none. A shared blob stands in each of its layers, as in Caffe.
    """
    for layer in graph.layers:
        held = gather_params(layer, params, train=False)
        learned = {blob: to_caffe(layer.params[blob], value) for blob, value in held.items()}
        if not isinstance(layer.layer, BatchNorm):
            yield CaffeLayer(layer.name, layer.layer.type, tuple(learned.values()))
            continue
        yield CaffeLayer(layer.name, "BatchNorm", running_to_caffe(state[layer.name]))
        if learned:
            yield CaffeLayer(f"{layer.name}/scale", "Scale", (learned["scale"], learned["shift"]))
