"""What a layer type is: one frozen class that declares its parameters, shapes, blobs and arithmetic.

Arrays of rank 4 are stored (batch, height, width, channels); every other rank is stored as Caffe shapes it. An `axis`
that a user writes always counts in Caffe's order (batch, channels, height, width): `stored_axis` translates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, NamedTuple, Self

import jax
from pydantic import BaseModel, ConfigDict, Field, model_validator

from segspec.ops.window import PoolWindow
from segspec.schema.types import Real

Arrays = Mapping[str, jax.Array]
Forward = tuple[tuple[jax.Array, ...], dict[str, jax.Array]]
"""What a forward pass gives: the outputs, and the state arrays that changed."""

Role = Literal["feature", "loss", "metric", "data"]
"""What a layer is in a net: only a feature continues the chain."""


class Blob(NamedTuple):
    """The shape of one array that flows between layers.

    Attributes:
        shape: as stored: (batch, height, width, channels) for rank 4.
        dtype: `float32` for features (computed in the net's precision), `int32` for labels, `uint8` for local indices.
        window: for the mask of a pooling, the geometry its local indices refer to.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    window: PoolWindow | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """In memory, features in float32."""
        return self.size * (1 if self.dtype == "uint8" else 4)

    @property
    def caffe_shape(self) -> tuple[int, ...]:
        """The shape in Caffe's order: (batch, channels, height, width) for rank 4."""
        if len(self.shape) != 4:
            return self.shape
        batch, height, width, channels = self.shape
        return (batch, channels, height, width)

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) or "scalar"


class Filler(BaseModel):
    """How a parameter is initialised before training.

    constant: `value`. gaussian: N(mean, std^2). uniform: U(min, max). msra: N(0, 2/n). xavier: U(-s, s), s = sqrt(3/n).
    bilinear: the interpolation kernel of a deconvolution. identity: each channel passes as it is. positive_unitball:
    U(0, 1), each output summing to 1. n is the number of inputs (FAN_IN), outputs (FAN_OUT) or their mean (AVERAGE).
    Source: Caffe, filler.hpp; Yu and Koltun 2016.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Literal["constant", "gaussian", "positive_unitball", "uniform", "xavier", "msra", "bilinear", "identity"] = (
        Field("constant", description="Distribution.")
    )
    value: Real = Field(0.0, description="Value of a constant filler.")
    min: Real = Field(0.0, description="Lower bound of a uniform filler.")
    max: Real = Field(1.0, description="Upper bound of a uniform filler.")
    mean: Real = Field(0.0, description="Mean of a gaussian filler.")
    std: Real = Field(1.0, ge=0, description="Standard deviation of a gaussian filler.")
    sparse: int = Field(-1, description="Expected number of non-zero inputs of each output (gaussian); -1: all.")
    variance_norm: Literal["FAN_IN", "FAN_OUT", "AVERAGE"] = Field(
        "FAN_IN", description="What n counts in msra and xavier."
    )
    diagonal: bool = Field(
        False,
        description="Whether a bilinear filler enlarges each channel by itself, zeros between channels; "
        "else every output adds up all channels.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.type == "uniform" and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class ParamSpec(NamedTuple):
    """One learned blob of a layer.

    Attributes:
        shape: as stored.
        filler: how it is initialised.
        layout: how it relates to Caffe's blob. `filter`: stored (height, width, in, out), Caffe (out, in, height,
            width). `matrix`: stored (in, out), Caffe (out, in). `plain`: the same order of elements.
        caffe_shape: Caffe's shape where `layout` does not already give it, such as (1, C, 1, 1) for the fork's BN.
    """

    shape: tuple[int, ...]
    filler: Filler
    layout: Literal["filter", "matrix", "plain"] = "plain"
    caffe_shape: tuple[int, ...] | None = None

    def check_filler(self) -> None:
        """Raises ShapeError where the filler makes nothing of this shape."""
        if self.filler.type in ("bilinear", "identity") and self.layout != "filter":
            article = "an" if self.filler.type == "identity" else "a"
            raise ShapeError(
                f"{article} {self.filler.type} filler fits the filters of a convolution or deconvolution only"
            )


class StateSpec(NamedTuple):
    """One array that a layer updates outside the gradient, such as a running mean; filled with `value` at first."""

    shape: tuple[int, ...]
    value: float = 0.0


class Sampling(NamedTuple):
    """How one output position sees the input, for the receptive field.

    Attributes:
        kernel: (height, width) of the input stretch seen, in input pixels; 0 means the whole plane.
        stride: (height, width) of input pixels per output pixel; below 1 where the layer enlarges.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1))


@dataclass(frozen=True)
class Context:
    """What a forward pass tells every layer.

    Attributes:
        train: whether the phase is TRAIN.
        tops: how many outputs the net uses of this layer.
        key: random key of this layer at this iteration; None where nothing may be random.
        dtype: what convolutions and products compute in; parameters are cast from float32.
        inputs: the declared shapes of the bottoms, for what arrays do not tell: the windows a mask belongs to.
        statistics: which statistics normalise. `layer`: what the layer's type does in this phase; `running`: the ones
            kept in its state; `batch`: the batch's own.
    """

    train: bool = False
    tops: int = 1
    key: jax.Array | None = None
    dtype: str = "float32"
    inputs: tuple[Blob, ...] = ()
    statistics: Literal["layer", "running", "batch"] = "layer"


class ShapeError(ValueError):
    """The bottoms of a layer do not fit it. The message says what fits; the graph adds names and places."""


class Layer(BaseModel):
    """Base of all layer types: fields are the parameters a user writes, with their meaning as description.

    A subclass is frozen, has a docstring (meaning, formula, source) and declares:

    * `bottoms`, `tops`: the least and greatest number of inputs and outputs (None: any number).
    * `role`: `feature` (its output continues the chain), `loss`, `metric` or `data`.
    * `message`: the prototxt message that holds its fields; a field elsewhere names its own by
      `json_schema_extra={"message": "loss_param"}`.
    * `caffe_defaults`: defaults that a prototxt means where they differ from the YAML ones.
    * `references`: fields that name other layers, each read as further bottoms; the value says which output of the
      named layer is meant.
    * `in_caffe`: whether Caffe or a fork of it has the type.
    * `short`: what an unnamed layer is called, with a number behind; by default the type in lower case.
    * `top_names`: what outputs after the first are called, behind the layer's name (`pool1/mask`).
    * `example`: fields as a user would write them, for the reference and the tests of all types.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    type: ClassVar[str]
    bottoms: ClassVar[tuple[int, int | None]] = (1, 1)
    tops: ClassVar[tuple[int, int | None]] = (1, 1)
    role: ClassVar[Role] = "feature"
    message: ClassVar[str] = ""
    caffe_defaults: ClassVar[Mapping[str, Any]] = {}
    references: ClassVar[Mapping[str, int]] = {}
    in_caffe: ClassVar[bool] = True
    short: ClassVar[str] = ""
    top_names: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[str] = ""

    @classmethod
    def message_of(cls, field: str) -> str:
        """The prototxt message that holds a field; empty for a field of the layer itself."""
        extra = cls.model_fields[field].json_schema_extra
        return str(extra.get("message", cls.message)) if isinstance(extra, dict) else cls.message

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The shapes of the first `tops` outputs. Raises ShapeError where the bottoms do not fit."""
        raise NotImplementedError

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """The learned blobs, in Caffe's order."""
        return {}

    def state(self, bottoms: Sequence[Blob]) -> dict[str, StateSpec]:
        """The arrays kept outside the gradient."""
        return {}

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        """The first `ctx.tops` outputs, and the state arrays that changed."""
        raise NotImplementedError

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> int:
        """Multiplications with an addition in one forward pass; 0 where they do not dominate."""
        return 0

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        """How an output position sees the first bottom."""
        return Sampling()


def stored_axis(axis: int, rank: int) -> int:
    """Where the axis that a user counts in Caffe's order is stored; negative axes count from the end."""
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} is outside an input of {rank} axes")
    axis %= rank
    return (0, 3, 1, 2)[axis] if rank == 4 else axis
