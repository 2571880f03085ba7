"""What every test stands on: JAX on the CPU, searches that repeat, folders of its own, the material kept elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# Set before anything imports JAX, and inherited by the processes that tests start. There is no compile cache on
# purpose: JAX writes its entries in place, so a process that a test kills would leave a torn one behind.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)

# The same examples on every machine; `--hypothesis-profile=search` looks for new ones.
_COMPILING = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=_COMPILING)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000, suppress_health_check=_COMPILING)
hypothesis.settings.load_profile("same")


def pytest_configure() -> None:
    """Makes the arrays in a failed assertion readable."""
    np.set_printoptions(precision=6, suppress=True, linewidth=120)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what segspec caches for its user out of the tests, and the tests' out of the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden arrays and real pictures; the test is skipped where it is absent."""
    root = Path(__file__).resolve().parent.parent
    folder = (root / os.environ.get("SEGSPEC_SHARED", "../shared")).resolve()
    if not folder.is_dir():
        pytest.skip("needs the shared material: SEGSPEC_SHARED names no folder")
    return folder
