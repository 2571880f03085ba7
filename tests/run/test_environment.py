from __future__ import annotations

from types import SimpleNamespace

import jax
import pytest

from segspec.ops import native
from segspec.run import environment
from segspec.run.environment import compare_environments, describe_device, describe_environment, find_convolutions
from segspec.spec.solver import Precision


def test_the_same_environment_has_no_differences() -> None:
    now = describe_environment("float32")
    assert now["jax"] == jax.__version__ and int(now["cores"]) >= 1
    assert compare_environments(now, describe_environment("float32")) == []


@pytest.mark.parametrize(
    ("platform", "best", "precision", "whose", "told"),
    [
        ("cpu", "avx512_bf16", "bfloat16", "avx512_bf16", "CPU (avx512_bf16 convolutions)"),
        ("cpu", "avx2", "high", "avx2", "CPU (avx2 convolutions, bfloat16: XLA)"),
        ("cpu", "avx2", "bfloat16", "XLA", "CPU (avx2 convolutions, bfloat16: XLA)"),
        ("cpu", "", "float32", "XLA", "CPU (XLA convolutions)"),
        ("gpu", "avx512_bf16", "float32", "XLA", "GPU"),
    ],
)
def test_whose_convolutions_compute_depends_on_device_and_precision(
    platform: str, best: str, precision: Precision, whose: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (native, environment):
        monkeypatch.setattr(module, "instructions", lambda: best)
    monkeypatch.setattr(environment, "_device", lambda: SimpleNamespace(platform=platform, device_kind="one"))
    assert find_convolutions(precision) == whose
    assert describe_environment(precision)["convolutions"] == whose
    assert describe_device("float32", "bfloat16") == told


def test_what_changed_or_is_new_or_gone_is_named() -> None:
    then = {"jax": "0.10.1", "cores": "2", "XLA_FLAGS": "", "old": "1"}
    now = {"jax": "0.10.2", "cores": "2", "XLA_FLAGS": "--x"}
    expected = ["jax 0.10.1 then, 0.10.2 now", "XLA_FLAGS not set then, --x now", "old 1 then, not set now"]
    assert compare_environments(then, now) == expected
