"""Dropout of elements or of whole channels: random zeros in training, and in Bayesian nets at test too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from pydantic import Field

from segspec.layers.base import Arrays, Blob, Context, Forward, Layer
from segspec.ops.cast import as_real
from segspec.schema.types import Fraction


class Dropout(Layer):
    """Sets elements to 0 at random and divides the others by 1 - dropout_ratio, so that the expectation stays.

    Acts in TRAIN, and in every phase with `sample_weights_test` (Bayesian SegNet); elsewhere, and where no random key
    is given, it is the identity. Source: Srivastava et al. 2014; caffe-segnet, dropout_layer.cpp; for `spatial`,
    Tompson et al. 2015.
    """

    type: ClassVar[str] = "Dropout"
    message: ClassVar[str] = "dropout_param"
    short: ClassVar[str] = "drop"
    example: ClassVar[str] = "{dropout_ratio: 0.3}"

    dropout_ratio: Fraction = Field(0.5, description="Probability that an element becomes 0.")
    sample_weights_test: bool = Field(
        False, description="Whether elements are dropped in tests too, to sample the net's uncertainty."
    )

    spatial: bool = Field(False, description="Whether whole channels are dropped rather than single elements.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        return (Blob(bottoms[0].shape),)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        x = as_real(bottoms[0])
        if ctx.key is None or not (ctx.train or self.sample_weights_test) or self.dropout_ratio == 0:
            return (x,), {}
        keep = 1.0 - self.dropout_ratio
        shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]) if self.spatial else x.shape
        kept = jax.random.bernoulli(ctx.key, keep, shape)
        return (jnp.where(kept, x / keep, jnp.zeros_like(x)),), {}
