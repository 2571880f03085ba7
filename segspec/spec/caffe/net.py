"""A network from a Caffe prototxt: its layers of one phase, as the same typed layers that YAML gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as Items
from collections.abc import Set
from dataclasses import replace
from pathlib import Path

from segspec.errors import Source, Span, did_you_mean
from segspec.layers import LAYERS, by_type
from segspec.layers.absent import ABSENT
from segspec.layers.base import Layer
from segspec.layers.data import DataLayer, Input
from segspec.spec.caffe.blobs import Blobs
from segspec.spec.caffe.fields import text, texts
from segspec.spec.caffe.fork import NET_SILENT, SINKS, tell_dialect
from segspec.spec.caffe.layer import Dialect, Findings, Subject, input_shapes, read_parameters, read_rules
from segspec.spec.caffe.override import override_caffe, unfilled
from segspec.spec.caffe.phase import NetState, check_rules, missing_stages
from segspec.spec.caffe.rewrite import rewrite, type_name
from segspec.spec.caffe.sources import (
    Fed,
    Part,
    fed_blobs,
    feeds_labels_alone,
    is_source,
    label_names,
    pair_sources,
)
from segspec.spec.caffe.types import is_true
from segspec.spec.caffe.upgrade import upgrade
from segspec.spec.layer_spec import BlobRule, LayerSpec
from segspec.spec.netspec import InputSize, NetSpec, Phase, Unread
from segspec.spec.unread import value_text
from segspec.spec.wire import counted, short_name
from segspec.syntax.prototxt import parse_prototxt
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence

NET_FIELDS = ("name", "layer", "layers", "input", "input_dim", "input_shape", "state")
_PARTS: tuple[Part, ...] = ("image", "label")
_PROTOTXT_PHASES = {"TRAIN": "train", "TEST": "test"}

Entry = tuple[Scalar, Mapping]
"""A layer with the word `layer` before it."""


def read_caffe_net(
    source: Source,
    overrides: Items[str] = (),
    phase: Phase = "TRAIN",
    dialect: Dialect | None = None,
    *,
    stages: Items[str] = (),
    level: int | None = None,
) -> NetSpec:
    """Reads a network from the text of a prototxt.

    Args:
        source: the text.
        overrides: `NAME=VALUE` for a word `${NAME}`, or `LAYER.MESSAGE.FIELD=VALUE`.
        phase: whose layers are read; DEPLOY has the layers of TEST, with inputs in the place of all data layers.
            Sources of images are read for both phases.
        dialect: whose rules hold where the forks of Caffe differ; by default told from the layer types.
        stages: words that `include` and `exclude` rules ask for, besides those of the net's own `state`.
        level: the number that such rules ask for, instead of the one in `state`.

    Returns:
        The net, with a warning for every field that has no meaning here.

    Raises:
        SpecError: with every mistake that was found.
    """
    return net_of_tree(parse_prototxt(source), source, overrides, phase, dialect, stages=stages, level=level)


def net_of_tree(
    tree: Mapping,
    source: Source,
    overrides: Items[str] = (),
    phase: Phase = "TRAIN",
    dialect: Dialect | None = None,
    *,
    stages: Items[str] = (),
    level: int | None = None,
) -> NetSpec:
    """Reads a network that stands as a tree in some file, such as the `net_param` of a solver; else as above."""
    findings = Findings()
    root = upgrade(override_caffe(tree, overrides, findings.problems), findings.problems)
    findings.problems.raise_any()  # a template with a word unfilled is no net yet
    if left := unfilled(root):
        findings.warn(*left)
    layers = [(key, rewrite(node)) for key, node in root if key.text == "layer" and isinstance(node, Mapping)]
    _check_net(root, [layer for _, layer in layers], findings.problems)
    reading = _Reading(dialect or tell_dialect([layer for _, layer in layers]), findings)
    reading.declare_inputs(root, {top.text for _, layer in layers for top in texts(layer, "top")})
    caffe_phase = "TRAIN" if phase == "TRAIN" else "TEST"
    other = "TEST" if phase == "TRAIN" else "TRAIN"
    states = (NetState.of(root, caffe_phase, stages, level), NetState.of(root, other, stages, level))
    reading.read(layers, *states, deploy=phase == "DEPLOY")
    findings.problems.raise_any()
    return reading.net(root, source)


def _check_net(root: Mapping, layers: Items[Mapping], problems: Problems) -> None:
    if not layers and root.key("base_lr"):
        problems.add("this is a solver, not a net", root.span, "give it where a solver is expected")
    elif not layers:
        problems.add("the net has no 'layer'", root.span)
    for layer in layers:
        check_rules(layer, problems)


class _Reading:
    def __init__(self, dialect: Dialect, findings: Findings):
        self.dialect = dialect
        self.findings = findings
        self.problems = findings.problems
        self.layers: list[LayerSpec] = []
        self.data: dict[str, DataLayer] = {}
        self.label_data: dict[str, DataLayer] = {}  # sources of labels alone
        self.blobs = Blobs(findings.problems)
        self.sources: dict[str, str] = {}  # by the name in the file: what the source delivers
        self.names: Counter[str] = Counter()
        self.labels: frozenset[str] = frozenset()
        self.foreign: set[str] = set()
        self.absent: dict[str, str] = {}  # by blob: what would bring it

    def net(self, root: Mapping, source: Source) -> NetSpec:
        """What was read, as a spec."""
        for key, value in root:
            if key.text not in NET_FIELDS:
                self.findings.unread.append(Unread("", key.text, value))
            if key.text not in (*NET_FIELDS, *NET_SILENT):
                hint = did_you_mean(key.text, NET_FIELDS)
                self.findings.warn(f"a net has no field '{key.text}' here", key.span, hint)
        return NetSpec(
            text(root, "name") or Path(source.name).stem,
            source,
            None,
            self._size(),
            {phase: pair_sources(layer, self.label_data.get(phase)) for phase, layer in self.data.items()},
            tuple(self.layers),
            None,
            self.blobs.declared,
            self.blobs.fed,
            self._unread(),
            self.findings.warnings,
        )

    def _unread(self) -> tuple[Unread, ...]:
        """What has no meaning here; of sources of images under the names that they have outside of the file."""
        kept: dict[tuple[str, str, str], Unread] = {}
        result = []
        for field in self.findings.unread:
            if field.layer not in self.sources:
                result.append(field)
                continue
            renamed = replace(field, layer=self.sources[field.layer])
            kept.setdefault((renamed.layer, field.field, value_text(field.value)), renamed)
        return (*result, *kept.values())

    def _size(self) -> InputSize | None:
        shape = self.blobs.declared.get("data", ())
        return InputSize(height=shape[2], width=shape[3], channels=shape[1]) if len(shape) == 4 else None

    def declare_inputs(self, root: Mapping, made: Set[str]) -> None:
        """The inputs of `input` with `input_shape` or four `input_dim` each; without, those that no layer makes."""
        inputs = texts(root, "input")
        shapes: list[Node] = [value for key, value in root if key.text == "input_shape"]
        if not shapes:
            dims = texts(root, "input_dim")
            shapes = [Sequence(tuple(dims[i : i + 4]), dims[i].span) for i in range(0, len(dims), 4)]
        if not shapes:
            open_ends = [name for name in inputs if name.text not in made]
            self.blobs.feed([Fed(name, part, ()) for name, part in zip(open_ends, _PARTS, strict=False)])
        elif len(inputs) != len(shapes):
            span = inputs[0].span if inputs else shapes[0].span
            self.problems.add(f"the net declares {len(inputs)} 'input' and {len(shapes)} shapes", span)
        self.blobs.declare(inputs, shapes)

    def read(self, layers: Items[Entry], state: NetState, other: NetState, *, deploy: bool) -> None:
        """Reads the layers of a state, and the sources of images of the other phase too.

        Args:
            layers: of all phases.
            state: the layers that are read.
            other: the other phase.
            deploy: whether the net is fed, so that every source stands for inputs.
        """
        present = [layer for layer in layers if state.admits(layer[1])]
        rest = [layer for layer in layers if not state.admits(layer[1])]
        self.labels = label_names([layer for _, layer in layers])
        if deploy:
            self._feed_all(layers)
        for _, layer in rest:
            stages = missing_stages(layer, state)
            cause = f"--stage {stages[0]} brings it" if stages else "only a layer of the other phase makes it"
            for top in texts(layer, "top"):
                self.absent[top.text] = cause if stages else self.absent.get(top.text, cause)
        for key, layer in present:
            self._layer(key, layer, state.phase, shared=other.admits(layer), fed=deploy)
        for key, layer in rest:
            layer_type = by_type(text(layer, "type"))
            if layer_type is not None and issubclass(layer_type, DataLayer) and other.admits(layer):
                self._data(layer_type, key, layer, (other.phase,))

    def _feed_all(self, layers: Items[Entry]) -> None:
        """The tops of every source, whatever its phase, once each."""
        for _, layer in layers:
            if is_source(layer):
                blobs = fed_blobs(layer, self.labels)
                self.blobs.feed([blob for blob in blobs if blob.top.text not in self.blobs.inside])

    def _layer(self, key: Scalar, layer: Mapping, phase: str, *, shared: bool, fed: bool) -> None:
        kind = layer.get("type")
        if not isinstance(kind, Scalar):
            self.problems.add("a layer needs a 'type'", key.span)
            return
        layer_type = by_type(kind.text)
        if is_source(layer):
            if not fed:
                self.blobs.feed(fed_blobs(layer, self.labels))
            self._source(layer_type, key, layer, kind, ("TRAIN", "TEST") if shared else (phase,))
        elif kind.text in SINKS:
            self.findings.warn(f"files are not written by '{kind.text}'; the layer is left out", kind.span)
        elif layer_type is None:
            self._unknown(layer, kind)
        elif layer_type is Input:
            self.blobs.declare(texts(layer, "top"), input_shapes(layer))
        else:
            self._compute(layer_type, key, layer)

    def _unknown(self, layer: Mapping, kind: Scalar) -> None:
        """A type that is none, or one that is left out on purpose; what it makes is known all the same."""
        name, what = text(layer, "name"), "unknown"
        hint = ABSENT.get(kind.text, "")
        if hint:
            what = "unsupported"
        else:
            hint = did_you_mean(kind.text, [known.type for known in LAYERS])
        self.problems.add(f"{what} layer type '{type_name(layer)}' of layer '{name}'", kind.span, hint)
        for top in texts(layer, "top"):
            self.blobs.write(top, name)

    def _source(
        self, layer_type: type[Layer] | None, key: Scalar, layer: Mapping, kind: Scalar, phases: tuple[str, ...]
    ) -> None:
        if layer_type is not None and issubclass(layer_type, DataLayer):
            self._data(layer_type, key, layer, phases)
        elif kind.text not in self.foreign:
            self.foreign.add(kind.text)
            hint = "the net can be checked, but trained only with another source, such as DenseImageData"
            self.findings.warn(f"images are not read by '{type_name(layer)}'", kind.span, hint)

    def _data(self, layer_type: type[DataLayer], key: Scalar, layer: Mapping, phases: tuple[str, ...]) -> None:
        subject = Subject(text(layer, "name"), layer_type.type)
        read = read_parameters(layer_type, layer, self.dialect, subject, _place(key, layer), self.findings)
        labels_alone = feeds_labels_alone(layer, self.labels)
        found = self.label_data if labels_alone else self.data
        self.sources[subject.name] = "label" if labels_alone else "data"
        for phase in phases:
            if isinstance(read, DataLayer):
                found.setdefault(_PROTOTXT_PHASES[phase], read)

    def _compute(self, layer_type: type[Layer], key: Scalar, layer: Mapping) -> None:
        span = _place(key, layer)
        name = self._own_name(layer_type, layer, span)
        subject = Subject(name, layer_type.type)
        read = read_parameters(layer_type, layer, self.dialect, subject, span, self.findings)
        bottoms = tuple(self._find(bottom, subject) for bottom in texts(layer, "bottom"))
        tops = self._tops(layer_type, layer, name, span)
        for what, found, (least, most) in (("bottom", bottoms, layer_type.bottoms), ("top", tops, layer_type.tops)):
            if len(found) < least or (most is not None and len(found) > most):
                self.problems.add(f"{subject} takes {counted(least, most, what)}, got {len(found)}", span)
        passing = tuple(is_true(flag) for flag in texts(layer, "propagate_down"))
        stops = passing if layer_type.role == "feature" else passing[:1]  # a label has no gradient anyway
        rules = read_rules(layer_type, layer, subject, self.findings)
        weights = tuple(number for item in texts(layer, "loss_weight") for number in _numbers(item))
        if read is not None:
            self.layers.append(LayerSpec(name, read, bottoms, tops, rules, BlobRule(), weights, span, stops))

    def _own_name(self, layer_type: type[Layer], layer: Mapping, span: Span) -> str:
        """The layer's name, with a number where another layer has it already or none is written."""
        written = text(layer, "name")
        base = written or short_name(layer_type)
        self.names[base] += 1
        number = self.names[base]
        if not written:
            return f"{base}{number}"
        if number > 1 and layer_type.params is not Layer.params:
            self.findings.warn(f"a second layer is called '{base}'; here it is '{base}#{number}'", span)
        return f"{base}#{number}" if number > 1 else base

    def _find(self, bottom: Scalar, subject: Subject) -> str:
        """The newest version of a blob."""
        found = self.blobs.inside.get(bottom.text)
        if found is not None:
            return found
        hint = self.absent.get(bottom.text) or did_you_mean(bottom.text, self.blobs.inside)
        self.problems.add(f"{subject} reads '{bottom.text}', which no layer before it makes", bottom.span, hint)
        return self.blobs.write(bottom, "")

    def _tops(self, layer_type: type[Layer], layer: Mapping, name: str, span: Span) -> tuple[str, ...]:
        read = {bottom.text for bottom in texts(layer, "bottom")}
        tops = texts(layer, "top")
        if not tops and layer_type.role in ("loss", "metric") and layer_type.tops[0]:
            tops = [Scalar(name, span)]
        for position, top in enumerate(tops):
            first = self.blobs.place(top.text)
            if top.text in {other.text for other in tops[:position]}:
                self.problems.add(f"the layer makes the blob '{top.text}' twice", top.span, "name each top otherwise")
            elif first is not None and top.text not in read:
                self.problems.add(f"the blob '{top.text}' is made twice (first at {first.place})", top.span)
        return tuple(self.blobs.write(top, name) for top in tops)


def _numbers(item: Scalar) -> tuple[float, ...]:
    """The number that a value is, if it is one."""
    return (float(item.value),) if isinstance(item.value, int | float) else ()


def _place(key: Scalar, layer: Mapping) -> Span:
    """Where a layer's mistakes are shown: at its name."""
    name = layer.get("name")
    return name.span if isinstance(name, Scalar) else key.span
