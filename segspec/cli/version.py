"""`segspec --version`: what computes here."""

from __future__ import annotations

import argparse
import os
from typing import Any


class ShowVersion(argparse.Action):
    """The option that prints `describe_versions` and ends."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show versions and what convolutions run here, and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(describe_versions())
        parser.exit()


def describe_versions() -> str:
    """Versions, the device and, on a processor without native convolutions, why there are none."""
    from importlib.metadata import version

    import jax

    from segspec.ops.native.library import instructions
    from segspec.run.environment import describe_device

    text = f"segspec {version('segspec')}, jax {jax.__version__} on {describe_device('float32', 'bfloat16')}"
    wanting = jax.devices()[0].platform == "cpu" and not instructions()
    return f"{text}\n{_explain_absence()}" if wanting else text


def _explain_absence() -> str:
    from segspec.ops.native.library import LIBRARY, VARIABLE

    if os.environ.get(VARIABLE) == "0":
        return f"the native convolutions are turned off by {VARIABLE}=0"
    if not LIBRARY.exists():
        return "native convolutions were not built at installation: that takes Linux on x86-64 and a C++ compiler"
    return "the native convolutions do not run here: the processor lacks AVX2, or they are damaged or of other versions"
