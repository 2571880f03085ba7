"""A net as a prototxt that Caffe reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field, replace
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segspec.convert.literals import literal, quoted
from segspec.convert.names import free_name
from segspec.convert.sizes import with_written_sizes
from segspec.convert.sources import caffe_sources, python_lines
from segspec.errors import Diagnostic, Span, SpecError
from segspec.graph.graph import Graph
from segspec.layers.affine import Scale
from segspec.layers.base import Filler, Layer
from segspec.layers.combination import Eltwise
from segspec.layers.fcn import FcnLayout
from segspec.layers.normalization import BatchNorm
from segspec.layers.pooling import PoolingMask
from segspec.schema.types import is_pair
from segspec.spec.layer_spec import BlobRule, LayerSpec
from segspec.spec.netspec import NetSpec, Unread
from segspec.syntax.tree import Mapping, Node, Sequence

IN_PLACE = frozenset(("ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "Dropout", "BN", "BatchNorm", "Scale", "Bias"))
"""Types that may write the blob that they read, which spares Caffe the memory of a second one."""
_READS_ITS_OUTPUT = frozenset(
    ("ReLU", "ReLU6", "ELU", "Sigmoid", "TanH", "Softmax", "LRN", "Exp", "Log", "Power", "MVN", "Normalize")
)
"""Types whose gradient Caffe takes from what they wrote, a ReLU that works in place among them."""
RELU_AND_DROPOUT = ("ReLU", "Dropout")
"""Of these the second may overwrite the first: it only adds zeros, where no gradient passes anyway."""
_WORD = re.compile(r"[-+\w.]+", re.ASCII)
"""An enumeration or a number, which stand without quotes."""
FROZEN = "param { lr_mult: 0 decay_mult: 0 }"
_BY_AXIS = {"kernel_size": "kernel", "stride": "stride", "pad": "pad", "unpool_size": "unpool"}
_CAFFES_NAME = {"color": "is_color"}


@dataclass(frozen=True)
class _Written:
    """A layer in Caffe's words.

    Attributes:
        name, type, bottoms, tops: as in the file.
        lines: what stands between the tops and the messages.
        messages: lines by message; those of "" stand outside any.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    lines: tuple[str, ...] = ()
    messages: Map[str, list[str]] = field(default_factory=dict)

    def text(self) -> Iterator[str]:
        yield "layer {"
        yield f"  name: {quoted(self.name)}"
        yield f"  type: {quoted(self.type)}"
        yield from (f"  bottom: {quoted(bottom)}" for bottom in self.bottoms)
        yield from (f"  top: {quoted(top)}" for top in self.tops)
        yield from (f"  {line}" for line in self.lines)
        for message, lines in self.messages.items():
            if message:
                yield f"  {message} {{"
                yield from (f"    {line}" for line in lines)
                yield "  }"
            else:
                yield from (f"  {line}" for line in lines)
        yield "}"


def prototxt_text(spec: NetSpec, graph: Graph) -> str:
    """The net as a prototxt. BatchNorm with a learned scale becomes Caffe's pair of BatchNorm and Scale.

    Args:
        spec: the net.
        graph: the same at its nominal size; its phase says whether the file is for training, with the sources of
            images, or (DEPLOY) for inference, with an Input and class probabilities at the end.

    Raises:
        SpecError: Caffe has no words for something.
    """
    deploy = graph.phase == "DEPLOY"
    written = with_written_sizes(spec, graph)
    blobs = _Blobs(graph, written.layers)
    learned = {layer.name: tuple(layer.params) for layer in graph.layers}
    layers = [_input(graph)] if deploy or not spec.data else list(_sources(spec))
    for layer in written.layers:
        layers += _layers(layer, blobs, learned.get(layer.name, ()))
    if deploy and graph.prediction is not None and not any(layer.layer.type == "Softmax" for layer in graph.layers):
        name = blobs.free("prob")
        layers.append(_Written(name, "Softmax", (blobs.names[graph.prediction],), (name,)))
    _refuse_same_names(spec, layers)
    head = [f"name: {quoted(spec.name)}", *(_unread(field) for field in spec.unread if not field.layer)]
    kept = (_with_unread(layer, spec.unread) for layer in layers)
    return "\n".join([*head, *(line for layer in kept for line in layer.text())]) + "\n"


def _refuse_same_names(spec: NetSpec, layers: Iterable[_Written]) -> None:
    """Caffe would load the weights of one for both. Sources of images, one for each phase, may share a name."""
    counts = Counter(layer.name for layer in layers if layer.bottoms)
    for name in (name for name, count in counts.items() if count > 1):
        message = f"two layers of the prototxt would be called '{name}'"
        raise SpecError(
            message, place=spec.source.name, hint="give the layer of the net that is called so another name"
        )


def _with_unread(layer: _Written, unread: Iterable[Unread]) -> _Written:
    """The layer with the fields that the file it was read from had besides."""
    messages = {message: list(lines) for message, lines in layer.messages.items()}
    for kept in unread:
        if kept.layer == layer.name:
            messages.setdefault(kept.field.rpartition(".")[0], []).append(_unread(kept))
    return replace(layer, messages=messages)


def _unread(field: Unread) -> str:
    name = field.field.rpartition(".")[2]
    return f"{name} {_value(field.value)}" if isinstance(field.value, Mapping) else f"{name}: {_value(field.value)}"


def _value(node: Node) -> str:
    """A value as it was read."""
    if isinstance(node, Mapping):
        return "{ " + " ".join(_unread(Unread("", key.text, value)) for key, value in node) + " }"
    if isinstance(node, Sequence):
        return "[" + ", ".join(map(_value, node.items)) + "]"
    return quoted(node.text) if node.quoted or not _WORD.fullmatch(node.text) else node.text


class _Blobs:
    """What each blob is called, layers that work in place having one name for both."""

    def __init__(self, graph: Graph, layers: Iterable[LayerSpec]):
        self.names: dict[str, str] = {name: name for name in graph.inputs}
        listed = list(layers)
        read = Counter(blob for layer in listed for blob in layer.bottoms)
        needed: dict[str, str] = {}  # by blob: the type of a layer that reads once more what it wrote there
        for layer in listed:
            for index, top in enumerate(layer.tops):
                in_place = index == 0 and layer.layer.type in IN_PLACE and len(layer.bottoms) == 1
                alone = in_place and read[layer.bottoms[0]] == 1 and layer.bottoms[0] not in graph.inputs
                before = needed.get(layer.bottoms[0], "") if alone else ""
                spared = alone and (not before or (before, layer.layer.type) == RELU_AND_DROPOUT)
                self.names[top] = self.names[layer.bottoms[0]] if spared else self.free(top.replace("/mask", "_mask"))
                needed[top] = (before if spared else "") or _needs_output(layer.layer)

    def free(self, name: str) -> str:
        """The name, with a number behind it where a blob has it already."""
        return free_name(name, set(self.names.values()), "_")


def _needs_output(layer: Layer) -> str:
    """The type of a layer whose gradient Caffe takes from what it wrote; else ''."""
    product = isinstance(layer, Eltwise) and layer.operation == "PROD"
    return layer.type if product or layer.type in _READS_ITS_OUTPUT else ""


def _input(graph: Graph) -> _Written:
    """An Input for the images and whatever else is read."""
    read = {bottom for layer in graph.layers for bottom in layer.bottoms}
    fed = {name: blob.caffe_shape for name, blob in graph.inputs.items() if name == "data" or name in read}
    shapes = [f"shape {{ {' '.join(f'dim: {size}' for size in shape)} }}" for shape in fed.values()]
    return _Written("data", "Input", (), tuple(fed), messages={"input_param": shapes})


def _sources(spec: NetSpec) -> Iterator[_Written]:
    for phase, layer in spec.data.items():
        top = Span(spec.source, 1, 1)
        _need_caffe(layer, top)
        include = f"include {{ phase: {phase.upper()} }}"
        for source, tops in caffe_sources(layer):
            if isinstance(source, FcnLayout):
                yield _Written("data", "Python", (), tops, (include,), {"python_param": python_lines(source)})
            else:
                yield _Written(tops[0], source.type, (), tops, (include,), _messages(source, top))


def _need_caffe(layer: Layer, span: Span) -> None:
    if not layer.in_caffe:
        feature = layer.role == "feature"
        hint = "keep this net in YAML" if feature else "--deploy leaves sources of images and losses out"
        raise SpecError(Diagnostic(f"Caffe has no layer type '{layer.type}'", span, hint))


def _layers(spec: LayerSpec, blobs: _Blobs, learned: tuple[str, ...]) -> Iterator[_Written]:
    """A layer, or the two that Caffe needs in its place."""
    layer = spec.layer
    _need_caffe(layer, spec.span)
    bottoms = tuple(blobs.names[blob] for blob in spec.bottoms)
    tops = tuple(blobs.names[blob] for blob in spec.tops)
    rules = _rules(spec, learned)
    weights = [f"loss_weight: {literal(weight)}" for weight in spec.loss_weights]
    if not all(spec.propagate_down):
        passing = [*spec.propagate_down, *(True for _ in bottoms)][: len(bottoms)]
        weights += [f"propagate_down: {literal(passes)}" for passes in passing]
    if isinstance(layer, BatchNorm):
        plain = layer.model_copy(update={"scale_bias": False})
        yield _Written(spec.name, "BatchNorm", bottoms, tops, (FROZEN,) * 3, _messages(plain, spec.span))
        if layer.scale_bias:
            scale = Scale(filler=layer.scale_filler, bias_filler=layer.bias_filler, bias_term=True)
            yield _Written(f"{spec.name}/scale", "Scale", tops, tops, rules, _messages(scale, spec.span))
        return
    kind = "Pooling" if isinstance(layer, PoolingMask) else layer.type
    yield _Written(spec.name, kind, bottoms, tops, (*rules, *weights), _messages(layer, spec.span))


def _rules(spec: LayerSpec, learned: tuple[str, ...]) -> tuple[str, ...]:
    """A `param` for each learned blob, none where all are trained alike."""
    rules = [spec.rule(index, blob) for index, blob in enumerate(learned)]
    return tuple(_rule(rule) for rule in rules) if any(rule != BlobRule() for rule in rules) else ()


def _rule(rule: BlobRule) -> str:
    """Of a named blob only what is written: in Caffe too it takes the rest from the layer that names it first."""
    found = {"name": quoted(rule.name)} if rule.name is not None else {}
    wanted = [field for field in ("lr_mult", "decay_mult") if rule.name is None or field in rule.model_fields_set]
    found |= {field: literal(getattr(rule, field)) for field in wanted}
    return " ".join(["param {", *(f"{field}: {value}" for field, value in found.items()), "}"])


def _messages(layer: Layer, span: Span) -> dict[str, list[str]]:
    """The parameters by message, those that are Caffe's default left out."""
    found: dict[str, list[str]] = {}
    for name, info in type(layer).model_fields.items():
        written = info.alias or name
        value = getattr(layer, name)
        if written in layer.references or written == "dialect" or value is None or value == _caffe_default(layer, name):
            continue
        lines = list(_lines(written, value, info, layer, span))
        if lines:
            found.setdefault(layer.message_of(name), []).extend(lines)
    return found


def _caffe_default(layer: Layer, name: str) -> object:
    """What a field means in Caffe when it is left out."""
    info = type(layer).model_fields[name]
    written = info.alias or name
    if isinstance(layer, PoolingMask) and written in ("kernel_size", "stride"):
        return None if written == "kernel_size" else (1, 1)
    if written not in layer.caffe_defaults:
        return info.get_default(call_default_factory=True)
    default = layer.caffe_defaults[written]
    return Filler.model_validate(default) if isinstance(default, dict) else default


def _lines(name: str, value: object, info: FieldInfo, layer: Layer, span: Span) -> Iterator[str]:
    """A field as one line or, where it repeats, several."""
    if name == "class_weights":
        if not isinstance(value, tuple):
            message = f"Caffe takes class weights as numbers, not '{value}'"
            raise SpecError(Diagnostic(message, span, "a run folder has them as numbers: convert that"))
        yield "weight_by_label_freqs: true"
        yield from (f"class_weighting: {literal(weight)}" for weight in value)
    elif isinstance(value, Filler):
        yield f"{name} {{ {' '.join(_filler(value))} }}"
    elif isinstance(value, tuple) and is_pair(info.annotation):
        yield from _pair(name, value, layer, span)
    elif isinstance(value, tuple):
        if any(isinstance(item, tuple | BaseModel) for item in value):
            raise SpecError(Diagnostic(f"Caffe reads '{name}' of {layer.type} from a file", span))
        if name == "shape":
            yield f"shape {{ {' '.join(f'dim: {size}' for size in value)} }}"
        else:
            yield from (f"{name}: {literal(item)}" for item in value)
    else:
        yield f"{_CAFFES_NAME.get(name, name)}: {_single(value, info.annotation)}"


def _pair(name: str, value: tuple[int, ...], layer: Layer, span: Span) -> Iterator[str]:
    if value[0] == value[1]:
        yield f"{name}: {value[0]}"
    elif name in _BY_AXIS:
        yield f"{_BY_AXIS[name]}_h: {value[0]}"
        yield f"{_BY_AXIS[name]}_w: {value[1]}"
    elif name == "dilation":
        yield from (f"{name}: {size}" for size in value)
    else:
        message = f"Caffe's {layer.type} takes one number as {name}, not {value[0]}x{value[1]}"
        raise SpecError(Diagnostic(message, span))


def _filler(filler: Filler) -> Iterator[str]:
    yield f"type: {quoted(filler.type)}"
    for name, value in filler.model_dump(exclude_defaults=True, exclude={"type"}).items():
        yield f"{name}: {value if isinstance(value, str) else literal(value)}"


def _single(value: object, annotation: object) -> str:
    if isinstance(value, str):
        return value if _is_enumeration(annotation) else quoted(value)
    assert isinstance(value, int | float)
    return literal(value)


def _is_enumeration(annotation: object) -> bool:
    return get_origin(annotation) is Literal or any(map(_is_enumeration, get_args(annotation)))
