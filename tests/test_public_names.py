"""The public names: all there, and none of them loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import segspec


@pytest.mark.parametrize("name", segspec.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(segspec, name).__module__.startswith("segspec.")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, segspec; print(sorted({'jax', 'flax', 'numpy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'loadnet'"):
        _ = segspec.loadnet
