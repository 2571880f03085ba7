"""A spec as flat text: every macro carried out, every default written, ready to be read back."""

from __future__ import annotations

from pydantic import BaseModel

from segspec.layers.base import Filler, Layer
from segspec.layers.data import DataLayer
from segspec.schema.types import is_pair
from segspec.spec.classes import ClassTable
from segspec.spec.layer_spec import BlobRule, LayerSpec
from segspec.spec.netspec import NetSpec
from segspec.spec.unread import unread_lines
from segspec.syntax.write import flow, scalar


def flat_text(spec: NetSpec) -> str:
    """The spec as YAML with one line a layer; `load_net` reads it back to an equal net."""
    lines = ["segspec: 1", f"name: {scalar(spec.name)}"]
    if spec.classes is not None:
        lines += ["classes:", *class_lines(spec.classes)]
    if spec.input is not None:
        lines.append(f"input: {flow(spec.input.model_dump())}")
    if spec.data:
        lines += ["data:", *(f"  {phase}: {flow(_data(layer))}" for phase, layer in spec.data.items())]
    lines += ["layers:", *(f"  - {layer.layer.type}: {flow(_layer(layer, spec.classes))}" for layer in spec.layers)]
    if spec.output is not None:
        lines.append(f"output: {scalar(spec.output)}")
    lines += unread_lines(spec.unread)
    return "\n".join(lines) + "\n"


def class_lines(table: ClassTable) -> list[str]:
    """The class table as the lines under `classes:`."""
    lines = ["  classes:"]
    lines += [f"    {scalar(name)}: {flow(color)}" for name, color in zip(table.names, table.colors, strict=True)]
    if table.ids is not None:
        lines.append(f"  ids: {flow(table.ids)}")
    if table.ignore_label is not None:
        name = table.ignore_name.replace("$", "$$")
        ignore = {"label": table.ignore_label, "name": name, "color": table.ignore_color}
        if table.ignore_ids:
            ignore["ids"] = table.ignore_ids
        lines.append(f"  ignore: {flow(ignore)}")
    return lines


def _data(layer: DataLayer) -> dict[str, object]:
    return {"type": layer.type, **parameters(layer)}


def _layer(spec: LayerSpec, classes: ClassTable | None) -> dict[str, object]:
    fields: dict[str, object] = {"name": spec.name}
    fields["bottom"] = spec.bottoms[0] if len(spec.bottoms) == 1 else spec.bottoms
    usual = (spec.name, *(f"{spec.name}/{extra}" for extra in spec.layer.top_names))
    if spec.tops != usual[: spec.layer.tops[0]]:
        fields["top"] = spec.tops
    fields.update(parameters(spec.layer))
    if classes and classes.ignore_label is not None and "ignore_label" in type(spec.layer).model_fields:
        fields.setdefault("ignore_label", None)
    if spec.rules:
        fields["param"] = [_rule(spec, rule) for rule in spec.rules]
    elif spec.rest != BlobRule():
        fields["param"] = _rule(spec, spec.rest)
    if spec.loss_weights:
        fields["loss_weight"] = spec.loss_weights
    if not all(spec.propagate_down):
        fields["propagate_down"] = spec.propagate_down
    if spec.share:
        fields["share"] = spec.share
    return fields


def _rule(spec: LayerSpec, rule: BlobRule) -> dict[str, object]:
    """All fields of a rule; of a blob that layers share only what is written: the rest is as where it is held."""
    return rule.model_dump(exclude_none=True, exclude_unset=bool(spec.share or rule.name))


def parameters(layer: Layer) -> dict[str, object]:
    """A layer's parameters as the text writes them, in the order of declaration.

    References are left out, and None where it is the default.
    """
    found: dict[str, object] = {}
    for name, info in type(layer).model_fields.items():
        written = info.alias or name
        value = getattr(layer, name)
        if written not in layer.references and (value is not None or info.default is not None):
            found[written] = _plain(value, short=is_pair(info.annotation))
    return found


def _plain(value: object, *, short: bool) -> object:
    if isinstance(value, Filler):
        return {"type": value.type, **value.model_dump(exclude_defaults=True, exclude={"type"})}
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    if isinstance(value, str):
        return value.replace("$", "$$")
    if short and isinstance(value, tuple) and value[0] == value[1]:
        return value[0]
    return value
