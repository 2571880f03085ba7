"""How a net is trained, as declared: Caffe's solver fields with Caffe's meaning, checked together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from segspec.schema.types import Count, Fraction, Integers, Real

Rule = Literal["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW", "LAMB", "Lion"]
Policy = Literal["fixed", "step", "multistep", "exp", "inv", "poly", "sigmoid", "cosine"]
Precision = Literal["float32", "high", "bfloat16"]
Remat = Literal["none", "light", "blocks"]
Iterations = Annotated[int, Field(ge=0, strict=True)]

NEEDS: dict[Policy, tuple[str, ...]] = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "multistep": ("gamma", "stepvalue"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
    "cosine": (),
}
"""The fields that each learning rate policy reads besides `base_lr` and `max_iter`."""

DECOUPLED: tuple[Rule, ...] = ("AdamW", "LAMB", "Lion")
"""The rules that shrink the weights beside the gradient instead of adding the decay to it."""

USUAL_MOMENTUM: dict[Rule, float] = {
    "Nesterov": 0.9,
    "AdaDelta": 0.95,
    "Adam": 0.9,
    "AdamW": 0.9,
    "LAMB": 0.9,
    "Lion": 0.9,
}
"""The rules that need a `momentum` written, and what it usually is."""


class _Mistake(NamedTuple):
    """A field, and what is wrong with it in the light of the others."""

    field: str
    message: str


class Solver(BaseModel):
    """How a net is trained: the update rule, the learning rate over time, when to report, test and snapshot.

    Every iteration: clip the summed gradients by their global norm, divide by iter_size, add the weight decay, then
    apply the rule with rate = lr * lr_mult. Source: BVLC Caffe, caffe.proto and solvers/.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Rule = Field("SGD", description="Update rule. AdamW, LAMB and Lion are not Caffe's.")
    base_lr: Real = Field(gt=0, description="Learning rate that the policy starts from.")
    max_iter: Count = Field(description="Iterations (updates of the weights) to train for.")

    lr_policy: Policy = Field(
        "fixed",
        description="Learning rate at iteration t: fixed b; step b*gamma^floor(t/stepsize); multistep "
        "b*gamma^(stepvalues <= t); exp b*gamma^t; inv b*(1+gamma*t)^-power; poly b*(1-t/max_iter)^power; sigmoid "
        "b/(1+exp(-gamma*(t-stepsize))); cosine b*(1+cos(pi*t/max_iter))/2, with b = base_lr.",
    )
    gamma: Real | None = Field(None, description="Factor or slope of the policies step, multistep, exp, inv, sigmoid.")
    power: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Exponent of the policies inv and poly."
    )
    stepsize: Count | None = Field(None, description="Iterations between steps (step), or to the middle (sigmoid).")
    stepvalue: Integers = Field(
        (), description="Iterations at which multistep multiplies the rate by gamma, ascending."
    )
    warmup: Iterations = Field(
        0, description="Iterations at the start over which the policy's rate is scaled up linearly; any policy."
    )
    rampup_interval: Iterations = Field(
        0, description="Iterations at the start in which the rate climbs from rampup_lr to base_lr, by the square of t."
    )
    rampup_lr: Real = Field(0.0, ge=0, description="Learning rate that a ramp of rampup_interval starts from.")
    min_lr: Real = Field(0.0, ge=0, description="Least learning rate; poly ends at it.")

    momentum: Fraction = Field(
        0.0, description="Share of the last step kept (SGD, Nesterov), or decay of the first average (beta1 of Adam)."
    )
    momentum2: Fraction = Field(
        0.999, description="Decay of the average of squares (beta2) of Adam, AdamW, LAMB, Lion."
    )
    rms_decay: Fraction = Field(0.99, description="Decay of the average of squares of RMSProp.")
    delta: Real = Field(1e-8, gt=0, description="Keeps divisions finite in AdaGrad, RMSProp, AdaDelta and Adam's kin.")
    weight_decay: Real = Field(0.0, ge=0, description="Strength of the pull of weights towards 0; times decay_mult.")
    regularization_type: Literal["L1", "L2"] = Field(
        "L2", description="Pull in proportion to a weight (L2), or of constant size (L1)."
    )
    clip_gradients: Real = Field(
        -1.0, description="Greatest L2 norm of all gradients together, larger ones are scaled down; negative: none."
    )
    iter_size: Count = Field(1, description="Batches whose gradients are averaged in one iteration.")

    display: Iterations = Field(20, description="Iterations between lines of the log; 0: none.")
    average_loss: Count = Field(1, description="Iterations over which the displayed loss is averaged.")
    test_interval: Iterations = Field(0, description="Iterations between tests; 0: none.")
    test_iter: Iterations = Field(0, description="Batches in one test; 0: the whole test list.")
    test_initialization: bool = Field(True, description="Whether to test before the first iteration.")
    snapshot: Iterations = Field(1000, description="Iterations between snapshots; 0: none but the last.")
    snapshot_after_train: bool = Field(True, description="Whether to snapshot after the last iteration.")
    snapshot_prefix: str = Field(
        "", description="The run folder where --run names none; empty: runs/ and the net's name."
    )
    keep: Count = Field(3, description="Newest snapshots kept; the best one is kept besides.")

    random_seed: Iterations = Field(0, description="Seed of all randomness: the same seed gives the same training.")
    solver_mode: Literal["CPU", "GPU", "TPU"] | None = Field(
        None, description="Kind of device; null: the best that is found."
    )
    precision: Precision = Field(
        "float32",
        description="Arithmetic of convolutions and products. float32: strictly. high: what JAX calls so, TF32 "
        "(10 bits of fraction) on NVIDIA cards that have it, three bfloat16 passes on TPUs; on x86-64 processors "
        "faster convolutions with two to six times the rounding error of float32. "
        "bfloat16: half the memory, 7 bits. Weights stay float32.",
    )

    remat: Remat = Field(
        "light",
        description="What the backward pass computes once more instead of keeping it. none: nothing. light: "
        "what costs little, such as normalisations and activations. blocks: the forward pass of one block of layers "
        "after the other, for the least memory.",
    )

    @property
    def dtype(self) -> Literal["float32", "bfloat16"]:
        """What convolutions and products compute in."""
        return "bfloat16" if self.precision == "bfloat16" else "float32"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuses combinations that cannot be meant, all of them at once."""
        found = [*_rate_mistakes(self), *_rule_mistakes(self)]
        if found:
            details = [
                InitErrorDetails(
                    type=PydanticCustomError("solver", "{message}", {"message": mistake.message}),
                    loc=(mistake.field,),
                    input=getattr(self, mistake.field),
                )
                for mistake in found
            ]
            raise ValidationError.from_exception_data("Solver", details)
        return self


def _rate_mistakes(solver: Solver) -> Iterator[_Mistake]:
    """What does not fit the learning rate policy."""
    policy = solver.lr_policy
    missing = [f"'{name}'" for name in NEEDS[policy] if getattr(solver, name) in (None, ())]
    if missing:
        yield _Mistake("lr_policy", f"needs {' and '.join(missing)}")
    if solver.gamma is not None and solver.gamma <= 0 and policy in ("step", "multistep", "exp", "inv"):
        yield _Mistake("gamma", f"must be greater than 0 with lr_policy '{policy}'")
    values = solver.stepvalue
    if any(value < 1 for value in values) or any(b <= a for a, b in pairwise(values)):
        yield _Mistake("stepvalue", "must be iterations from 1 upwards in ascending order")
    if solver.warmup > solver.max_iter:
        yield _Mistake("warmup", f"must be at most max_iter ({solver.max_iter})")
    if solver.min_lr > solver.base_lr:
        yield _Mistake("min_lr", f"must be at most base_lr ({solver.base_lr:g})")
    if solver.warmup and solver.rampup_interval:
        yield _Mistake("warmup", "and 'rampup_interval' are two ways to begin; keep one of them")


def _rule_mistakes(solver: Solver) -> Iterator[_Mistake]:
    """What does not fit the update rule."""
    rule = solver.type
    if rule in ("AdaGrad", "RMSProp") and solver.momentum:
        yield _Mistake("momentum", f"must be 0 or left out with type {rule}")
    if rule in USUAL_MOMENTUM and "momentum" not in solver.model_fields_set:
        yield _Mistake("type", f"needs 'momentum', usually {USUAL_MOMENTUM[rule]}")
    if rule in DECOUPLED and solver.regularization_type != "L2":
        yield _Mistake(
            "regularization_type", f"must be L2 with type {rule}, which shrinks the weights beside the gradient"
        )
    if solver.clip_gradients == 0:
        yield _Mistake("clip_gradients", "must not be 0, which would stop all learning; leave it out for no clipping")
