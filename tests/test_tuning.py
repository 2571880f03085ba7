"""Settings of the process: applied once, only where they are known, never against the user's own."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest

from segspec import cli, tuning


@pytest.fixture(autouse=True)
def _linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tuning.VARIABLE, raising=False)
    monkeypatch.setattr(tuning.sys, "platform", "linux")


def test_memory_is_kept_where_the_c_library_can_and_the_user_did_not_opt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda name, value: told.append((name, value)))
    monkeypatch.setattr(tuning.ctypes, "CDLL", lambda name: library)
    tuning.tune_process()
    assert [name for name, _ in told] == [-8, -4, -1]  # M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    monkeypatch.setenv(tuning.VARIABLE, "0")
    tuning.tune_process()
    monkeypatch.delenv(tuning.VARIABLE)
    monkeypatch.setattr(tuning.sys, "platform", "darwin")
    tuning.tune_process()
    assert len(told) == 3
    monkeypatch.setattr(tuning.sys, "platform", "linux")
    monkeypatch.setattr(tuning.ctypes, "CDLL", lambda name: object())
    tuning.tune_process()


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
