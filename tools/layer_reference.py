"""The reference of layers, data sources and solver fields as Markdown, derived from the models that read them."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from model_schema import plain_default
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segspec.errors import Source
from segspec.layers import LAYERS
from segspec.layers.base import Blob, Filler, Layer
from segspec.layers.data import DataLayer
from segspec.schema.read import field_names, read_model
from segspec.spec.layer_spec import BlobRule
from segspec.spec.solver import Solver
from segspec.spec.wire import counted, short_name
from segspec.syntax.tree import Mapping as Tree
from segspec.syntax.tree import Problems
from segspec.syntax.write import flow
from segspec.syntax.yaml import parse_yaml

WIDTH = 120
SOURCES = tuple(layer for layer in LAYERS if issubclass(layer, DataLayer))
USED = tuple(layer for layer in LAYERS if layer.role != "data")
PROTOTXT_ONLY = tuple(layer for layer in LAYERS if layer.role == "data" and layer not in SOURCES)

_INTRODUCTION = """# Layers, data sources and solver fields

This page is generated from the code by `make generate`. The [language](../docs/language.md) says how layers are put
together.

A layer is written `- Type: {parameter: value, ...}`. Every layer also takes `name`, `bottom`, `top`, `param`,
`loss_weight`, `propagate_down`, `share`, `repeat` and `when`, which the [language](../docs/language.md) explains. An
`axis` counts in the order batch, channels, height, width (0 to 3), whatever the arrays look like in memory. A default
in brackets is what a Caffe prototxt means where it leaves the field out, when that is another one. `[height, width]`
may be written as one number when both are equal.
"""
_SOURCES = """## Data sources

They stand under `data:`, one for `train` and one for `test`: `train: {type: SyntheticSquares, batch_size: 8}`.
"""
_SOLVER = """## Solver

The fields of a solver file. [The solver](../docs/solver.md) explains them.
"""
_FILLER = """## Filler

How a learned blob starts, such as `weight_filler: {type: gaussian, std: 0.01}`.
"""
_RULE = """## Param rules

What `param` says about a learned blob: `param: {lr_mult: 0}` for all blobs of a layer, or a list in their order.
"""
_WORDS = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text", "null": ""}


def reference() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, _contents()]
    for module, layers in _families().items():
        parts.append(_family(module))
        parts.extend(map(_layer, layers))
    parts += [_SOURCES, *map(_source, SOURCES)]
    parts += [_for_prototxt(layer) for layer in PROTOTXT_ONLY]
    parts += [f"{_FILLER}\n{_about(Filler)}\n\n{_table(Filler)}\n", f"{_RULE}\n{_table(BlobRule)}\n"]
    parts.append(f"{_SOLVER}\n{_table(Solver)}\n")
    return "\n".join(parts)


def _contents() -> str:
    """Every family with links to its layers."""
    lines = []
    for module, layers in _families().items():
        links = ", ".join(f"[{layer.type}](#{layer.type.lower()})" for layer in layers)
        lines.append(f"- {_title(module)}: {links}")
    links = ", ".join(f"[{source.type}](#{source.type.lower()})" for source in SOURCES)
    lines.append(f"- [Data sources](#data-sources): {links}")
    lines.append("- [Filler](#filler), [Param rules](#param-rules), [Solver](#solver)")
    wrapped = (textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines)
    return "\n".join(wrapped) + "\n"


def _families() -> dict[str, list[type[Layer]]]:
    """The layers by the module of their family, both in the order of LAYERS."""
    families: dict[str, list[type[Layer]]] = {}
    for layer in USED:
        families.setdefault(layer.__module__, []).append(layer)
    return families


def _title(module: str) -> str:
    return module.rpartition(".")[2].replace("_", " ").capitalize() + " layers"


def _family(module: str) -> str:
    summary = " ".join((sys.modules[module].__doc__ or "").split("\n\n")[0].split())
    return f"## {_title(module)}\n\n{summary}\n"


def _layer(layer: type[Layer]) -> str:
    heading = f"### {layer.type}\n\n{_about(layer)}\n"
    example = "" if layer.example == "{}" else f": {layer.example}"
    return f"{heading}\n```yaml\n- {layer.type}{example}\n```\n\n{_facts(layer)}\n\n{_table(layer)}\n"


def _source(source: type[Layer]) -> str:
    fields = source.example.removeprefix("{")
    example = f"```yaml\ndata:\n  train: {{type: {source.type}, {fields}\n```"
    return f"### {source.type}\n\n{_about(source)}\n\n{example}\n\n{_table(source)}\n"


def _for_prototxt(layer: type[Layer]) -> str:
    note = "In a prototxt only: in YAML the net's inputs are `data` and `label`."
    return f"### {layer.type}\n\n{_about(layer)}\n\n{note}\n\n{_table(layer)}\n"


def _about(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("*", "\\*")


def _facts(layer: type[Layer]) -> str:
    """Inputs, outputs, learned blobs and names, a sentence each."""
    facts = [f"Takes {counted(*layer.bottoms, 'input')}{_where(layer)}.", f"Gives {_outputs(layer)}."]
    learned = _learned(layer)
    if learned:
        facts.append(f"Learns {', '.join(f'`{blob}`' for blob in learned)} (in this order).")
    facts.append(f"Unnamed it is called `{short_name(layer)}1`, `{short_name(layer)}2` and so on.")
    if layer.message:
        facts.append(f"Prototxt: `{layer.message}`.")
    return textwrap.fill(" ".join(facts), WIDTH, break_long_words=False, break_on_hyphens=False)


def _where(layer: type[Layer]) -> str:
    """Where inputs after the first come from."""
    if layer.references:
        return "; " + " and ".join(f"`{field}` names the others" for field in layer.references)
    return ": the feature and the label" if layer.role in ("loss", "metric") and layer.bottoms == (2, 2) else ""


def _outputs(layer: type[Layer]) -> str:
    if layer.tops == (0, 0):
        return "no output"
    names = ", ".join(f"`NAME/{name}`" for name in layer.top_names)
    kind = {"loss": "a loss", "metric": "a figure"}.get(layer.role, "")
    more = f" ({'the others are' if len(layer.top_names) > 1 else 'the second is'} {names})" if names else ""
    return counted(*layer.tops, "output") + more + (f", {kind}" if kind else "")


def _learned(layer: type[Layer]) -> list[str]:
    """The learned blobs of the type's example, which a `param` list follows."""
    problems = Problems()
    node = parse_yaml(Source(layer.type, layer.example or "{}"))
    assert isinstance(node, Tree)
    read = read_model(layer, node, problems, layer.type)
    problems.raise_any()
    return list(read.params([Blob((1, 16, 16, 4))] * layer.bottoms[0])) if read else []


def _table(model: type[BaseModel]) -> str:
    if not model.model_fields:
        return "It has no parameters of its own."
    schema = model.model_json_schema(by_alias=True)
    rows = [("parameter", "type", "default", "meaning"), ("---", "---", "---", "---")]
    for name, info in zip(field_names(model), model.model_fields.values(), strict=True):
        words = _type(model, name, schema["properties"][name], schema.get("$defs", {}))
        rows.append((f"`{name}`", words, _default(model, name, info), _cell(info.description or "")))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _default(model: type[BaseModel], name: str, info: FieldInfo) -> str:
    """The default as a user would write it, and Caffe's where that differs."""
    ours = "required" if info.is_required() else _written(info.default)
    caffe = getattr(model, "caffe_defaults", {})
    return f"{ours} (Caffe: {_written(caffe[name])})" if name in caffe else ours


def _written(value: object) -> str:
    return "none" if value in (None, (), "") else f"`{flow(plain_default(value))}`"


def _type(model: type[BaseModel], name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A field's type in a user's words."""
    if name in getattr(model, "references", {}):
        several = any(choice.get("type") == "array" for choice in schema.get("anyOf", ()))
        return "name of a layer, or a list" if several else "name of a layer"
    limits = _pair_limits(schema)
    words = (text.removesuffix(limits) for text in _described(schema, definitions))
    return _join(words) + limits


def _pair_limits(schema: Mapping[str, Any]) -> str:
    """The limits that both numbers of a pair have, and the one number that may stand for both."""
    pairs = [choice for choice in schema.get("anyOf", ()) if choice.get("maxItems") == 2]
    return _range(pairs[0]["items"]) if pairs else ""


def _described(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield f"[{name.lower()}](#{name.lower()})"
    elif "anyOf" in schema:
        for choice in schema["anyOf"]:
            yield from _described(choice, definitions)
    elif "enum" in schema:
        yield from (f"`{value}`" for value in schema["enum"])
    elif "const" in schema:
        yield f"`{schema['const']}`"
    elif schema["type"] == "array":
        yield _list(schema)
    elif _WORDS[schema["type"]]:
        yield _WORDS[schema["type"]] + _range(schema)


def _list(schema: Mapping[str, Any]) -> str:
    if schema.get("maxItems") == 2:
        return "`[least, greatest]`" if "exclusiveMinimum" in schema["items"] else "`[height, width]`"
    words = _join(_described(schema["items"], {}))
    return f"list of lists of {words[8:]}" if words.startswith("list of ") else f"list of {_plural(words)}"


def _plural(words: str) -> str:
    kind, comma, limits = words.partition(",")
    return f"{kind}s{comma}{limits}"


def _range(schema: Mapping[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    words = []
    if low is not None:
        words.append(f"at least {low:g}" if "minimum" in schema else f"above {low:g}")
    if high is not None:
        words.append(f"at most {high:g}" if "maximum" in schema else f"below {high:g}")
    return f", {' and '.join(words)}" if words else ""


def _join(words: Iterable[str]) -> str:
    listed = list(words)
    return listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + f" or {listed[-1]}"
