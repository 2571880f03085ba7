"""What every layer type promises, as checks of one type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import Source
from segspec.layers.base import Arrays, Blob, Context, Layer
from segspec.schema.read import read_model
from segspec.syntax import tree
from segspec.syntax.yaml import parse_yaml

IMAGE = Blob((2, 4, 5, 3))
LABEL = Blob((2, 4, 5, 1), "int32")


class Case(NamedTuple):
    """How to exercise a type: its inputs, and parameters where its example does not fit them."""

    bottoms: tuple[Blob, ...] = (IMAGE,)
    text: str = ""
    low: float = -1.0
    tops: int | None = None


def read(layer: type[Layer], text: str) -> Layer:
    """The layer that a YAML mapping means, read as a spec is read."""
    problems = tree.Problems()
    node = parse_yaml(Source("example", text))
    assert isinstance(node, tree.Mapping)
    found = read_model(layer, node, problems, layer.type)
    problems.raise_any()
    assert found is not None
    return found


class Recorder(dict[str, Any]):
    """A mapping that remembers what was read from it."""

    def __init__(self, values: Mapping[str, Any]):
        super().__init__(values)
        self.used: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.used.add(key)
        return super().__getitem__(key)


def context(bottoms: Sequence[Blob], tops: int) -> Context:
    return Context(train=True, tops=tops, key=jax.random.key(7), inputs=tuple(bottoms))


def zeros(layer: Layer, bottoms: Sequence[Blob]) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
    """Shapes of what a forward pass takes, as eval_shape wants them."""
    params = {name: jax.ShapeDtypeStruct(spec.shape, jnp.float32) for name, spec in layer.params(bottoms).items()}
    state = {name: jax.ShapeDtypeStruct(spec.shape, jnp.float32) for name, spec in layer.state(bottoms).items()}
    return params, state, [jax.ShapeDtypeStruct(blob.shape, blob.dtype) for blob in bottoms]


def values(layer: Layer, case: Case) -> tuple[dict[str, jax.Array], dict[str, jax.Array], list[jax.Array]]:
    """Numbers for a forward pass: all inputs different and away from 0, so that no function bends between them."""
    rng = np.random.default_rng(0)

    def different(shape: tuple[int, ...]) -> jax.Array:
        spaced = np.linspace(case.low, 1.0, int(np.prod(shape)) + 2)[1:-1]
        spaced = np.where(np.abs(spaced) < 0.01, 0.01, spaced)
        return jnp.asarray(rng.permutation(spaced).reshape(shape), jnp.float32)

    params = {
        name: jnp.asarray(rng.uniform(0.2, 0.8, spec.shape), jnp.float32)
        for name, spec in layer.params(case.bottoms).items()
    }
    state = {name: jnp.full(spec.shape, spec.value, jnp.float32) for name, spec in layer.state(case.bottoms).items()}
    bottoms = [
        different(blob.shape) if blob.dtype == "float32" else jnp.asarray(rng.integers(0, 2, blob.shape), blob.dtype)
        for blob in case.bottoms
    ]
    return params, state, bottoms


def check_shapes(layer: Layer, bottoms: Sequence[Blob], tops: int) -> None:
    """The forward pass gives what `shapes` says, reads what `params` declares and changes what `state` declares."""
    params, state, arrays = zeros(layer, bottoms)
    read_params: set[str] = set()

    def forward(params: Arrays, state: Arrays, arrays: list[jax.Array]) -> Any:
        recorder = Recorder(params)
        result = layer.forward(recorder, state, arrays, context(bottoms, tops))
        read_params.update(recorder.used)
        return result

    outputs, changed = jax.eval_shape(forward, params, state, arrays)
    declared = layer.shapes(bottoms, tops)
    assert [(top.shape, str(top.dtype)) for top in outputs] == [(blob.shape, blob.dtype) for blob in declared]
    assert len(outputs) == tops
    assert read_params == set(params)
    assert {name: value.shape for name, value in changed.items()}.items() <= {
        name: value.shape for name, value in state.items()
    }.items()


def check_gradient(layer: Layer, case: Case, tops: int) -> None:
    """The gradient along one direction agrees with a central difference."""
    params, state, bottoms = values(layer, case)
    real = [index for index, blob in enumerate(case.bottoms) if blob.dtype == "float32"]
    rng = np.random.default_rng(1)

    def total(params: Arrays, moved: list[jax.Array]) -> jax.Array:
        arrays = list(bottoms)
        for index, value in zip(real, moved, strict=True):
            arrays[index] = value
        outputs, _ = layer.forward(params, state, arrays, context(case.bottoms, tops))
        weighed = [jnp.sum(top * weights(top)) for top in outputs if jnp.issubdtype(top.dtype, jnp.floating)]
        return jnp.sum(jnp.stack(weighed)) if weighed else jnp.zeros(())

    def weights(top: jax.Array) -> np.ndarray:
        return np.random.default_rng(2).choice([-1.0, 0.5, 1.0], top.shape).astype(np.float32)

    def direction(value: jax.Array) -> np.ndarray:
        return rng.choice([-1.0, 1.0], value.shape).astype(np.float32)

    point = (params, [bottoms[index] for index in real])
    along = jax.tree.map(direction, point)
    step = 2e-3
    compute = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    ahead, behind = (compute(*jax.tree.map(lambda x, d, s=s: x + s * step * d, point, along))[0] for s in (1, -1))
    numeric = float(ahead - behind) / (2 * step)
    gradient = compute(*point)[1]
    products = jax.tree.map(lambda g, d: float(np.sum(np.asarray(g, np.float64) * d)), gradient, along)
    assert sum(jax.tree.leaves(products)) == pytest.approx(numeric, rel=1e-2, abs=2e-3)


def accepts(schema: Mapping[str, Any], value: Any, root: Mapping[str, Any]) -> bool:
    """Whether a JSON Schema accepts a value: the part of the standard that our schemas use."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in schema:
        return any(accepts(choice, value, root) for choice in schema["anyOf"])
    tests: dict[str, Callable[[Any], bool]] = {
        "const": lambda want: value == want,
        "enum": lambda want: value in want,
        "type": lambda want: _has_type(value, want),
        "minimum": lambda want: value >= want,
        "maximum": lambda want: value <= want,
        "exclusiveMinimum": lambda want: value > want,
        "exclusiveMaximum": lambda want: value < want,
        "minLength": lambda want: len(value) >= want,
        "minItems": lambda want: len(value) >= want,
        "maxItems": lambda want: len(value) <= want,
        "items": lambda want: all(accepts(want, item, root) for item in value),
        "required": lambda want: set(want) <= set(value),
        "properties": lambda want: all(accepts(want[key], value[key], root) for key in set(want) & set(value)),
        "additionalProperties": lambda want: want or set(value) <= set(schema["properties"]),
    }
    unknown = schema.keys() - tests.keys() - {"title", "description", "default", "$defs", "message"}
    assert not unknown, f"the test does not know {unknown}"
    return all(test(schema[key]) for key, test in tests.items() if key in schema)


def _has_type(value: object, name: str) -> bool:
    types: dict[str, type | tuple[type, ...]] = {
        "array": tuple,
        "boolean": bool,
        "integer": int,
        "null": type(None),
        "number": (int, float),
        "object": dict,
        "string": str,
    }
    return isinstance(value, types[name]) and (name == "boolean" or not isinstance(value, bool))


def check_declaration(layer: type[Layer]) -> None:
    """Documented in every field; the example is read, and the schema an editor uses accepts it and no misspelling."""
    assert inspect.getdoc(layer) and layer.__doc__, "a docstring says what the layer computes"
    for name, field in layer.model_fields.items():
        assert field.description and field.description.endswith("."), f"{name} needs a sentence"
    schema = layer.model_json_schema()
    node = parse_yaml(Source("example", layer.example))
    value = tree.to_python(node)
    assert accepts(schema, value, schema)
    assert isinstance(value, dict) and not accepts(schema, {**value, "no_such_field": 1}, schema)
    assert isinstance(read(layer, layer.example), layer)
