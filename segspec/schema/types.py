"""Field types shared by layers, specs and solvers: what a value may look like in the text.

Each type validates strictly (a quoted "3" is not a number), normalises the short form to the full
one, and carries its own JSON Schema, so that an editor accepts exactly what `segspec check` accepts.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema


def _pair_from(minimum: int) -> BeforeValidator:
    """A `(height, width)` pair of integers, written as one integer or as `[height, width]`."""

    def validate(value: object) -> tuple[int, int]:
        items = value if isinstance(value, list | tuple) else (value, value)
        if len(items) != 2 or not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            raise ValueError("must be an integer or [height, width]")
        if min(items) < minimum:
            raise ValueError(f"must be at least {minimum}")
        return (items[0], items[1])

    return BeforeValidator(validate)


def _pair_schema(minimum: int) -> WithJsonSchema:
    integer = {"type": "integer", "minimum": minimum}
    pair = {"type": "array", "items": integer, "minItems": 2, "maxItems": 2}
    return WithJsonSchema({"anyOf": [integer, pair]})


def _list_of_one(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def is_pair(annotation: object) -> bool:
    """Whether a field's type is a (height, width) pair, for which one number may stand."""
    return annotation == tuple[int, int] or any(map(is_pair, get_args(annotation)))


Size = Annotated[tuple[int, int], _pair_from(1), _pair_schema(1)]
"""Height and width in pixels, at least 1 each."""

Margin = Annotated[tuple[int, int], _pair_from(0), _pair_schema(0)]
"""Height and width in pixels, at least 0 each."""

Count = Annotated[int, Field(ge=1, strict=True)]
"""A whole number, at least 1."""

Real = Annotated[float, Field(allow_inf_nan=False)]
"""A finite real number."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
"""A share: at least 0, below 1."""

Reference = Annotated[str, Field(min_length=1)]
"""The name of another layer (or of a block, meaning its last layer)."""

References = Annotated[
    tuple[Reference, ...],
    BeforeValidator(_list_of_one),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One name or a list of names of other layers."""

Reals = Annotated[
    tuple[Real, ...],
    BeforeValidator(_list_of_one),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}),
]
"""One number or a list of numbers."""

Integers = Annotated[
    tuple[int, ...],
    BeforeValidator(_list_of_one),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
]
"""One whole number or a list of them."""
