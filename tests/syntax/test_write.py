"""What is written reads back as the same value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segspec.errors import Source
from segspec.syntax.tree import to_python
from segspec.syntax.write import flow, scalar
from segspec.syntax.yaml import parse_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers(-(10**16), 10**16) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)


def plain(value: object) -> object:
    """Lists as tuples, which is how they are read."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return tuple(map(plain, value)) if isinstance(value, list) else value


@given(VALUES)
def test_any_value_reads_back(value: object) -> None:
    found = to_python(parse_yaml(Source("x.yaml", f"a: {flow(value)}\n")))
    assert isinstance(found, dict)
    assert found["a"] == plain(value)
    assert type(found["a"]) is type(plain(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (0.5, "0.5"),
        (1e-9, "1e-09"),
        (math.inf, ".inf"),
        (-math.inf, "-.inf"),
        ("e1/conv1", "e1/conv1"),
        ("", "''"),
        ("3", "'3'"),
        ("no", "no"),
        ("null", "'null'"),
        ("1e3", "'1e3'"),
        ("a: b", "'a: b'"),
        ("a #b", "'a #b'"),
        ("#b", "'#b'"),
        ("- a", "'- a'"),
        ("it's", "'it''s'"),
        (" a", "' a'"),
        ("a\nb", '"a\\U0000000ab"'),
        ("9" * 30, "'" + "9" * 30 + "'"),
    ],
)
def test_scalars(value: object, text: str) -> None:
    assert scalar(value) == text


def test_nan_is_written_as_yaml_says() -> None:
    assert scalar(math.nan) == ".nan"


def test_collections_stand_on_one_line() -> None:
    assert flow({"a": [1, (2.0, "x y")], "b c": {}}) == "{a: [1, [2.0, x y]], b c: {}}"
