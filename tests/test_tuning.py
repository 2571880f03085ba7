"""Settings of the process: applied once, only where they are known, never against the user's own."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest

from segspec import cli, tuning


@pytest.fixture(autouse=True)
def _linux_without_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv(tuning.VARIABLE, raising=False)
    monkeypatch.setattr(tuning.sys, "platform", "linux")
    monkeypatch.setattr(tuning, "_keep_memory", lambda: None)
    monkeypatch.setattr(tuning, "_jaxlib", lambda: "0.10.2")


def flags() -> str:
    return tuning.os.environ.get("XLA_FLAGS", "")


def test_the_flag_is_added_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    tuning.tune_process()
    tuning.tune_process()
    assert flags() == "--xla_dump_to=x --xla_cpu_experimental_ynn_fusion_type=-individual_convolution"


def test_a_users_own_value_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    own = "--xla_cpu_experimental_ynn_fusion_type=dot"
    monkeypatch.setenv("XLA_FLAGS", own)
    tuning.tune_process()
    assert flags() == own


@pytest.mark.parametrize("version", ["", "0.9.9", "0.100.0", "1.0.0"])
def test_an_unknown_jaxlib_gets_no_flag(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(tuning, "_jaxlib", lambda: version)
    tuning.tune_process()
    assert flags() == ""


def test_the_user_can_opt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tuning.VARIABLE, "0")
    tuning.tune_process()
    assert flags() == ""


@pytest.mark.parametrize("verb", ["train", "compute-bn-stats", "test"])
def test_every_verb_that_computes_is_tuned(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    class TunedError(Exception):
        pass

    def stop() -> None:
        raise TunedError

    module = import_module(f"segspec.cli.{verb.replace('-', '_')}")
    monkeypatch.setattr(module, "tune_process", stop)
    with pytest.raises(TunedError):
        cli.main([verb, "run", *(["solver.yaml"] if verb == "train" else [])])


def test_memory_is_released_where_the_c_library_can_and_the_user_did_not_opt_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tuning.release_memory()  # whatever C library there is
    kept: list[int] = []
    monkeypatch.setattr(tuning.ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=kept.append))
    tuning.release_memory()
    assert kept == [0]
    monkeypatch.setenv(tuning.VARIABLE, "0")
    tuning.release_memory()
    assert kept == [0]
    monkeypatch.delenv(tuning.VARIABLE)
    monkeypatch.setattr(tuning.ctypes, "CDLL", lambda name: object())
    tuning.release_memory()
