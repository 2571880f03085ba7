"""What a training ran on: a snapshot records it, and a resumed training says what is different."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import jax
import jax.numpy as jnp
import numpy as np

from segspec.ops.native import computes
from segspec.ops.native.library import instructions
from segspec.spec.solver import Precision


def describe_device(*precisions: Precision) -> str:
    """The kind of device that computes, and on a processor whose convolutions, at some precisions.

    `GPU`, `CPU (avx512 convolutions)`, or `CPU (avx2 convolutions, bfloat16: XLA)`.
    """
    platform = str(_device().platform).upper()
    if platform != "CPU":
        return platform
    first, *others = ((precision, find_convolutions(precision)) for precision in precisions)
    rest = "".join(f", {precision}: {whose}" for precision, whose in others if whose != first[1])
    return f"{platform} ({first[1]} convolutions{rest})"


def find_convolutions(precision: Precision) -> str:
    """Whose convolutions a net calls here: the best instructions that segspec's own use, or `XLA`."""
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    own = _device().platform == "cpu" and computes(dtype)
    return instructions() if own else "XLA"


def describe_environment(precision: Precision) -> dict[str, str]:
    """Versions, devices, cores and flags: what the results of a training depend on in their last bits."""
    packages = {name: _version(name) for name in ("segspec", "jax", "jaxlib", "numpy", "optax")}
    return {
        "python": platform.python_version(),
        **packages,
        "machine": platform.machine(),
        "device": _device().device_kind,
        "devices": str(len(jax.devices())),
        "cores": str(os.cpu_count()),
        "convolutions": find_convolutions(precision),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def _device() -> jax.Device:
    """Where arrays are put: a solver may have chosen another device than the first that JAX finds."""
    (device,) = jax.device_put(np.int32(0)).devices()
    return device


def compare_environments(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs, one short text each: `jax 0.10.1 then, 0.10.2 now`."""
    names = [*now, *(name for name in then if name not in now)]
    return [
        f"{name} {then.get(name) or 'not set'} then, {now.get(name) or 'not set'} now"
        for name in names
        if then.get(name, "") != now.get(name, "")
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
