"""How far the results of each precision may be away from Caffe's, which computed in float32.

* `float32`: as far as a comparison says.
* `high`: ten times as far. Its convolutions err by up to 3e-6 where a direct sum in float32 errs by 3e-7.
* `bfloat16`: three times as far as float32 is whose blobs are rounded to bfloat16. A blob of bfloat16 has 8 bits, so
  each rounding errs by up to 1/256 and by about 1/600 in the mean; how that grows with depth, through normalisations,
  and where it moves maxima of poolings, is found by running the net or training once more in float32 with every
  blob, every gradient of a blob and every weight rounded where bfloat16 rounds them. What arithmetic in bfloat16 adds
  to that must stay within the margin, and float32 itself within its own limits. Errors are measured in norm, as a
  single maximum that moves changes some number behind it by as much as the number itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
from golden_parts import Figure, Measure, WrappedLayer, greatest_error, norm_error

from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Arrays, Context, Forward
from segspec.net import Tree, apply
from segspec.spec.solver import Precision
from segspec.train.runtime import MATMUL

HIGH = 10.0
BFLOAT16 = 3.0
ROUNDING = 2.0**-8
"""Least limit in bfloat16: that of a single rounding, as the errors of one number may cancel by chance."""


@dataclass(frozen=True)
class Trial:
    """One run of what is compared.

    Attributes:
        dtype: what it computes in.
        rounds: whether it computes in float32 and rounds to bfloat16 what `bfloat16` would.
        measure: how errors are measured.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    rounds: bool = False
    measure: Measure = greatest_error

    def given(self, values: jax.Array) -> jax.Array:
        """An input in the trial's arithmetic; whole numbers as they are."""
        if values.dtype != jnp.float32:
            return values
        return round_bfloat16(values) if self.rounds else values.astype(self.dtype)

    def prepare(self, graph: Graph, params: Tree, state: Tree, inputs: Mapping[str, jax.Array]) -> Graph:
        """The net as the trial runs it, of whose arguments the shapes count."""
        return _rounded(graph, params, state, inputs) if self.rounds else graph


STRICT = Trial()


def compare(run: Callable[[Trial], Iterable[Figure]], precision: Precision) -> tuple[Figure, ...]:
    """What a run's figures are at a precision, with the limits of that precision.

    Args:
        run: gives the figures of a trial, the same ones for each, with the limits of float32.
        precision: to compute at.
    """
    with jax.default_matmul_precision(MATMUL[precision]):
        if precision != "bfloat16":
            factor = HIGH if precision == "high" else 1.0
            return tuple(replace(figure, limit=factor * figure.limit) for figure in run(STRICT))
        figures = tuple(run(Trial("bfloat16", measure=norm_error)))
    with jax.default_matmul_precision(MATMUL["float32"]):
        exact = tuple(run(STRICT))
        rounded = tuple(run(Trial(rounds=True, measure=norm_error)))
    moved = [_moved(figure, rounded) for figure in rounded]
    return tuple(_allow_rounding(*three) for three in zip(figures, exact, moved, strict=True))


def _moved(figure: Figure, rounded: Sequence[Figure]) -> float:
    """How far rounding moves a figure, or what else has the same source."""
    return max(other.error for other in rounded if other is figure or (other.source and other.source == figure.source))


def _allow_rounding(figure: Figure, exact: Figure, moved: float) -> Figure:
    """A figure of bfloat16 with its limit; what is wrong in float32 already, no rounding explains."""
    return replace(figure, limit=max(figure.limit, ROUNDING, BFLOAT16 * moved)) if exact.ok else figure


@jax.custom_vjp
def round_bfloat16(values: jax.Array) -> jax.Array:
    """float32 with the 8 bits of bfloat16, in the forward and in the backward pass."""
    return jax.lax.reduce_precision(values, exponent_bits=8, mantissa_bits=7)


round_bfloat16.defvjp(lambda values: (round_bfloat16(values), None), lambda _, cotangent: (round_bfloat16(cotangent),))


@dataclass(frozen=True)
class _Rounding(WrappedLayer):
    """A layer between blobs of bfloat16.

    Attributes:
        bottoms, tops: which of them are rounded.
    """

    bottoms: tuple[bool, ...]
    tops: tuple[bool, ...]

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        # A normalisation computes in float32 between its bottom and its top; other layers round what they learned.
        learned = params if self.type == "BN" else {name: round_bfloat16(value) for name, value in params.items()}
        found, changed = self.layer.forward(learned, state, _round_some(bottoms, self.bottoms), ctx)
        return _round_some(found, self.tops), changed


def _round_some(blobs: Sequence[jax.Array], which: Sequence[bool]) -> tuple[jax.Array, ...]:
    return tuple(
        round_bfloat16(blob) if chosen and blob.dtype == jnp.float32 else blob
        for blob, chosen in zip(blobs, which, strict=True)
    )


def _rounded(graph: Graph, params: Tree, state: Tree, inputs: Mapping[str, jax.Array]) -> Graph:
    """The net with rounding around each layer that computes from, or gives, blobs of bfloat16."""
    tops = tuple(top for layer in graph.layers for top in layer.tops)
    train, key = graph.phase == "TRAIN", jax.random.key(0)
    blobs = jax.eval_shape(
        lambda: apply(graph, params, state, inputs, train=train, key=key, dtype="bfloat16", want=tops).blobs
    )
    halves = {name for name, blob in {**inputs, **blobs}.items() if blob.dtype == jnp.bfloat16}
    return replace(graph, layers=tuple(_around(layer, halves) for layer in graph.layers))


def _around(layer: GraphLayer, halves: set[str]) -> GraphLayer:
    tops = tuple(top in halves for top in layer.tops)
    bottoms = tuple(any(tops) or bottom in halves for bottom in layer.bottoms)
    if not any(bottoms):
        return layer
    return replace(layer, layer=_Rounding(layer.layer, bottoms, tops))  # type: ignore[arg-type]
