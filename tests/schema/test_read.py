"""pydantic's errors as messages for people: which value, what was expected, what was found, where."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from segspec.errors import Diagnostic, Source
from segspec.layers import LAYERS
from segspec.schema.read import field_names, read_model
from segspec.schema.types import Count, Fraction, Integers, Margin, Real, Reals, References, Size
from segspec.syntax.tree import Mapping, Problems
from segspec.syntax.yaml import parse_yaml


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    depth: int = Field(1, description="How deep.")


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    count: Count = Field(1)
    rate: Real = Field(0.0, ge=-1)
    share: Fraction = Field(0.0)
    flag: bool = False
    word: str = Field("x", min_length=1)
    kind: Literal["MAX", "AVE"] = "MAX"
    size: Size = (1, 1)
    margin: Margin = (0, 0)
    whole: Integers = ()
    reals: Reals = ()
    with_: References = Field((), alias="with")
    inner: Inner | None = None
    union: int | str | None = None


class Needs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    number: int = Field(description="Number of things.")
    bare: int

    @model_validator(mode="after")
    def _agree(self) -> Needs:
        if self.number == self.bare:
            raise ValueError("number and bare must differ")
        return self


def tree(text: str) -> Mapping:
    node = parse_yaml(Source("x.yaml", text))
    assert isinstance(node, Mapping)
    return node


def found(text: str, model: type[BaseModel] = Model) -> list[Diagnostic]:
    problems = Problems()
    assert read_model(model, tree(text), problems, "it") is None
    return problems.found


@pytest.mark.parametrize(
    ("text", "message", "hint", "column"),
    [
        ("count: 1.5", "'count' of it must be a whole number, got 1.5", "", 8),
        ("count: 3.0", "'count' of it must be a whole number, got 3.0", "", 8),
        ("count: '3'", "'count' of it must be a whole number, got '3'", "remove the quotes", 8),
        ("count: true", "'count' of it must be a whole number, got true", "", 8),
        ("count: 0", "'count' of it must be at least 1, got 0", "", 8),
        ("count: null", "'count' of it must be a whole number, got null", "", 8),
        ("rate: fast", "'rate' of it must be a number, got 'fast'", "", 7),
        ("rate: '1e-3'", "'rate' of it must be a number, got '1e-3'", "remove the quotes", 7),
        ("rate: .nan", "'rate' of it must be a finite number, got nan", "", 7),
        ("rate: -2", "'rate' of it must be at least -1.0, got -2", "", 7),
        ("share: 1", "'share' of it must be less than 1.0, got 1", "", 8),
        ("flag: yes", "'flag' of it must be true or false, got 'yes'", "", 7),
        ("flag: 1", "'flag' of it must be true or false, got 1", "", 7),
        ("word: 3", "'word' of it must be a word, got 3", "", 7),
        ("word: ''", "'word' of it must have at least 1 character, got ''", "", 7),
        ("word: [a]", "'word' of it must be a word, got a list of 1", "", 7),
        ("kind: max", "'kind' of it must be one of 'MAX', 'AVE', got 'max'", "did you mean 'MAX'?", 7),
        ("kind: 3", "'kind' of it must be one of 'MAX', 'AVE', got 3", "", 7),
        ("size: 0", "'size' of it must be at least 1, got 0", "", 7),
        ("size: [1, 2, 3]", "'size' of it must be an integer or [height, width], got a list of 3", "", 7),
        ("size: [1, true]", "'size' of it must be an integer or [height, width], got a list of 2", "", 7),
        ("size: {a: 1}", "'size' of it must be an integer or [height, width], got a mapping", "", 7),
        ("margin: -1", "'margin' of it must be at least 0, got -1", "", 9),
        ("whole: x", "'whole' of it must be a whole number, got 'x'", "", 8),
        ("whole: [1, x]", "'whole.1' of it must be a whole number, got 'x'", "", 12),
        ("reals: [1, [2]]", "'reals.1' of it must be a number, got a list of 1", "", 12),
        ("with: 3", "'with' of it must be a word, got 3", "", 7),
        ("with: ''", "'with' of it must have at least 1 character, got ''", "", 7),
        ("with_: a", "it has no parameter 'with_'", "did you mean 'with'?", 1),
        ("cuont: 3", "it has no parameter 'cuont'", "did you mean 'count'?", 1),
        ("banana: 3", "it has no parameter 'banana'", "", 1),
        ("inner: 3", "'inner' of it must be a mapping, got 3", "", 8),
        ("inner: {deep: 3}", "it has no parameter 'inner.deep'", "did you mean 'depth'?", 9),
        ("inner: {depth: x}", "'inner.depth' of it must be a whole number, got 'x'", "", 16),
        ("union: [1]", "'union' of it must be a whole number, got a list of 1", "", 8),
    ],
)
def test_one_mistake_is_one_message(text: str, message: str, hint: str, column: int) -> None:
    (problem,) = found(text)
    assert (problem.message, problem.hint) == (message, hint)
    assert problem.span is not None
    assert (problem.span.line, problem.span.column) == (1, column)


def test_what_is_missing_is_described() -> None:
    messages = [problem.message for problem in found("{}", Needs)]
    assert messages == ["it needs 'number': number of things", "it needs 'bare'"]


def test_mistakes_between_fields_belong_to_the_whole() -> None:
    (problem,) = found("{number: 1, bare: 1}", Needs)
    assert problem.message == "it: number and bare must differ"


def test_several_mistakes_are_several_messages() -> None:
    assert len(found("{count: x, rate: y, flag: z, banana: 1}")) == 4


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("rate: 3", "rate", 3.0),
        ("size: 3", "size", (3, 3)),
        ("size: [3, 5]", "size", (3, 5)),
        ("whole: 3", "whole", (3,)),
        ("whole: []", "whole", ()),
        ("reals: [1, 2.5]", "reals", (1.0, 2.5)),
        ("with: a", "with_", ("a",)),
        ("inner: null", "inner", None),
    ],
)
def test_short_forms_become_full_ones(text: str, field: str, value: object) -> None:
    problems = Problems()
    model = read_model(Model, tree(text), problems, "it")
    assert not problems.found
    assert getattr(model, field) == value


def test_field_names_are_those_a_user_writes() -> None:
    assert field_names(Model)[-3:] == ["with", "inner", "union"]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.type)
@pytest.mark.parametrize(
    "value", ["x", "-1", "0", "1e30", "[]", "[x]", "{}", "true", "null", "''", ".nan", "999999999999999999"]
)
def test_no_value_of_any_field_is_a_crash(layer: type[BaseModel], value: str) -> None:
    for name in field_names(layer):
        problems = Problems()
        read_model(layer, tree(f"{name}: {value}"), problems, "it")
        assert all(problem.span and problem.message for problem in problems.found)
