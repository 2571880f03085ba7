"""The machine and the programs that a bench ran on: without them its figures mean nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("segspec", "jax", "jaxlib", "optax", "numpy", "torch", "opencv-python-headless", "pillow")
FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "bf16", "sve")
"""Instructions that decide how fast convolutions can be."""

VARIABLES = ("SEGSPEC_", "XLA_", "JAX_", "OMP_", "MKL_", "GOMP_", "KMP_", "ONEDNN_", "MALLOC_", "TORCH", "LD_PRELOAD")
"""Beginnings of the environment variables that change what is measured."""


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, GPUs, versions, commit and the environment that matters."""
    return {
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "cpu_flags": [flag for flag in FLAGS if flag in (_cpu_field("flags") or _cpu_field("Features")).split()],
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": _total_memory(),
        "gpus": _gpus(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain", "--untracked-files=no").splitlines()),
        "environment": relevant(os.environ),
        "load": load_average(),
    }


def relevant(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that change what is measured."""
    return {name: environment[name] for name in sorted(environment) if name.startswith(VARIABLES)}


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float:
    """Processes that wanted to run, over the last minute."""
    return round(os.getloadavg()[0], 2)


def explain_load(machine: Mapping[str, Any]) -> str:
    """What the load of a described machine says about figures that are measured on it; empty where it was idle."""
    load = machine.get("load", 0)
    if load <= machine["usable_cores"] / 4:
        return ""
    return f"the load is {load:g}: other programs run, and figures measured beside them are not to be trusted"


def free_memory() -> int | None:
    """Bytes that a new process could take, or None where the system does not tell."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def peak_resident() -> int:
    """Most bytes that this process ever held in memory.

    Linux keeps that of the process's present program; getrusage would count what the parent held at its start.
    """
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if platform.system() == "Darwin" else found * 1024


def resident() -> int | None:
    """Bytes that this process holds in memory now, or None where the system does not tell."""
    for line in _lines("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def _lines(path: str) -> Sequence[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return ()


def _cpu_field(name: str) -> str:
    for line in _lines("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _gpus() -> list[str]:
    return _output("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader").splitlines()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    return _output("git", "-C", str(ROOT), *arguments)


def _output(*command: str) -> str:
    """What a program prints; nothing where it is absent or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
