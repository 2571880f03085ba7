"""A net as the lines that a person would write: defaults, chained inputs and unneeded names left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from segspec.convert.names import free_name
from segspec.errors import SpecError
from segspec.layers.affine import Scale
from segspec.layers.base import Filler, Layer
from segspec.layers.convolution import Convolution
from segspec.layers.normalization import BatchNorm
from segspec.layers.pooling import Pooling, PoolingMask
from segspec.spec.flatten import parameters
from segspec.spec.layer_spec import BlobRule, LayerSpec
from segspec.spec.netspec import NetSpec
from segspec.spec.wire import INPUTS

_UNFIT = re.compile(r"[\s:$]+")


@dataclass(frozen=True)
class Entry:
    """One item of a list of layers: the type of a layer or a block, and its fields as YAML writes them."""

    type: str
    fields: Mapping[str, object] = field(default_factory=dict)


def entries_of(spec: NetSpec) -> tuple[Entry, ...]:
    """The layers of a net as short as the language allows, in order.

    A layer keeps its name where weights are found by it, another layer reads it, or fields are kept for it. Blobs are
    called after the layers that write them.

    Raises:
        SpecError: the net has inputs besides images and labels.
    """
    _refuse_other_inputs(spec)
    layers = _with_plain_names(_with_masks(_without_scales(spec.layers)))
    blobs = _references(layers)
    writing = _Writing(blobs, layers)
    written = [writing.entry(layer) for layer in layers]
    output = [blobs[spec.output]] if spec.output is not None else []
    kept = {*writing.referred, *output, *(yaml_name(field.layer) for field in spec.unread)}
    return tuple(
        entry if layer.name in kept or "top" in entry.fields or _goes_by_name(layer) else _nameless(entry)
        for entry, layer in zip(written, layers, strict=True)
    )


def _goes_by_name(layer: LayerSpec) -> bool:
    """Whether weights or the log know the layer by its name."""
    return layer.layer.role != "feature" or any(isinstance(value, Filler) for _, value in layer.layer)


def _nameless(entry: Entry) -> Entry:
    return Entry(entry.type, {key: value for key, value in entry.fields.items() if key != "name"})


def yaml_name(name: str) -> str:
    """A name as YAML can hold it: without blanks, colons and dollar signs."""
    return _UNFIT.sub("_", name)


def _refuse_other_inputs(spec: NetSpec) -> None:
    made = {*INPUTS, *(top for layer in spec.layers for top in layer.tops)}
    others = [blob for layer in spec.layers for blob in layer.bottoms if blob not in made]
    if others:
        message = f"the net reads the input '{others[0]}' besides images and labels, which a spec cannot declare"
        raise SpecError(message, place=spec.source.name)


def _without_scales(layers: Iterable[LayerSpec]) -> list[LayerSpec]:
    """A pair of BatchNorm and Scale that convert made as one BatchNorm, where nothing else reads in between."""
    result: list[LayerSpec] = []
    listed = list(layers)
    read = Counter(blob for layer in listed for blob in layer.bottoms)
    for layer in listed:
        before = result[-1] if result else None
        if before is not None and read[layer.bottoms[0] if layer.bottoms else ""] == 1 and _is_pair(before, layer):
            assert isinstance(before.layer, BatchNorm)
            assert isinstance(layer.layer, Scale)
            merged = before.layer.model_copy(update={"scale_bias": True, **_fillers(layer.layer)})
            result[-1] = replace(before, layer=merged, tops=layer.tops, rules=layer.rules, rest=layer.rest)
        else:
            result.append(layer)
    return result


def _is_pair(norm: LayerSpec, scale: LayerSpec) -> bool:
    """Whether a Scale is the second half of a BatchNorm, by a name that goes without saying: weights go by it."""
    return (
        isinstance(norm.layer, BatchNorm)
        and not norm.layer.scale_bias
        and isinstance(scale.layer, Scale)
        and scale.layer.bias_term
        and (scale.layer.axis, scale.layer.num_axes) == (1, 1)
        and scale.bottoms == norm.tops[:1]
        and scale.name == f"{norm.name}/scale"
    )


def _fillers(scale: Scale) -> dict[str, Filler]:
    return {"scale_filler": scale.filler, "bias_filler": scale.bias_filler}


def _with_masks(layers: Iterable[LayerSpec]) -> list[LayerSpec]:
    """A pooling with two outputs is what YAML calls PoolingMask."""
    result = []
    for layer in layers:
        if type(layer.layer) is Pooling and len(layer.tops) == 2:
            fields = {name: getattr(layer.layer, name) for name in PoolingMask.model_fields}
            layer = replace(layer, layer=PoolingMask(**fields))
        result.append(layer)
    return result


def _with_plain_names(layers: Iterable[LayerSpec]) -> list[LayerSpec]:
    """Names as YAML can hold them, each different."""
    taken: set[str] = set(INPUTS)
    result = []
    for layer in layers:
        name = free_name(yaml_name(layer.name), taken, "_")
        taken.add(name)
        result.append(replace(layer, name=name))
    return result


def _references(layers: Iterable[LayerSpec]) -> dict[str, str]:
    """What each blob is called in YAML: its layer's name, and a name behind it for outputs after the first."""
    names = {name: name for name in INPUTS}
    for layer in layers:
        for index, top in enumerate(layer.tops):
            if index == 0:
                names[top] = layer.name
            elif len(layer.tops) == layer.layer.tops[0]:
                names[top] = f"{layer.name}/{layer.layer.top_names[index - 1]}"
            else:
                names[top] = yaml_name(top)
    return names


class _Writing:
    """Goes through the layers; knows what the next one reads when nothing is written, and which names are used."""

    def __init__(self, blobs: Mapping[str, str], layers: Iterable[LayerSpec]):
        self.blobs = blobs
        self.owners = {name: name for name in INPUTS} | {top: layer.name for layer in layers for top in layer.tops}
        self.feature = "data"
        self.referred: set[str] = set()

    def entry(self, layer: LayerSpec) -> Entry:
        """The item of one layer."""
        fields: dict[str, object] = {"name": layer.name, **self._inputs(layer)}
        if len(layer.tops) > max(layer.layer.tops[0], 1):
            fields["top"] = [self.blobs[top] for top in layer.tops]
        fields.update(plain_parameters(layer.layer))
        fields.update(_training(layer))
        if layer.layer.role == "feature" and layer.tops:
            self.feature = layer.tops[0]
        return Entry(layer.layer.type, fields)

    def _inputs(self, layer: LayerSpec) -> dict[str, object]:
        """`bottom`, or the field with a meaning of its own by which the layer names what it reads."""
        bottoms = layer.bottoms
        if layer.layer.role in ("loss", "metric") and bottoms[1:] == ("label",):
            bottoms = bottoms[:1]
        if bottoms[:1] == (self.feature,):
            if len(bottoms) == 1:
                return {}
            field = next(iter(layer.layer.references), None)
            others = [self._reference(blob, layer.layer.references[field]) for blob in bottoms[1:]] if field else []
            if field and all(others):
                self.referred.update(others)
                return {field: others[0] if len(others) == 1 else others}
        names = [self.blobs[blob] for blob in bottoms]
        self.referred.update(self.owners[blob] for blob in bottoms)
        return {"bottom": names[0] if len(names) == 1 else names} if names else {}

    def _reference(self, blob: str, output: int) -> str:
        """The name that leads to a blob as an output of this number; empty where none does."""
        name = self.blobs[blob]
        if output == 0:
            return name
        owner, _, extra = name.rpartition("/")
        return owner if extra == PoolingMask.top_names[output - 1] else ""


def plain_parameters(layer: Layer) -> dict[str, object]:
    """A layer's parameters that are not the default, as YAML writes them."""
    fields = type(layer).model_fields
    defaults = {info.alias or name: info.get_default(call_default_factory=True) for name, info in fields.items()}
    values = {info.alias or name: getattr(layer, name) for name, info in fields.items()}
    found = {name: text for name, text in parameters(layer).items() if values[name] != defaults[name]}
    if isinstance(layer, Convolution) and "pad" in found and _is_same(layer):
        found["pad"] = "same"
    return found


def _is_same(layer: Convolution) -> bool:
    """Whether the padding keeps the size of the image, as `pad: same` does."""
    if isinstance(layer.pad, str):
        return False
    reach = [dilation * (kernel - 1) for dilation, kernel in zip(layer.dilation, layer.kernel_size, strict=True)]
    return all(size == 2 * pad for size, pad in zip(reach, layer.pad, strict=True))


def _training(layer: LayerSpec) -> dict[str, object]:
    """`param`, `loss_weight`, `propagate_down` and `share`."""
    found: dict[str, object] = {}
    if any(rule != BlobRule() for rule in layer.rules):
        found["param"] = [rule.model_dump(exclude_defaults=True) for rule in layer.rules]
    elif layer.rest != BlobRule():
        found["param"] = layer.rest.model_dump(exclude_defaults=True)
    if not all(layer.propagate_down):
        stops = layer.propagate_down
        found["propagate_down"] = stops[0] if len(stops) == 1 else list(stops)
    if layer.share:
        found["share"] = layer.share
    if layer.loss_weights and layer.loss_weights != (1.0,):
        found["loss_weight"] = layer.loss_weights[0] if len(layer.loss_weights) == 1 else list(layer.loss_weights)
    return found
