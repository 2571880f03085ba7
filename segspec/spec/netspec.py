"""What a network is, in whichever language its file is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from segspec.errors import Diagnostic, Source
from segspec.layers.data import DataLayer
from segspec.schema.types import Count
from segspec.spec.classes import ClassTable
from segspec.spec.wire import LayerSpec

Phase = Literal["TRAIN", "TEST", "DEPLOY"]


class InputSize(BaseModel):
    """The size of image a net is made for: what `check` counts with when there is no data to look at."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    height: Count = Field(description="Rows, in pixels.")
    width: Count = Field(description="Columns, in pixels.")
    channels: Count = Field(3, description="Colour channels.")


@dataclass(frozen=True)
class NetSpec:
    """A network as its file says it.

    Attributes:
        name: of the net.
        source: the text it was read from.
        classes: the class table, when one is declared.
        input: the nominal input size, when one is declared.
        data: sources of images by phase, `train` and `test`.
        layers: in order, every macro carried out.
        output: the blob that holds the scores, when the file names one.
        declared: shapes of inputs that the file declares itself, in Caffe's order: batch, channels, height, width.
        warnings: what a prototxt says that has no meaning here.
    """

    name: str
    source: Source
    classes: ClassTable | None
    input: InputSize | None
    data: dict[str, DataLayer] = field(default_factory=dict)
    layers: tuple[LayerSpec, ...] = ()
    output: str | None = None
    declared: dict[str, tuple[int, ...]] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()

    def with_layers(self, layers: tuple[LayerSpec, ...]) -> NetSpec:
        """The same net with other layers."""
        return replace(self, layers=layers)
