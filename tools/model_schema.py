"""The JSON Schema of one of pydantic's models, in which every value may be a text that is filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from segspec.layers.base import Filler

Schema = dict[str, Any]

_NOISE = ("title", "message", "default")


def model_schema(model: type[BaseModel]) -> Schema:
    """A model's schema in which every value may be a text that is filled in."""
    schema = plain_schema(model)
    properties = {name: fillable(_with_default(model, name, field)) for name, field in schema["properties"].items()}
    return {**schema, "properties": properties}


def plain_schema(model: type[BaseModel]) -> Schema:
    """A model's schema as its values are, with everything that it refers to but fillers in its place."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    inlined = _inlined(schema, {name: body for name, body in definitions.items() if name != "Filler"})
    return cleaned(inlined)


def _inlined(node: Any, definitions: Mapping[str, Schema]) -> Any:
    """The schema with references to local definitions replaced by these."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined({**cleaned(definitions[name]), **rest}, definitions)
    return {key: _inlined(value, definitions) for key, value in node.items()}


def cleaned(schema: Schema) -> Schema:
    """The schema without pydantic's titles and our own notes; descriptions in one line."""
    properties = schema.get("properties", {})
    fields = {
        name: {key: value for key, value in field.items() if key not in _NOISE} for name, field in properties.items()
    }
    top = {key: value for key, value in schema.items() if key not in _NOISE}
    if "description" in top:
        top["description"] = " ".join(top["description"].split())
    return {**top, "properties": fields}


def _with_default(model: type[BaseModel], name: str, field: Schema) -> Schema:
    """The field with its default as a user would write it."""
    info = model.model_fields[name if name in model.model_fields else f"{name}_"]
    if info.is_required() or info.default in (None, ()):
        return field
    return {**field, "default": plain_default(info.default)}


def plain_default(value: object) -> object:
    """A default as a user would write it: fillers without their own defaults, pairs of equal numbers as one."""
    if isinstance(value, Filler):
        return {"type": value.type, **value.model_dump(exclude_defaults=True, exclude={"type"})}
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 and all(isinstance(item, int) for item in value) else list(value)
    return value


def fillable(schema: Schema) -> Schema:
    """The schema, or a text with a `$name`, here and inside lists and mappings."""
    about: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    bare = {key: value for key, value in schema.items() if key not in about}
    if bare.get("type") == "string" and "enum" not in bare:
        return schema
    return {**about, "anyOf": [*_alternatives(bare), {"$ref": "#/$defs/filled_in"}]}


def _alternatives(schema: Schema) -> list[Schema]:
    """The alternatives of a schema, with everything inside them fillable."""
    if set(schema) == {"anyOf"}:
        return [inner for choice in schema["anyOf"] for inner in _alternatives(choice)]
    inside = {key: fillable(schema[key]) for key in ("items", "additionalProperties") if schema.get(key)}
    if "properties" in schema:
        inside["properties"] = {name: fillable(field) for name, field in schema["properties"].items()}
    return [{**schema, **inside}]
