"""A network from a Caffe prototxt: its layers of one phase, as the same typed layers that YAML gives.

Inside, every blob has one writer. A layer that works in place, writing the blob it reads, gets a new version of it
(`conv1@relu1`), and whatever reads the blob later reads the newest version, as in Caffe. Images are called `data` and
labels `label`, as in every other net, whatever the tops of the data layer are called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as Items
from dataclasses import replace
from pathlib import Path

from segspec.errors import Source, Span, did_you_mean
from segspec.layers import LAYERS, by_type
from segspec.layers.base import Layer
from segspec.layers.data import DataLayer, Input
from segspec.schema.read import read_model
from segspec.spec.caffe.layer import Dialect, Findings, input_shapes, read_parameters, read_rules
from segspec.spec.caffe.override import override_caffe
from segspec.spec.caffe.phase import NetState
from segspec.spec.caffe.pspnet import as_batch_norm, is_pspnet_norm
from segspec.spec.caffe.types import typed_value
from segspec.spec.netspec import InputSize, NetSpec, Phase
from segspec.spec.wire import BlobRule, LayerSpec, counted, short_name
from segspec.syntax.prototxt import parse_prototxt
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence

NET_FIELDS = ("name", "layer", "layers", "input", "input_dim", "input_shape")
NET_SILENT = ("state", "force_backward", "debug_info")
FOREIGN_SOURCES = (
    *("Data", "ImageData", "ImageSegData", "ImageLabelmapData", "HDF5Data", "MemoryData", "DummyData"),
    *("WindowData", "Python"),
)
"""Types that deliver images in some fork of Caffe, from files or programs that segspec does not read."""

_SEGNET_TYPES = frozenset(("BN", "Upsample", "DenseImageData"))
_PROTOTXT_PHASES = {"TRAIN": "train", "TEST": "test"}


def read_caffe_net(
    source: Source,
    overrides: Items[str] = (),
    phase: Phase = "TRAIN",
    dialect: Dialect | None = None,
) -> NetSpec:
    """Reads a network from the text of a prototxt.

    Args:
        source: the text.
        overrides: `NAME=VALUE` for a word `${NAME}`, or `LAYER.MESSAGE.FIELD=VALUE`.
        phase: whose layers are read; DEPLOY has the layers of TEST. Sources of images are read for both phases.
        dialect: whose rules hold where the forks of Caffe differ; by default told from the layer types.

    Returns:
        The net, with a warning for every field that has no meaning here.

    Raises:
        SpecError: with every mistake that was found.
    """
    findings = Findings()
    root = override_caffe(parse_prototxt(source), overrides, findings.problems)
    layers = [(key, node) for key, node in root if key.text == "layer" and isinstance(node, Mapping)]
    _check_net(root, bool(layers), findings.problems)
    reading = _Reading(dialect or _dialect(layers), findings)
    reading.declare_inputs(root)
    reading.read(layers, root, "TRAIN" if phase == "TRAIN" else "TEST")
    findings.problems.raise_any()
    return reading.net(root, source)


def _check_net(root: Mapping, has_layers: bool, problems: Problems) -> None:
    old = next((key for key, _ in root if key.text == "layers"), None)
    if old is not None:
        hint = "Caffe's upgrade_net_proto_text converts it"
        problems.add("this is a net in the format before 2015 ('layers')", old.span, hint)
    elif not has_layers and root.key("base_lr"):
        problems.add("this is a solver, not a net", root.span, "give it where a solver is expected")
    elif not has_layers:
        problems.add("the net has no 'layer'", root.span)


def _dialect(layers: Items[tuple[Scalar, Mapping]]) -> Dialect:
    """caffe-segnet where a layer type or a pooling mask shows it."""
    for _, layer in layers:
        kind = layer.get("type")
        text = kind.text if isinstance(kind, Scalar) and not is_pspnet_norm(layer) else ""
        if text in _SEGNET_TYPES or (text == "Pooling" and len(_texts(layer, "top")) > 1):
            return "segnet"
    return "bvlc"


def _texts(node: Mapping, name: str) -> list[Scalar]:
    """Everything written under a name that may repeat."""
    values = [value for key, value in node if key.text == name]
    items = [item for value in values for item in (value.items if isinstance(value, Sequence) else (value,))]
    return [item for item in items if isinstance(item, Scalar)]


class _Reading:
    def __init__(self, dialect: Dialect, findings: Findings):
        self.dialect = dialect
        self.findings = findings
        self.problems = findings.problems
        self.layers: list[LayerSpec] = []
        self.data: dict[str, DataLayer] = {}
        self.declared: dict[str, tuple[int, ...]] = {}
        self.blobs: dict[str, str] = {}  # what a blob of the file is called inside, at this point of the net
        self.places: dict[str, Span] = {}
        self.names: Counter[str] = Counter()
        self.absent: set[str] = set()

    def net(self, root: Mapping, source: Source) -> NetSpec:
        """What was read, as a spec."""
        for key, _ in root:
            if key.text not in (*NET_FIELDS, *NET_SILENT):
                self.findings.warn(
                    f"a net has no field '{key.text}' here", key.span, did_you_mean(key.text, NET_FIELDS)
                )
        name = root.get("name")
        return NetSpec(
            name.text if isinstance(name, Scalar) else Path(source.name).stem,
            source,
            None,
            self._size(),
            self.data,
            tuple(self.layers),
            None,
            self.declared,
            tuple(self.findings.warnings),
        )

    def _size(self) -> InputSize | None:
        shape = self.declared.get("data", ())
        return InputSize(height=shape[2], width=shape[3], channels=shape[1]) if len(shape) == 4 else None

    def declare_inputs(self, root: Mapping) -> None:
        """The inputs of `input` with `input_shape` or four `input_dim` each."""
        inputs = _texts(root, "input")
        shapes: list[Node] = [value for key, value in root if key.text == "input_shape"]
        if not shapes:
            dims = _texts(root, "input_dim")
            shapes = [Sequence(tuple(dims[i : i + 4]), dims[i].span) for i in range(0, len(dims), 4)]
        if shapes and len(inputs) != len(shapes):
            span = inputs[0].span if inputs else shapes[0].span
            self.problems.add(f"the net declares {len(inputs)} 'input' and {len(shapes)} shapes", span)
        elif not shapes:
            self._feed(inputs)
        self._declare(inputs, shapes)

    def _declare(self, inputs: Items[Scalar], shapes: Items[Node]) -> None:
        """Inputs with their shapes; the first that can hold images is called `data` inside."""
        free = not self.declared and not self.data and "data" not in {name.text for name in inputs}
        for name, node in zip(inputs, shapes, strict=False):
            entries = ((Scalar("shape", node.span), typed_value([node], tuple[int, ...], {}, [])),)
            shape = read_model(Input, Mapping(entries, node.span), self.problems, f"input '{name.text}'")
            if shape is not None:
                images = free and len(shape.shape) == 4
                free = free and not images
                self.declared[self._write(name, "data" if images else name.text)] = shape.shape

    def read(self, layers: Items[tuple[Scalar, Mapping]], root: Mapping, phase: str) -> None:
        """Reads the layers of a phase, and the sources of images of both."""
        state = NetState.of(root, phase)
        other = NetState.of(root, "TEST" if phase == "TRAIN" else "TRAIN")
        present = [layer for layer in layers if state.admits(layer[1])]
        rest = [layer for layer in layers if not state.admits(layer[1])]
        self.absent = {top.text for _, layer in rest for top in _texts(layer, "top")}
        for key, layer in present:
            self._layer(key, layer, phase, shared=other.admits(layer))
        for key, layer in rest:
            layer_type = by_type(_text(layer, "type"))
            if layer_type is not None and issubclass(layer_type, DataLayer) and other.admits(layer):
                self._data(layer_type, key, layer, (other.phase,))

    def _layer(self, key: Scalar, layer: Mapping, phase: str, *, shared: bool) -> None:
        kind = layer.get("type")
        if not isinstance(kind, Scalar):
            self.problems.add("a layer needs a 'type'", key.span)
            return
        if is_pspnet_norm(layer):
            layer, kind = as_batch_norm(layer), replace(kind, value="BatchNorm")
        layer_type = by_type(kind.text)
        if layer_type is None and kind.text in FOREIGN_SOURCES and not layer.key("bottom"):
            hint = "segspec reads DenseImageData; the net can be checked, but trained only with such a layer"
            self.findings.warn(f"images are not read by '{kind.text}'", kind.span, hint)
            self._feed(_texts(layer, "top"))
        elif layer_type is None:
            hint = did_you_mean(kind.text, [known.type for known in LAYERS])
            self.problems.add(f"unknown layer type '{kind.text}' of layer '{_text(layer, 'name')}'", kind.span, hint)
            for top in _texts(layer, "top"):
                self._write(top, self._version(top.text, ""))
        elif issubclass(layer_type, DataLayer):
            self._data(layer_type, key, layer, ("TRAIN", "TEST") if shared else (phase,))
            self._feed(_texts(layer, "top"))
        elif layer_type is Input:
            self._declare(_texts(layer, "top"), input_shapes(layer))
        else:
            self._compute(layer_type, key, layer)

    def _feed(self, tops: Items[Scalar]) -> None:
        """Tops that are fed: images are called `data` inside and labels `label`, in this order unless so named."""
        for top in tops:
            free = [name for name in ("data", "label") if name not in self.places]
            self._write(top, top.text if top.text in free or not free else free[0])

    def _data(self, layer_type: type[DataLayer], key: Scalar, layer: Mapping, phases: tuple[str, ...]) -> None:
        subject = f"layer '{_text(layer, 'name')}' ({layer_type.type})"
        read = read_parameters(layer_type, layer, self.dialect, subject, _place(key, layer), self.findings)
        for phase in phases:
            if isinstance(read, DataLayer):
                self.data.setdefault(_PROTOTXT_PHASES[phase], read)

    def _compute(self, layer_type: type[Layer], key: Scalar, layer: Mapping) -> None:
        span = _place(key, layer)
        name = self._own_name(layer_type, layer, span)
        subject = f"layer '{name}' ({layer_type.type})"
        read = read_parameters(layer_type, layer, self.dialect, subject, span, self.findings)
        bottoms = tuple(self._find(bottom, subject) for bottom in _texts(layer, "bottom"))
        tops = self._tops(layer_type, layer, name, span)
        for what, found, (least, most) in (("bottom", bottoms, layer_type.bottoms), ("top", tops, layer_type.tops)):
            if len(found) < least or (most is not None and len(found) > most):
                self.problems.add(f"{subject} takes {counted(least, most, what)}, got {len(found)}", span)
        rules = read_rules(layer_type, layer, subject, self.findings)
        weights = tuple(
            float(item.value) for item in _texts(layer, "loss_weight") if isinstance(item.value, int | float)
        )
        if read is not None:
            self.layers.append(LayerSpec(name, read, bottoms, tops, rules, BlobRule(), weights, span))

    def _own_name(self, layer_type: type[Layer], layer: Mapping, span: Span) -> str:
        """The layer's name, with a number where another layer has it already or none is written."""
        written = _text(layer, "name")
        base = written or short_name(layer_type)
        self.names[base] += 1
        number = self.names[base]
        if not written:
            return f"{base}{number}"
        if number > 1:
            self.findings.warn(f"a second layer is called '{base}'; here it is '{base}#{number}'", span)
            return f"{base}#{number}"
        return base

    def _find(self, bottom: Scalar, subject: str) -> str:
        """The newest version of a blob."""
        if bottom.text in self.blobs:
            return self.blobs[bottom.text]
        hint = did_you_mean(bottom.text, self.blobs)
        if bottom.text in self.absent:
            hint = "only a layer of the other phase makes it"
        self.problems.add(f"{subject} reads '{bottom.text}', which no layer before it makes", bottom.span, hint)
        self.blobs[bottom.text] = bottom.text
        return bottom.text

    def _tops(self, layer_type: type[Layer], layer: Mapping, name: str, span: Span) -> tuple[str, ...]:
        read = {bottom.text for bottom in _texts(layer, "bottom")}
        tops = _texts(layer, "top")
        if not tops and layer_type.role in ("loss", "metric") and layer_type.tops[0]:
            tops = [Scalar(name, span)]
        for top in tops:
            if top.text in self.blobs and top.text not in read:
                first = self.places.get(self.blobs[top.text], top.span)
                self.problems.add(f"the blob '{top.text}' is made twice (first at {first.place})", top.span)
        return tuple(self._write(top, self._version(top.text, name)) for top in tops)

    def _version(self, blob: str, layer: str) -> str:
        """What a blob is called inside: by its own name, unless that is taken."""
        return blob if blob not in self.places else f"{blob}@{layer}"

    def _write(self, top: Scalar, inside: str) -> str:
        self.blobs[top.text] = inside
        self.places[inside] = top.span
        return inside


def _text(layer: Mapping, name: str) -> str:
    node = layer.get(name)
    return node.text if isinstance(node, Scalar) else ""


def _place(key: Scalar, layer: Mapping) -> Span:
    """Where a layer's mistakes are shown: at its name."""
    name = layer.get("name")
    return name.span if isinstance(name, Scalar) else key.span
