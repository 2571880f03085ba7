"""What every layer type promises, held against all of them; a new type is tested by its line in `CASES`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import Field

from segspec.errors import Source
from segspec.layers import LAYERS, by_type
from segspec.layers.base import Arrays, Blob, Context, Filler, Layer, ParamSpec
from segspec.layers.data import DataLayer
from segspec.ops.window import PoolWindow
from segspec.schema.read import read_model
from segspec.schema.types import Real
from segspec.syntax import tree
from segspec.syntax.yaml import parse_yaml

IMAGE = Blob((2, 4, 5, 3))
LABEL = Blob((2, 4, 5, 1), "int32")
ROWS = Blob((4, 3))
ROW_LABEL = Blob((4,), "int32")


class Case(NamedTuple):
    """How to exercise a type: its inputs, and parameters where its example does not fit them."""

    bottoms: tuple[Blob, ...] = (IMAGE,)
    text: str = ""
    low: float = -1.0
    tops: int | None = None


SCORED = Case((IMAGE, LABEL))
CASES = {
    "Log": Case(low=-0.9),
    "Concat": Case((IMAGE, Blob((2, 4, 5, 2)), IMAGE)),
    "Slice": Case((Blob((2, 3, 4, 5)),), tops=3),
    "Split": Case(tops=2),
    "Silence": Case((IMAGE, LABEL)),
    "Crop": Case((IMAGE, Blob((2, 3, 2, 7)))),
    "Eltwise": Case((IMAGE, IMAGE, IMAGE)),
    "Embed": Case((Blob((2, 4), "int32"),)),
    "SoftmaxWithLoss": Case((IMAGE, LABEL), "{ignore_label: 2, class_weights: [0.5, 2, 1]}"),
    "FocalLoss": SCORED,
    "OHEMLoss": Case((IMAGE, LABEL), "{threshold: 0.3, min_kept: 12}"),
    "BoundaryLoss": Case((IMAGE, LABEL), "{theta: 3}"),
    "DiceLoss": SCORED,
    "JaccardLoss": SCORED,
    "LovaszSoftmaxLoss": SCORED,
    "HingeLoss": SCORED,
    "Accuracy": SCORED,
    "EltwiseAccuracy": SCORED,
    "SegAccuracy": SCORED,
    "BiasChannel": SCORED,
    "L1Loss": Case((IMAGE, IMAGE)),
    "SmoothL1Loss": Case((IMAGE, IMAGE, IMAGE, IMAGE)),
    "Axpy": Case((Blob((2, 1, 1, 3)), IMAGE, IMAGE)),
    "BatchReindex": Case((IMAGE, Blob((5,), "int32"))),
    "Parameter": Case(()),
    "InfogainLoss": Case((Blob((3, 2)), Blob((3,), "int32"))),
    "MultinomialLogisticLoss": Case((ROWS, ROW_LABEL), low=0.2),
    "EuclideanLoss": Case((IMAGE, IMAGE)),
    "SigmoidCrossEntropyLoss": Case((IMAGE, IMAGE)),
    "ContrastiveLoss": Case((ROWS, ROWS, ROW_LABEL)),
    "Upsample": Case((Blob((2, 2, 3, 3)), Blob((2, 2, 3, 3), "uint8", PoolWindow.over((4, 6), (2, 2), (2, 2))))),
}
EXERCISED = [layer for layer in LAYERS if layer.role != "data"]


def read(layer: type[Layer], text: str) -> Layer:
    """The layer that a YAML mapping means, read as a spec is read."""
    problems = tree.Problems()
    node = parse_yaml(Source("example", text))
    assert isinstance(node, tree.Mapping)
    found = read_model(layer, node, problems, layer.type)
    problems.raise_any()
    assert found is not None
    return found


def cases() -> Iterator[Any]:
    """Every type with its inputs and every number of outputs it may have."""
    for layer in EXERCISED:
        case = CASES.get(layer.type, Case())
        least, most = layer.tops
        for tops in sorted({case.tops or least, case.tops or most or least}):
            yield pytest.param(layer, case, tops, id=f"{layer.type}-{tops}")


def made(layer: type[Layer], case: Case) -> Layer:
    return read(layer, case.text or layer.example)


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


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.type)
def test_declaration(layer: type[Layer]) -> None:
    check_declaration(layer)


@pytest.mark.parametrize(("layer", "case", "tops"), list(cases()))
def test_forward_gives_the_declared_shapes(layer: type[Layer], case: Case, tops: int) -> None:
    check_shapes(made(layer, case), case.bottoms, tops)


@pytest.mark.parametrize(("layer", "case", "tops"), list(cases()))
def test_gradient(layer: type[Layer], case: Case, tops: int) -> None:
    check_gradient(made(layer, case), case, tops)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.type)
def test_declared_arity_and_names(layer: type[Layer]) -> None:
    least, most = layer.tops
    assert most is None or least <= most
    if most is not None:
        assert len(layer.top_names) >= most - 1, "every further output needs a name"
    spelled = {field.alias or name for name, field in layer.model_fields.items()}
    assert set(layer.references) <= spelled
    assert set(layer.caffe_defaults) <= spelled
    assert layer.model_config.get("frozen") and layer.model_config.get("extra") == "forbid"
    assert all(not spec.startswith("_") for spec in spelled)


def test_types_are_listed_once_and_found_by_name() -> None:
    names = [layer.type for layer in LAYERS]
    assert len(set(names)) == len(names)
    assert [by_type(name) for name in names] == list(LAYERS)
    assert by_type("Convolutoin") is None


def test_every_declared_type_is_listed() -> None:
    def below(layer: type[Layer]) -> Iterator[type[Layer]]:
        for subclass in layer.__subclasses__():
            yield subclass
            yield from below(subclass)

    concrete = {layer for layer in below(Layer) if "type" in vars(layer) and layer.__module__.startswith("segspec.")}
    assert concrete == set(LAYERS)


def test_caffe_defaults_are_values_of_their_fields() -> None:
    for layer in LAYERS:
        node = tree.to_python(parse_yaml(Source("example", layer.example)))
        assert isinstance(node, dict)
        layer.model_validate({**node, **layer.caffe_defaults})


class Gain(Layer):
    """Multiplies each channel by a learned number, and all of them by a fixed one: y = scale gain x."""

    type: ClassVar[str] = "Gain"
    example: ClassVar[str] = "{scale: 0.5}"

    scale: Real = Field(1.0, description="Factor on everything.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        return (Blob(bottoms[0].shape),)

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        return {"gain": ParamSpec(bottoms[0].shape[-1:], Filler(value=1.0))}

    def forward(
        self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context
    ) -> tuple[tuple[jax.Array, ...], dict[str, jax.Array]]:
        return (self.scale * params["gain"] * bottoms[0],), {}


class Forgetful(Gain):
    """Declares a learned number that it never reads."""

    def forward(
        self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context
    ) -> tuple[tuple[jax.Array, ...], dict[str, jax.Array]]:
        return (bottoms[0],), {}


class Severed(Gain):
    """Passes no gradient to its input."""

    def forward(
        self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context
    ) -> tuple[tuple[jax.Array, ...], dict[str, jax.Array]]:
        return (self.scale * params["gain"] * jax.lax.stop_gradient(bottoms[0]),), {}


def test_one_class_is_all_a_new_type_needs() -> None:
    check_declaration(Gain)
    check_shapes(read(Gain, Gain.example), (IMAGE,), 1)
    check_gradient(read(Gain, Gain.example), Case(), 1)


def test_the_contract_sees_an_unused_parameter() -> None:
    with pytest.raises(AssertionError):
        check_shapes(Forgetful(), (IMAGE,), 1)


def test_the_contract_sees_a_wrong_gradient() -> None:
    with pytest.raises(AssertionError):
        check_gradient(Severed(), Case(), 1)


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if issubclass(layer, DataLayer)], ids=lambda x: x.type)
def test_a_source_declares_images_and_labels_of_one_size(layer: type[DataLayer]) -> None:
    source = read(layer, layer.example[:-1] + ", crop_size: [5, 7]}")
    assert isinstance(source, DataLayer)
    image, label = source.shapes((), 2)
    assert image.shape[1:] == (5, 7, 3)
    assert label.shape[1:] == ((5, 7, 1) if source.labels == "pixels" else ())
    assert label.dtype == "int32" and image.shape[0] == label.shape[0]
