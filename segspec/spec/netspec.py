"""What a network is, in whichever language its file is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from segspec.errors import Diagnostic, Source
from segspec.layers.data import DataLayer
from segspec.schema.types import Count
from segspec.spec.classes import ClassTable
from segspec.spec.layer_spec import LayerSpec
from segspec.syntax.tree import Node

FedShape = tuple[int | None, ...]
"""A shape in Caffe's order: batch, channels, height, width; None where only the files tell."""

Phase = Literal["TRAIN", "TEST", "DEPLOY"]


class InputSize(BaseModel):
    """The size of image a net is made for: what `check` counts with when there is no data to look at."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    height: Count = Field(description="Rows, in pixels.")
    width: Count = Field(description="Columns, in pixels.")
    channels: Count = Field(3, description="Colour channels.")


@dataclass(frozen=True)
class Unread:
    """A field of a prototxt that has no meaning here.

    Attributes:
        layer: the layer it stands in; empty for a field of the net.
        field: its name, with the message that holds it: `relu_param.slope`.
        value: what is written there.
    """

    layer: str
    field: str
    value: Node


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
        fed: shapes of what the data layers of a prototxt deliver.
        unread: the fields of a prototxt that have no meaning here.
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
    fed: dict[str, FedShape] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    def with_layers(self, layers: tuple[LayerSpec, ...]) -> NetSpec:
        """The same net with other layers."""
        return replace(self, layers=layers)


def is_label(blob: str) -> bool:
    """Whether an input of this name holds labels: `label`, or one of several, `label@NAME`."""
    return blob == "label" or blob.startswith("label@")
