"""What a training ran on: a snapshot records it, and a resumed training says what is different."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import jax

from segspec.ops.native.library import instructions


def describe_device() -> str:
    """The kind of device that computes, and on a processor whose convolutions: `CPU (avx512 convolutions)`."""
    platform = jax.devices()[0].platform.upper()
    return f"{platform} ({instructions() or 'XLA'} convolutions)" if platform == "CPU" else platform


def describe_environment() -> dict[str, str]:
    """Versions, devices, cores and flags: what results depend on in their last bits."""
    devices = jax.devices()
    packages = {name: _version(name) for name in ("segspec", "jax", "jaxlib", "numpy", "optax")}
    return {
        "python": platform.python_version(),
        **packages,
        "machine": platform.machine(),
        "device": devices[0].device_kind,
        "devices": str(len(devices)),
        "cores": str(os.cpu_count()),
        "convolutions": instructions() or "XLA",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


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
