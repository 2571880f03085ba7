"""Who takes part in which contests."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.contest import Contestant
from bench.worker import serve_command


class Configuration(NamedTuple):
    """One way to run one of the two programs.

    Attributes:
        family: `segspec` or `torch`.
        environment: changes of the environment (None: without the variable).
        settings: of its workers.
        precisions: contests that it takes part in without being named.
        help: what it is.
    """

    family: str
    environment: Mapping[str, str | None]
    settings: Mapping[str, object]
    precisions: tuple[str, ...]
    help: str


_ALL = ("float32", "high", "bfloat16")

NETS: Mapping[str, Configuration] = {
    "segspec": Configuration("segspec", {}, {}, _ALL, "as it is installed"),
    "pure-jax": Configuration("segspec", {"SEGSPEC_NATIVE": "0"}, {}, ("float32",), "without native kernels"),
    "torch-nchw": Configuration("torch", {}, {"channels_last": False, "compile": False}, _ALL, "PyTorch's own layout"),
    "torch-channels-last": Configuration("torch", {}, {"channels_last": True, "compile": False}, _ALL, "channels_last"),
    "torch-compile": Configuration(
        "torch", {}, {"channels_last": True, "compile": True}, _ALL, "channels_last and torch.compile"
    ),
}
"""Contestants between networks; at `bfloat16` those of PyTorch run under autocast."""


def net_contestants(precision: str, device: str, names: Sequence[str], torch_python: str) -> tuple[Contestant, ...]:
    """Who takes part at a precision: those that are named, else those that take part by themselves."""
    return tuple(
        _net_contestant(name, configuration, device, torch_python)
        for name, configuration in NETS.items()
        if (name in names if names else precision in configuration.precisions)
    )


def _net_contestant(name: str, configuration: Configuration, device: str, torch_python: str) -> Contestant:
    family = configuration.family
    return Contestant(
        name,
        family,
        serve_command(f"net_{family}", torch_python if family == "torch" else sys.executable),
        {**device_environment(family, device), **configuration.environment},
        configuration.settings,
    )


def device_environment(family: str, device: str) -> dict[str, str | None]:
    """What puts a contestant on its device, and keeps it from what others left behind.

    Programs are always compiled anew, whose memory counts; on a GPU that several share, JAX may not take all memory at
    its start.
    """
    if family == "torch":
        return {} if device == "gpu" else {"CUDA_VISIBLE_DEVICES": ""}
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if device == "gpu" else {"JAX_PLATFORMS": "cpu"}
    return {"SEGSPEC_CACHE": "", "SEGSPEC_NATIVE": None, "SEGSPEC_TUNE": None, **own}


Variants = Mapping[str, tuple[str, Mapping[str, object]]]
"""Family and settings of each contestant of a suite without precisions."""


def plain_contestants(kind: str, variants: Variants, device: str, torch_python: str) -> tuple[Contestant, ...]:
    """Contestants of a suite without precisions.

    Args:
        kind: of its workers, `ops` or `data`.
        variants: who takes part; those that NETS names run in the environment that stands there.
        device: `cpu` or `gpu`.
        torch_python: the Python that has PyTorch.
    """
    return tuple(
        Contestant(
            name,
            family,
            serve_command(f"{kind}_{family}", torch_python if family == "torch" else sys.executable),
            {**device_environment(family, device), **(NETS[name].environment if name in NETS else {})},
            settings,
        )
        for name, (family, settings) in variants.items()
    )
