"""What every layer type promises, held against all of them; a new type is tested by its line in `CASES`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import jax
import pytest
from layer_contract import IMAGE, LABEL, Case, check_declaration, check_gradient, check_shapes, read
from pydantic import Field

from segspec.errors import Source
from segspec.layers import LAYERS, by_type
from segspec.layers.base import Arrays, Blob, Context, Filler, Layer, ParamSpec
from segspec.layers.data import DataLayer
from segspec.ops.window import PoolWindow
from segspec.schema.types import Real
from segspec.syntax import tree
from segspec.syntax.yaml import parse_yaml

ROWS = Blob((4, 3))
ROW_LABEL = Blob((4,), "int32")
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


def cases() -> Iterator[Any]:
    """Every type with its inputs and every number of outputs it may have."""
    for layer in EXERCISED:
        case = CASES.get(layer.type, Case())
        least, most = layer.tops
        for tops in sorted({case.tops or least, case.tops or most or least}):
            yield pytest.param(layer, case, tops, id=f"{layer.type}-{tops}")


def made(layer: type[Layer], case: Case) -> Layer:
    return read(layer, case.text or layer.example)


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
