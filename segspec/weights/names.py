"""A map of weights: which layer of a file each layer of a net takes, and how the arrays lie there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from segspec.errors import Diagnostic, Span, SpecError, WeightsError, did_you_mean
from segspec.graph.graph import Graph, GraphLayer
from segspec.proto.blob import Array
from segspec.schema.read import read_model
from segspec.spec import library
from segspec.syntax.tree import Mapping as Tree
from segspec.syntax.tree import Problems, describe, read_source
from segspec.syntax.yaml import parse_yaml
from segspec.weights.caffe_blobs import put
from segspec.weights.files import Blobs, Found
from segspec.weights.torch_blobs import name_torch_blobs

FOLDER = "weights"


class _Fields(BaseModel):
    """What the file of a map may say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    layout: Literal["caffe", "torch"] | None = None
    channels: Literal["bgr", "rgb"] = "bgr"
    layers: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class WeightsMap:
    """What a net takes from a file of weights of another net.

    Attributes:
        layers: names in the file by names in the net; none: both have the same names.
        layout: how arrays lie in the file, and what torch calls blobs; None: as the kind of file says.
        channels: the order of colours that the first convolution of the file sees.
        place: the map's own file.
        spans: where each layer of the net stands in it.
    """

    layers: Mapping[str, str]
    layout: Literal["caffe", "torch"] | None = None
    channels: Literal["bgr", "rgb"] = "bgr"
    place: str = ""
    spans: Mapping[str, Span] | None = None

    def takers(self, graph: Graph, present: Collection[str]) -> dict[str, list[GraphLayer]]:
        """The layers of the net that take each layer of the file.

        Names that the net does not have may be those inside a block of it; the first block that has them all is meant.

        Args:
            graph: the net.
            present: names of the layers in the file.

        Raises:
            WeightsError: with every name of the map that the net or the file does not have.
        """
        own = {layer.name: layer for layer in graph.layers}
        if not self.layers:
            return {name: [own[name]] for name in present if name in own}
        block = self._block(own)
        pairs = [(f"{block}{ours}", theirs) for ours, theirs in self.layers.items()]
        faults = [self._fault(ours, ours, "net", own) for ours, _ in pairs if ours not in own]
        faults += [self._fault(ours, theirs, "file", present) for ours, theirs in pairs if theirs not in present]
        if faults:
            raise WeightsError(faults)
        found: dict[str, list[GraphLayer]] = {}
        for ours, theirs in pairs:
            found.setdefault(theirs, []).append(own[ours])
        return found

    def _block(self, known: Collection[str]) -> str:
        """What stands before the names of the map in the net: nothing, or a block and a slash."""
        first = next(iter(self.layers))
        before = [name.removesuffix(first) for name in known if name.endswith(f"/{first}")]
        if any(ours in known for ours in self.layers):
            return ""
        return next((block for block in before if all(f"{block}{ours}" in known for ours in self.layers)), "")

    def _fault(self, ours: str, name: str, where: str, known: Collection[str]) -> Diagnostic:
        span = (self.spans or {}).get(ours)
        return Diagnostic(f"the {where} has no layer '{name}'", span, did_you_mean(name, known), self.place)


SAME_NAMES = WeightsMap({})


def load_weights_map(name: str | None) -> WeightsMap:
    """Reads a map.

    Args:
        name: a path that ends in .yaml, or the name of a shipped map; None: names are the same, and no file is read.

    Raises:
        SpecError: there is no such map, or it says something wrong.
    """
    if name is None:
        return SAME_NAMES
    path = Path(name) if Path(name).suffix else library.shipped("specs") / FOLDER / f"{name}.yaml"
    if not path.suffix or not path.is_file():
        known = library.names(FOLDER, library.shipped("specs"))
        hint = did_you_mean(name, known) or f"shipped are {', '.join(known)}; or write the path of a .yaml file"
        raise SpecError(f"there is no map of weights '{name}'", hint=hint)
    root = parse_yaml(read_source(path))
    if not isinstance(root, Tree):
        raise SpecError(f"a map of weights is a mapping of fields, got {describe(root)}", place=str(path))
    problems = Problems()
    fields = read_model(_Fields, root, problems, "the map of weights")
    problems.raise_any()
    assert fields is not None
    layers = root.get("layers")
    spans = {key.text: key.span for key, _ in layers} if isinstance(layers, Tree) else {}
    return WeightsMap(fields.layers, fields.layout, fields.channels, str(path), spans)


def name_modules(graph: Graph, modules: Mapping[str, Mapping[str, Array]], names: WeightsMap, place: str) -> Found:
    """The named blobs of a file under the names that a net gives them.

    Args:
        graph: the net.
        modules: `{layer: {blob: array}}` of the file.
        names: which layer takes which.
        place: the file's name, for messages.
    """
    takers = names.takers(graph, modules)
    known = {layer.name for layer in graph.layers}
    blobs: Blobs = {layer: dict(own) for layer, own in modules.items() if layer not in {*takers, *known}}
    for layer, targets in takers.items():
        for target in targets:
            own = modules[layer]
            put(blobs, target, name_torch_blobs(target, own) if names.layout == "torch" else own)
    return Found(blobs, place, "caffe" if names.layout else "stored")


def turn_colours(graph: Graph, found: Found) -> Found:
    """The blobs with the input channels in reverse of all convolutions that see the three colours of the images."""
    axis = 1 if found.layout == "caffe" else 2
    blobs = {layer: dict(own) for layer, own in found.blobs.items()}
    for layer in _colour_convolutions(graph):
        weight = blobs.get(layer, {}).get("weight")
        if weight is not None and weight.ndim == 4:
            blobs[layer]["weight"] = np.flip(weight, axis)
    return replace(found, blobs=blobs)


def _colour_convolutions(graph: Graph) -> list[str]:
    """Those that read the images, perhaps through layers that learn nothing."""
    colours = {"data"}
    found = []
    for layer in graph.layers:
        if layer.bottoms and layer.bottoms[0] in colours and layer.inputs[0].shape[-1] == 3:
            if layer.layer.type == "Convolution":
                found.append(layer.name)
            elif not layer.params:
                colours.update(layer.tops)
    return found
