"""One layer as a file says it, typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from segspec.errors import Span
from segspec.layers.base import Layer
from segspec.schema.types import Real, Reals, Reference, References


class BlobRule(BaseModel):
    """How one learned blob of a layer is trained: Caffe's ParamSpec."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str | None = Field(None, description="Blobs of one name are one blob, held by the first layer that names it.")
    lr_mult: Real = Field(1.0, description="Factor on the learning rate; 0 freezes the blob.")
    decay_mult: Real = Field(1.0, description="Factor on the weight decay.")


def _listed(value: object) -> object:
    """One rule as a list of one."""
    return (value,) if isinstance(value, dict) else value


def _alone(value: object) -> object:
    """One truth value as a list of one."""
    return (value,) if isinstance(value, bool) else value


class CommonFields(BaseModel):
    """What every layer may say besides its own parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bottom: References | None = None
    top: References | None = None
    param: Annotated[tuple[BlobRule, ...], BeforeValidator(_listed)] = ()
    loss_weight: Reals = ()
    propagate_down: Annotated[tuple[bool, ...], BeforeValidator(_alone)] = ()
    share: Reference | None = None


@dataclass(frozen=True)
class LayerSpec:
    """One layer as the file says it, with its place in the net.

    Attributes:
        name: unique in the net.
        layer: its type and parameters.
        bottoms: names of the blobs it reads.
        tops: names of the blobs it writes.
        rules: how its learned blobs are trained, in their order; blobs beyond the list follow `rest`.
        rest: the rule of all other blobs.
        loss_weights: one a top; empty means 1 for a loss's first top and 0 elsewhere.
        span: where it stands.
        propagate_down: for each bottom, whether it gets a gradient; bottoms beyond the list do.
        share: layers with the same word here have the same learned blobs; empty: nothing is shared but what rules name.
    """

    name: str
    layer: Layer
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    rules: tuple[BlobRule, ...]
    rest: BlobRule
    loss_weights: tuple[float, ...]
    span: Span
    propagate_down: tuple[bool, ...] = ()
    share: str = ""

    def rule(self, index: int, blob: str) -> BlobRule:
        """How a learned blob is trained.

        Args:
            index: its number in the layer.
            blob: its name in the layer.
        """
        rule = self.rules[index] if index < len(self.rules) else self.rest
        if rule.name is not None or not self.share:
            return rule
        return rule.model_copy(update={"name": f"{self.share}/{blob}"})
