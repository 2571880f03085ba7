"""Sizes that YAML derives and Caffe wants written: those of the net at its nominal input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from segspec.errors import Diagnostic, SpecError
from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.arrangement import Crop
from segspec.layers.base import Layer
from segspec.layers.convolution import Convolution, Deconvolution, DepthwiseConvolution
from segspec.layers.pooling import Pooling
from segspec.layers.resampling import Interp
from segspec.layers.unpooling import Unpooling, Upsample
from segspec.spec.layer_spec import BlobRule, LayerSpec
from segspec.spec.netspec import NetSpec


def with_written_sizes(spec: NetSpec, graph: Graph) -> NetSpec:
    """The net with every size as a number that the graph has in place of a rule that Caffe lacks.

    Args:
        spec: the net.
        graph: the same at its nominal size; layers that are not in it are left out.

    Raises:
        SpecError: a layer takes its size in a way that Caffe has no words for.
    """
    built = {layer.name: layer for layer in graph.layers}
    layers = (written for layer in spec.layers if layer.name in built for written in _written(layer, built[layer.name]))
    return spec.with_layers(tuple(layers))


def _written(spec: LayerSpec, built: GraphLayer) -> Iterator[LayerSpec]:
    layer = spec.layer
    if isinstance(layer, Deconvolution):
        yield from _enlargement(spec, layer, built)
    elif isinstance(layer, Interp) and len(spec.bottoms) == 2:
        update = {"height": built.outputs[0].shape[1], "width": built.outputs[0].shape[2], "size_of": None}
        yield replace(spec, layer=_with_corners(spec, layer).model_copy(update=update), bottoms=spec.bottoms[:1])
    elif isinstance(layer, Interp):
        yield replace(spec, layer=_with_corners(spec, layer))
    else:
        yield replace(spec, layer=_padded(spec, _alone(layer, built), built))


def _padded(spec: LayerSpec, layer: Layer, built: GraphLayer) -> Layer:
    """A layer with its padding as a number. Raises SpecError where that is not the same on all sides."""
    if not isinstance(layer, Convolution | Pooling) or isinstance(layer.pad, tuple):
        return layer
    wanted = built.outputs[0].shape
    size = (built.inputs[0].shape[1], built.inputs[0].shape[2])
    pad = layer.padding(size) if isinstance(layer, Convolution) else layer.window(size).pad
    words: tuple[dict[str, str], ...] = ({},) if isinstance(layer, Convolution) else ({}, {"round_mode": "FLOOR"})
    for more in words:
        written = layer.model_copy(update={"pad": pad, **more})
        if written.shapes(built.inputs)[0].shape == wanted:
            return written
    raise SpecError(
        Diagnostic(
            f"Caffe pads all sides alike; on {size[0]}x{size[1]} pixels pad: same_upper does not",
            spec.span,
            "at odd sizes, kernels and strides of 3 and 2 are padded alike; or write pad: same and train again",
        )
    )


def _with_corners(spec: LayerSpec, layer: Interp) -> Interp:
    if not layer.align_corners:
        hint = "align_corners: true reads as Caffe's does"
        raise SpecError(Diagnostic("Caffe's Interp keeps the corners where they are", spec.span, hint))
    return layer


def _enlargement(spec: LayerSpec, layer: Deconvolution, built: GraphLayer) -> Iterator[LayerSpec]:
    """A Deconvolution that takes its size from another layer, as one of its own size and a Crop."""
    filled = layer.model_copy(update={"weight_filler": built.params["weight"].filler, "size_of": None})
    if len(spec.bottoms) == 1:
        yield replace(spec, layer=filled)
        return
    (own,) = filled.shapes(built.inputs[:1])
    wanted = built.outputs[0]
    surplus = (own.shape[1] - wanted.shape[1], own.shape[2] - wanted.shape[2])
    more = layer.restored((own.shape[1], own.shape[2]), (wanted.shape[1], wanted.shape[2]))
    if any(surplus[axis] + more[axis] < 0 for axis in (0, 1)):
        message = f"Caffe's Deconvolution gives {own} where the net has {wanted}"
        raise SpecError(Diagnostic(message, spec.span, "convert the net at a size that its poolings divide"))
    if surplus == (0, 0):
        yield replace(spec, layer=filled, bottoms=spec.bottoms[:1])
        return
    whole, first = f"{spec.name}_whole", filled.cut(surplus)
    wider = filled.model_copy(update={"pad": (filled.pad[0] - more[0], filled.pad[1] - more[1])})
    yield replace(spec, layer=wider, bottoms=spec.bottoms[:1], tops=(whole,))
    crop = Crop(offset=(first[0] + more[0], first[1] + more[1]))
    yield LayerSpec(f"{spec.name}_crop", crop, (whole, spec.bottoms[1]), spec.tops, (), BlobRule(), (), spec.span)


def _alone(layer: Layer, built: GraphLayer) -> Layer:
    """A layer whose size is a matter of its own fields."""
    if isinstance(layer, DepthwiseConvolution):
        return layer.model_copy(update={"group": built.inputs[0].shape[3]})
    if isinstance(layer, Crop) and layer.offset == "center":
        first, second = (blob.caffe_shape for blob in built.inputs)
        middle = [(whole - size) // 2 for whole, size in zip(first, second, strict=True)][layer.axis :]
        return layer.model_copy(update={"offset": tuple(middle)})
    if isinstance(layer, Unpooling):
        return layer.model_copy(update={"unpool_size": built.outputs[0].shape[1:3]})
    if isinstance(layer, Upsample) and layer.scale is None and layer.upsample_h is None:
        height, width = built.outputs[0].shape[1:3]
        twice = (2 * built.inputs[0].shape[1], 2 * built.inputs[0].shape[2])
        size = {} if twice == (height, width) else {"upsample_h": height, "upsample_w": width}
        return layer.model_copy(update={"scale": 2, **size})
    return layer
