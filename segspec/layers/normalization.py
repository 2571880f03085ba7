"""Normalisation: over batches (BN, BatchNorm), over neighbours (LRN), over a sample (MVN, Normalize)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
from jax import lax
from pydantic import Field, model_validator

from segspec.layers.base import (
    Arrays,
    Blob,
    Context,
    Filler,
    Forward,
    Layer,
    ParamSpec,
    Sampling,
    ShapeError,
    StateSpec,
)
from segspec.ops.channels import channel_axes, per_channel
from segspec.ops.normalize import (
    batch_normalize,
    local_response_across,
    local_response_within,
    mean_variance_normalize,
    normalize_length,
    normalize_with,
)
from segspec.schema.types import Count, Fraction, Real


def _channels(x: Blob) -> int:
    if len(x.shape) < 2:
        raise ShapeError(f"needs channels: an input of at least 2 axes, got {x}")
    return x.shape[3] if len(x.shape) == 4 else x.shape[1]


class _BatchNormalization(Layer):
    """What the two batch normalisations do alike: batch or running statistics, and the keeping of the latter.

    The running averages are exact weighted means from the first batch on: with f the state's `factor`, a batch's mean m
    and the moving average fraction a, f' = a f + 1 and mean' = (a f mean + m) / f'; the variance is averaged alike, in
    its unbiased form. Before the first batch they are 0 and 1.
    """

    def state(self, bottoms: Sequence[Blob]) -> dict[str, StateSpec]:
        """`mean`, `variance` (channels) and `factor` ()."""
        channels = (_channels(bottoms[0]),)
        return {"mean": StateSpec(channels), "variance": StateSpec(channels, 1.0), "factor": StateSpec(())}

    def _normalize(
        self, x: jax.Array, scale: jax.Array, shift: jax.Array, state: Arrays, eps: float, *, batch: bool
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """The normalised x and the (mean, variance) that were used."""
        if batch:
            return batch_normalize(x, scale, shift, eps)
        mean, variance = state["mean"], state["variance"]
        return normalize_with(x, mean, lax.rsqrt(variance + eps), scale, shift), (mean, variance)

    def _averaged(
        self, state: Arrays, moments: tuple[jax.Array, jax.Array], x: jax.Array, fraction: float
    ) -> dict[str, jax.Array]:
        """The state after a batch."""
        mean, variance = lax.stop_gradient(moments)
        channel, _ = channel_axes(x)
        count = x.size // x.shape[channel]
        unbiased = variance * (count / max(1, count - 1))
        before = fraction * state["factor"]
        factor = before + 1
        return {
            "mean": (before * state["mean"] + mean) / factor,
            "variance": (before * state["variance"] + unbiased) / factor,
            "factor": factor,
        }


class BatchNorm(_BatchNormalization):
    """Normalises each channel to mean 0 and variance 1, then scales and shifts it by learned numbers.

    y = scale (x - mean) / sqrt(variance + eps) + shift. In TRAIN mean and variance are the batch's own (biased); in
    TEST they are running averages, or what compute-bn-stats measured. In a prototxt, as in BVLC Caffe, the layer has no
    scale and shift of its own (a Scale layer follows) unless `scale_bias` says so.
    Source: Ioffe and Szegedy 2015; BVLC Caffe, batch_norm_layer.cpp; the scale and bias as in NVIDIA's Caffe.
    """

    type: ClassVar[str] = "BatchNorm"
    short: ClassVar[str] = "bn"
    message: ClassVar[str] = "batch_norm_param"
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"scale_bias": False, "moving_average_fraction": 0.999}
    example: ClassVar[str] = "{eps: 0.00001}"

    use_global_stats: bool | None = Field(
        None, description="Whether running averages are used; left out, in TEST only."
    )
    moving_average_fraction: Fraction = Field(
        0.9, description="What the running averages keep of themselves at each batch (Caffe: 0.999)."
    )
    eps: Real = Field(1e-5, gt=0, description="Added to the variance.")
    scale_bias: bool = Field(True, description="Whether the layer has a learned scale and shift.")
    scale_filler: Filler = Field(Filler(value=1.0), description="Initial values of the scale.")
    bias_filler: Filler = Field(Filler(), description="Initial values of the shift.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The shape of the input."""
        return (bottoms[0]._replace(window=None),)

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """`scale` and `shift` (channels)."""
        if not self.scale_bias:
            return {}
        shape = (_channels(bottoms[0]),)
        return {"scale": ParamSpec(shape, self.scale_filler), "shift": ParamSpec(shape, self.bias_filler)}

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        (x,) = bottoms
        channels = _channels(Blob(x.shape))
        scale = params["scale"] if self.scale_bias else jnp.ones(channels)
        shift = params["shift"] if self.scale_bias else jnp.zeros(channels)
        running = not ctx.train if self.use_global_stats is None else self.use_global_stats
        if ctx.statistics != "layer":
            running = ctx.statistics == "running"
        y, moments = self._normalize(x, scale, shift, state, self.eps, batch=not running)
        changed = ctx.train and not running
        return (y,), self._averaged(state, moments, x, self.moving_average_fraction) if changed else {}


class BN(_BatchNormalization):
    """SegNet's batch normalisation: the batch's own statistics in TRAIN and in TEST.

    LEARN: y = scale (x - mean) / sqrt(variance + 1e-9) + shift with the mean and biased variance of the batch; outputs
    2 and 3 are that mean and variance. INFERENCE: y = scale x + shift, the statistics having been folded into both.
    Running averages are kept beside, for tests that ask for them. Source: caffe-segnet, bn_layer.cpp.
    """

    type: ClassVar[str] = "BN"
    tops: ClassVar[tuple[int, int | None]] = (1, 3)
    top_names: ClassVar[tuple[str, ...]] = ("mean", "variance")
    message: ClassVar[str] = "bn_param"
    caffe_defaults: ClassVar[Mapping[str, Any]] = {"scale_filler": {"type": "constant"}}
    example: ClassVar[str] = "{bn_mode: LEARN}"

    EPS: ClassVar[float] = 1e-9
    FRACTION: ClassVar[float] = 0.9

    bn_mode: Literal["LEARN", "INFERENCE"] = Field("LEARN", description="Whether the batch's statistics are removed.")
    scale_filler: Filler = Field(Filler(value=1.0), description="Initial values of the scale.")
    shift_filler: Filler = Field(Filler(), description="Initial values of the shift.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The shape of the input, then (1, 1, 1, channels) twice: mean and variance."""
        x = bottoms[0]._replace(window=None)
        if self.bn_mode == "INFERENCE" and tops > 1:
            raise ShapeError("mean and variance are outputs in mode LEARN only")
        vector = Blob((1, 1, 1, _channels(x)))
        return (x, vector, vector)[:tops]

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """`scale` and `shift` (channels)."""
        channels = _channels(bottoms[0])
        caffe = (1, channels, 1, 1)
        return {
            "scale": ParamSpec((channels,), self.scale_filler, caffe_shape=caffe),
            "shift": ParamSpec((channels,), self.shift_filler, caffe_shape=caffe),
        }

    def state(self, bottoms: Sequence[Blob]) -> dict[str, StateSpec]:
        """The running averages; none in mode INFERENCE."""
        return {} if self.bn_mode == "INFERENCE" else super().state(bottoms)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        (x,) = bottoms
        if self.bn_mode == "INFERENCE":
            y = x.astype(jnp.float32) * per_channel(params["scale"], x) + per_channel(params["shift"], x)
            return (y.astype(x.dtype),), {}
        batch = ctx.statistics != "running"
        y, moments = self._normalize(x, params["scale"], params["shift"], state, self.EPS, batch=batch)
        mean, variance = (value.reshape(1, 1, 1, -1) for value in moments)
        changed = self._averaged(state, moments, x, self.FRACTION) if ctx.train and batch else {}
        return (y, mean, variance)[: ctx.tops], changed


class LRN(Layer):
    """Divides by a power of the energy around: local response normalisation.

    ACROSS_CHANNELS: y = x S^-beta, S = k + alpha / n * (sum of x^2 over n neighbouring channels).
    WITHIN_CHANNEL: y = x (1 + alpha m)^-beta, m the mean of x^2 over n x n pixels.
    Source: Krizhevsky, Sutskever, Hinton 2012; Caffe, lrn_layer.cpp.
    """

    type: ClassVar[str] = "LRN"
    message: ClassVar[str] = "lrn_param"
    example: ClassVar[str] = "{local_size: 5, alpha: 0.0001, beta: 0.75}"

    local_size: Count = Field(5, description="Channels, or pixels along each side, that count (n); odd.")
    alpha: Real = Field(1.0, description="Weight of the energy.")
    beta: Real = Field(0.75, description="Exponent.")
    k: Real = Field(1.0, description="Added to the energy.")
    norm_region: Literal["ACROSS_CHANNELS", "WITHIN_CHANNEL"] = Field(
        "ACROSS_CHANNELS", description="Whether neighbours are channels or pixels."
    )

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.local_size % 2 == 0:
            raise ValueError("local_size must be odd")
        return self

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The shape of the input."""
        if len(bottoms[0].shape) != 4:
            raise ShapeError(f"needs an image (batch, height, width, channels), got {bottoms[0]}")
        return (bottoms[0],)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        (x,) = bottoms
        if self.norm_region == "WITHIN_CHANNEL":
            return (local_response_within(x, self.local_size, self.alpha, self.beta),), {}
        return (local_response_across(x, self.local_size, self.alpha, self.beta, self.k),), {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return Sampling((self.local_size, self.local_size)) if self.norm_region == "WITHIN_CHANNEL" else Sampling()


class MVN(Layer):
    """Gives each sample mean 0 and, unless told otherwise, variance 1: (x - mean) / (sqrt(variance) + eps).

    Source: Caffe, mvn_layer.cpp.
    """

    type: ClassVar[str] = "MVN"
    message: ClassVar[str] = "mvn_param"
    example: ClassVar[str] = "{across_channels: true}"

    normalize_variance: bool = Field(True, description="Whether to divide by the standard deviation.")
    across_channels: bool = Field(False, description="Whether all channels share one mean and variance.")
    eps: Real = Field(1e-9, gt=0, description="Added to the standard deviation.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The shape of the input."""
        return (bottoms[0],)

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        y = mean_variance_normalize(
            bottoms[0], variance=self.normalize_variance, across_channels=self.across_channels, eps=self.eps
        )
        return (y,), {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return Sampling((0, 0))


class Normalize(Layer):
    """Gives each pixel, or each sample, length 1, then multiplies by learned factors.

    y = scale x / sqrt(sum x^2 + eps), the sum over the channels of a pixel, or over all of a sample.
    Source: Liu et al., ParseNet, 2015; SSD's Caffe, normalize_layer.cpp.
    """

    type: ClassVar[str] = "Normalize"
    message: ClassVar[str] = "norm_param"
    example: ClassVar[str] = "{scale_filler: {value: 20}, across_spatial: false}"

    across_spatial: bool = Field(True, description="Whether the sum is over all of a sample, not over each pixel.")
    channel_shared: bool = Field(True, description="Whether all channels share one factor.")
    scale_filler: Filler = Field(Filler(value=1.0), description="How factors start.")
    eps: Real = Field(1e-10, gt=0, description="Added to the sum of squares.")

    def shapes(self, bottoms: Sequence[Blob], tops: int = 1) -> tuple[Blob, ...]:
        """The shape of the input."""
        _channels(bottoms[0])
        return (bottoms[0]._replace(window=None),)

    def params(self, bottoms: Sequence[Blob]) -> dict[str, ParamSpec]:
        """`scale`, one number or (channels)."""
        return {"scale": ParamSpec(() if self.channel_shared else (_channels(bottoms[0]),), self.scale_filler)}

    def forward(self, params: Arrays, state: Arrays, bottoms: Sequence[jax.Array], ctx: Context) -> Forward:
        (x,) = bottoms
        scale = params["scale"] if self.channel_shared else per_channel(params["scale"], x)
        length_one = normalize_length(x, across_spatial=self.across_spatial, eps=self.eps)
        return ((scale * length_one).astype(x.dtype),), {}

    def sampling(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Sampling:
        return Sampling((0, 0)) if self.across_spatial else Sampling()
