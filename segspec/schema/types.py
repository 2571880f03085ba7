"""Field types shared by layers, specs and solvers: what a value may look like in the text.

Each type validates strictly (a quoted "3" is not a number), normalises the short form to the full
one, and carries its own JSON Schema, so that an editor accepts exactly what `segspec check` accepts.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

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


def _pixels_or(*words: str) -> BeforeValidator:
    """One of some words as it is; a whole number from 0 or a pair of them as (height, width)."""
    expected = ", ".join(f"`{word}`" for word in words)

    def validate(value: object) -> object:
        if value in words:
            return value
        items = value if isinstance(value, list | tuple) else (value, value)
        whole = all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in items)
        if len(items) != 2 or not whole:
            raise ValueError(f"must be {expected}, a whole number from 0, or [height, width]")
        return tuple(items)

    return BeforeValidator(validate)


def _pixels_or_schema(*words: str) -> WithJsonSchema:
    word = {"const": words[0]} if len(words) == 1 else {"enum": list(words)}
    pixels = {"type": "integer", "minimum": 0}
    return WithJsonSchema({"anyOf": [word, pixels, {"type": "array", "items": pixels, "minItems": 2, "maxItems": 2}]})


def _list_of_one(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def is_pair(annotation: object) -> bool:
    """Whether a field's type is a (height, width) pair, for which one number may stand."""
    return annotation == tuple[int, int] or any(map(is_pair, get_args(annotation)))


Size = Annotated[tuple[int, int], _pair_from(1), _pair_schema(1)]
"""Height and width in pixels, at least 1 each."""

Margin = Annotated[tuple[int, int], _pair_from(0), _pair_schema(0)]
"""Height and width in pixels, at least 0 each."""

Padding = Annotated[
    Literal["same", "same_upper"] | tuple[int, int],
    _pixels_or("same", "same_upper"),
    _pixels_or_schema("same", "same_upper"),
]
"""Height and width in pixels, or a rule that gives them for a filter and the size of the image."""

PoolingPadding = Annotated[
    Literal["same_upper"] | tuple[int, int], _pixels_or("same_upper"), _pixels_or_schema("same_upper")
]
"""The same for the window of a pooling."""

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
