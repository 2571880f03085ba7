"""Reading a network from its file: completely, or refused with every mistake at its place."""

from __future__ import annotations

from collections.abc import Sequence as Items
from pathlib import Path

from segspec.errors import Source, SpecError, did_you_mean
from segspec.layers import LAYERS, by_type
from segspec.layers.data import DataLayer
from segspec.schema.read import read_model
from segspec.spec import library
from segspec.spec.blocks import blocks_of
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.classes import read_classes
from segspec.spec.layer_spec import LayerSpec
from segspec.spec.netspec import InputSize, NetSpec, Phase
from segspec.spec.override import apply_overrides
from segspec.spec.unread import read_unread
from segspec.spec.wire import wire
from segspec.syntax.blocks import check_name
from segspec.syntax.budget import Budget
from segspec.syntax.macros import expand
from segspec.syntax.prototxt import is_prototxt
from segspec.syntax.substitution import resolve
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, describe
from segspec.syntax.yaml import parse_yaml

KEYS = ("segspec", "name", "classes", "params", "use", "blocks", "input", "data", "layers", "output", "unread")
PHASES = ("train", "test")


def load_net(
    path: Path,
    overrides: Items[str] = (),
    phase: Phase = "TRAIN",
    *,
    stages: Items[str] = (),
    level: int | None = None,
) -> NetSpec:
    """Reads a network spec, written as YAML or as a Caffe prototxt.

    Args:
        path: the file; one that ends in `.prototxt` is Caffe's.
        overrides: `KEY=VALUE` texts; a key is one of the spec's `params`, or a dotted path such as
            `data.train.batch_size`. For those of a prototxt see `read_caffe_net`.
        phase: which layers of a prototxt are meant; YAML has the same for all phases.
        stages, level: what the rules of a prototxt's layers ask for besides.

    Raises:
        SpecError: with every mistake that was found.
    """
    source = library.read_named(path)
    if is_prototxt(path):
        return read_caffe_net(source, overrides, phase, stages=stages, level=level)
    return read_net(source, path.parent, overrides)


def read_net(source: Source, beside: Path, overrides: Items[str] = ()) -> NetSpec:
    """Reads a network spec from its text; `beside` is the folder where libraries are looked for first."""
    problems = Problems()
    budget = Budget()
    root = parse_yaml(source)
    if not isinstance(root, Mapping):
        raise SpecError(f"a spec is a mapping with 'layers:', got {describe(root)}", place=source.name)
    root = apply_overrides(root, overrides, KEYS, problems)
    _check_keys(root, problems)
    classes_node = root.get("classes")
    params = _params(root, problems, budget)
    if classes_node is not None:
        classes_node = resolve(classes_node, params, problems, budget)
    classes = read_classes(classes_node, beside, problems) if classes_node is not None else None
    if classes_node is not None:
        # A table with a mistake has been told of: who uses the number of classes makes no second one.
        params["classes"] = Scalar(classes.count if classes else 1, classes_node.span)
    blocks = blocks_of(root, beside, problems)
    layers_node = root.get("layers")
    if layers_node is None:
        problems.add("the spec has no 'layers:'", root.span)
    items = expand(layers_node, blocks, params, problems, budget) if layers_node is not None else ()
    layers = wire(items, classes, problems, blocks)
    unread = _section(root, "unread") if not problems.found else None  # a layer with a mistake is not among them
    spec = NetSpec(
        _name(root, source, problems),
        source,
        classes,
        _input(root, params, problems, budget),
        _data(root, params, problems, budget),
        layers,
        _output(root, layers, problems),
        unread=read_unread(unread, layers, problems),
    )
    problems.raise_any()
    return spec


def _check_keys(root: Mapping, problems: Problems) -> None:
    for key, value in root:
        if key.text not in KEYS:
            problems.add(f"a spec has no field '{key.text}'", key.span, did_you_mean(key.text, KEYS))
        elif key.text == "segspec" and not (
            isinstance(value, Scalar) and type(value.value) is int and value.value == 1
        ):
            problems.add(f"this segspec reads version 1 of the language, not {describe(value)}", value.span)
    if root.key("segspec") is None:
        problems.add("the first line must say which language this is", root.span, "add 'segspec: 1'")


def _name(root: Mapping, source: Source, problems: Problems) -> str:
    node = _section(root, "name")
    if node is None:
        return Path(source.name).stem
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.isprintable() and node.value.strip():
        return node.value
    problems.add(f"'name' must be a word, got {describe(node)}", node.span)
    return ""


def _section(root: Mapping, key: str) -> Node | None:
    """What stands under a top-level key; null means the same as nothing."""
    node = root.get(key)
    return None if isinstance(node, Scalar) and node.value is None else node


def _params(root: Mapping, problems: Problems, budget: Budget) -> dict[str, Node]:
    node = _section(root, "params")
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        problems.add(f"'params' must be a mapping of names to values, got {describe(node)}", node.span)
        return {}
    values: dict[str, Node] = {}
    for key, value in node:
        if key.text == "classes":
            problems.add("'classes' is declared at the top of the spec", key.span, "move it out of 'params'")
        check_name(key, "a param", problems)
        values[key.text] = resolve(value, values, problems, budget)
    return values


def _input(root: Mapping, params: dict[str, Node], problems: Problems, budget: Budget) -> InputSize | None:
    node = _section(root, "input")
    if node is None:
        return None
    resolved = resolve(node, params, problems, budget)
    if not isinstance(resolved, Mapping):
        problems.add(f"'input' is written {{height: 360, width: 480, channels: 3}}, got {describe(node)}", node.span)
        return None
    return read_model(InputSize, resolved, problems, "'input'")


def _data(root: Mapping, params: dict[str, Node], problems: Problems, budget: Budget) -> dict[str, DataLayer]:
    node = _section(root, "data")
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        problems.add(f"'data' is a mapping with 'train' and 'test', got {describe(node)}", node.span)
        return {}
    found: dict[str, DataLayer] = {}
    for key, value in node:
        if key.text not in PHASES:
            problems.add(f"'data' has no part '{key.text}'", key.span, did_you_mean(key.text, PHASES))
            continue
        layer = _data_layer(key.text, resolve(value, params, problems, budget), problems)
        if layer is not None:
            found[key.text] = layer
    if len({layer.channels for layer in found.values()}) > 1:
        channels = " and ".join(f"{layer.channels} in data.{phase}" for phase, layer in found.items())
        problems.add(f"images must have equal channels in all phases, got {channels}", node.span)
    return found


def _data_layer(phase: str, node: Node, problems: Problems) -> DataLayer | None:
    kinds = [layer.type for layer in LAYERS if issubclass(layer, DataLayer)]
    if not isinstance(node, Mapping):
        problems.add(f"data.{phase} is a mapping with a 'type', got {describe(node)}", node.span)
        return None
    kind = node.get("type")
    if not isinstance(kind, Scalar):
        problems.add(f"data.{phase} needs a 'type', such as DenseImageData", node.span)
        return None
    layer_type = by_type(kind.text)
    if layer_type is None or not issubclass(layer_type, DataLayer):
        hint = did_you_mean(kind.text, kinds) or f"known: {', '.join(kinds)}"
        problems.add(f"unknown source of images '{kind.text}'", kind.span, hint)
        return None
    return read_model(layer_type, node.without("type"), problems, f"data.{phase} ({kind.text})", kind.span)


def _output(root: Mapping, layers: tuple[LayerSpec, ...], problems: Problems) -> str | None:
    node = _section(root, "output")
    if node is None:
        return None
    tops = {top for layer in layers for top in layer.tops if layer.layer.role == "feature"}
    if isinstance(node, Scalar) and node.text in tops:
        return node.text
    hint = did_you_mean(node.text, tops) if isinstance(node, Scalar) else ""
    problems.add(f"'output' must name the blob that holds the scores, got {describe(node)}", node.span, hint)
    return None
