"""JSON Schemas (draft 2020-12) of spec and solver files, derived from the models that read them.

A schema tells an editor which words may stand where. `segspec check` finds more, such as shapes that do not fit. Any
value may be a text with a `$name` in it, since params, blocks and loops fill it in.
"""

from __future__ import annotations

from collections.abc import Iterable

from model_schema import Schema, cleaned, fillable, model_schema, plain_schema

from segspec.layers import LAYERS
from segspec.layers.base import Filler, Layer
from segspec.layers.data import DataLayer
from segspec.spec.classes import MAX_CLASSES, _TableFile
from segspec.spec.layer_spec import BlobRule
from segspec.spec.net import KEYS, PHASES
from segspec.spec.netspec import InputSize
from segspec.spec.solver import NEEDS, Solver
from segspec.syntax.blocks import BRANCHES, KINDS, USE_FIELDS
from segspec.syntax.budget import MAX_LAYERS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SOURCES = tuple(layer for layer in LAYERS if issubclass(layer, DataLayer))
USED = tuple(layer for layer in LAYERS if layer.role != "data")
"""The types that stand under `layers:`."""

_NAMES: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_COMMON: dict[str, Schema] = {
    "name": {
        "description": "Name of the layer or block, unique in its scope; others refer to it by this.",
        "type": "string",
        "pattern": r"^[^\s:]+$",
    },
    "bottom": {"description": "What the layer reads; left out, the last feature (and the label).", **_NAMES},
    "top": {"description": "Names of the layer's outputs; left out, the layer's own name.", **_NAMES},
    "param": {
        "description": "How learned blobs are trained: one rule for all, or a list in the order of the blobs.",
        "anyOf": [{"$ref": "#/$defs/BlobRule"}, {"type": "array", "items": {"$ref": "#/$defs/BlobRule"}}],
    },
    "loss_weight": {
        "description": "Factor of each output in the net's loss; left out, 1 for a loss and 0 for all others.",
        "anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}],
    },
    "propagate_down": {
        "description": "Whether each input gets a gradient; left out, all do.",
        "anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "boolean"}}],
    },
    "share": {
        "description": "Layers of one word here have the same learned blobs; of blocks, the layers in the same places.",
        "type": "string",
        "pattern": r"^[^\s:]+$",
    },
    "repeat": {"description": "How many times in a row.", "type": "integer", "minimum": 0, "maximum": MAX_LAYERS},
    "when": {"description": "Whether it is there at all, such as `$i > 2`.", "type": "boolean"},
}
_BLOCK_USE = USE_FIELDS


def spec_schema() -> Schema:
    """The schema of a network spec."""
    required, optional = _by_need(USED)
    properties = _top_level()
    assert tuple(properties) == KEYS, "a top-level field has no schema"
    return {
        "$schema": DIALECT,
        "title": "segspec network",
        "description": "A network for semantic segmentation, version 1 of the language.",
        "type": "object",
        "properties": properties,
        "required": ["segspec", "layers"],
        "additionalProperties": False,
        "$defs": {
            "filled_in": {
                "description": "A text with a $name that a param, a block or a loop fills in.",
                "type": "string",
                "pattern": r"\$",
            },
            "layers": {"type": "array", "items": {"$ref": "#/$defs/layer"}},
            "layer": _layer([*required, *optional], optional),
            "block_use": {
                "description": "A block with its arguments.",
                "type": ["object", "null"],
                "properties": {name: {"$ref": f"#/$defs/common_{name}"} for name in _BLOCK_USE},
            },
            "block": _block(),
            **{f"common_{name}": fillable(schema) for name, schema in _COMMON.items()},
            "Filler": model_schema(Filler),
            "BlobRule": model_schema(BlobRule),
            **{layer.type: _layer_type(layer) for layer in USED},
            **{source.type: _source(source) for source in SOURCES},
        },
    }


def solver_schema() -> Schema:
    """The schema of a solver file, with the fields that each learning rate policy needs."""
    schema = cleaned(Solver.model_json_schema())
    needs = [
        {
            "if": {"properties": {"lr_policy": {"const": policy}}, "required": ["lr_policy"]},
            "then": {"required": [*fields]},
        }
        for policy, fields in NEEDS.items()
        if fields
    ]
    defaults = {name: info.default for name, info in Solver.model_fields.items() if not info.is_required()}
    for name, value in defaults.items():
        if value not in (None, ()):
            schema["properties"][name]["default"] = value
    return {"$schema": DIALECT, "title": "segspec solver", **schema, "allOf": needs}


def _by_need(layers: Iterable[type[Layer]]) -> tuple[list[str], list[str]]:
    """Types that need a parameter, and types that may stand as a bare word."""
    required: list[str] = []
    optional: list[str] = []
    for layer in layers:
        needs = any(info.is_required() for info in layer.model_fields.values())
        (required if needs else optional).append(layer.type)
    return required, optional


_CLASS_NAMES: Schema = {
    "type": "array",
    "items": {"type": ["string", "number", "boolean", "null"]},
    "minItems": 1,
    "maxItems": MAX_CLASSES,
    "uniqueItems": True,
}


def _class_table() -> Schema:
    """A class table, whose `classes` may be names alone."""
    table = plain_schema(_TableFile)
    classes = table["properties"]["classes"]
    description = {"description": classes.pop("description")}
    table["properties"]["classes"] = {**description, "anyOf": [classes, _CLASS_NAMES]}
    return fillable(table)


def _top_level() -> dict[str, Schema]:
    return {
        "segspec": {"description": "Version of the language.", "const": 1},
        "name": {"description": "Name of the net; left out, the file's name.", "type": "string"},
        "classes": {
            "description": "The classes in the order of their labels: a table's name, a count, names, or a table.",
            "anyOf": [
                {"type": "string"},
                {"type": "integer", "minimum": 2, "maximum": MAX_CLASSES},
                {**_CLASS_NAMES, "minItems": 2},
                _class_table(),
            ],
        },
        "params": {
            "description": "Named values, read as $name anywhere and changed by --set NAME=VALUE.",
            "type": "object",
            "propertyNames": {"not": {"const": "classes"}},
        },
        "use": {"description": "Block libraries: blocks/NAME.yaml beside the spec or shipped.", **_NAMES},
        "blocks": {
            "description": "Blocks of layers with arguments, used like layer types.",
            "type": "object",
            "propertyNames": {"not": {"enum": [layer.type for layer in LAYERS]}},
            "additionalProperties": {"$ref": "#/$defs/block"},
        },
        "input": fillable(plain_schema(InputSize)),
        "data": {
            "description": "Sources of images.",
            "type": "object",
            "properties": {phase: fillable(_any_source()) for phase in PHASES},
            "additionalProperties": False,
        },
        "layers": {"description": "The layers in order; each reads the feature before it.", "$ref": "#/$defs/layers"},
        "output": {"description": "The blob that holds the scores; left out, what the loss reads.", "type": "string"},
        "unread": {
            "description": "Fields of a prototxt that have no meaning here, by layer: kept for writing it back.",
            "type": "object",
            "additionalProperties": {"type": "object"},
        },
    }


def _layer(types: list[str], bare: list[str]) -> Schema:
    """One item of a list of layers: a type, a block, a loop or branches."""
    alone = {"required": ["foreach"]}
    branches = {"anyOf": [{"required": [kind]} for kind in BRANCHES]}
    return {
        "type": ["object", "string"],
        "anyOf": [{"enum": bare}, {"not": {"enum": [layer.type for layer in LAYERS]}}],
        "minProperties": 1,
        "properties": {
            **{name: {"$ref": f"#/$defs/{name}"} for name in types},
            "foreach": {
                "description": "Lists of equal length; `do` is carried out once a row.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": fillable({"type": "array"}),
            },
            "do": {"description": "The layers of the loop.", "$ref": "#/$defs/layers"},
            **{kind: _branches(kind) for kind in BRANCHES},
            "name": {"$ref": "#/$defs/common_name"},
            **{source.type: False for source in LAYERS if source.role == "data"},
        },
        "additionalProperties": {"$ref": "#/$defs/block_use"},
        "allOf": [
            {
                "if": {"type": "object", **alone},
                "then": {"required": ["do"], "propertyNames": {"enum": ["foreach", "do"]}},
                "else": {
                    "if": {"type": "object", **branches},
                    "then": {"maxProperties": 2, "propertyNames": {"enum": [*BRANCHES, "name"]}},
                    "else": {"maxProperties": 1, "propertyNames": {"not": {"enum": ["do", "name"]}}},
                },
            }
        ],
    }


def _branches(kind: str) -> Schema:
    how = "added up" if kind == "sum" else "joined along the channels"
    branch = {"anyOf": [{"$ref": "#/$defs/layers"}, {"$ref": "#/$defs/layer"}]}
    loop = {"contains": {"type": "object", "required": ["foreach"]}}
    return {
        "description": f"Branches from the same input, {how}; [] is the input itself, a foreach one branch a row.",
        "type": "array",
        "anyOf": [{"minItems": 2}, loop],
        "items": branch,
    }


def _block() -> Schema:
    return {
        "type": "object",
        "properties": {
            "args": {
                "description": f"Arguments: a kind ({', '.join(KINDS)}) or a default, which may use those before it.",
                "type": ["object", "null"],
                "additionalProperties": {"type": ["string", "number", "boolean", "null", "array"]},
            },
            "scope": {
                "description": "Whether a use without a name at the top level is numbered and named as a scope.",
                "type": "boolean",
                "default": True,
            },
            "layers": {"$ref": "#/$defs/layers"},
        },
        "required": ["layers"],
        "additionalProperties": False,
    }


def _layer_type(layer: type[Layer]) -> Schema:
    schema = model_schema(layer)
    needed = schema.get("required")
    common = {name: {"$ref": f"#/$defs/common_{name}"} for name in _COMMON}
    return {
        **schema,
        "type": "object" if needed else ["object", "null"],
        "properties": {**common, **schema["properties"]},
    }


def _source(source: type[DataLayer]) -> Schema:
    schema = model_schema(source)
    return {**schema, "properties": {"type": {"const": source.type}, **schema["properties"]}}


def _any_source() -> Schema:
    types = [source.type for source in SOURCES]
    return {
        "type": "object",
        "properties": {"type": {"description": "Kind of source.", "enum": types}},
        "required": ["type"],
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}} for name in types
        ],
    }
