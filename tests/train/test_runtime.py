from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from segspec.errors import RunError
from segspec.spec.solver import Precision, Solver
from segspec.train.runtime import prepare, strictest

SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_cpu_enable_async_dispatch",
    "jax_default_matmul_precision",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture(autouse=True)
def _settings_come_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9"))
    before = {name: jax.config.values[name] for name in SETTINGS}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def solver(precision: Precision = "float32", mode: str | None = None) -> Solver:
    return Solver.model_validate({"base_lr": 1.0, "max_iter": 1, "precision": precision, "solver_mode": mode})


def test_compiled_programs_are_kept_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGSPEC_CACHE", str(tmp_path))
    prepare()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "jax")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0, "small programs too"
    assert jax.config.jax_persistent_cache_min_entry_size_bytes == -1


def test_without_a_cache_jax_is_told_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSPEC_CACHE", "")
    before = jax.config.jax_compilation_cache_dir
    prepare()
    assert jax.config.jax_compilation_cache_dir == before


def test_a_torn_entry_of_the_cache_is_passed_over_in_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGSPEC_CACHE", str(tmp_path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepare()
        warnings.warn("Error reading persistent compilation cache entry for 'jit_step': torn", UserWarning, 1)
        warnings.warn("Error writing persistent compilation cache entry for 'jit_step': full", UserWarning, 1)
        warnings.warn("something else", UserWarning, 1)
    assert [str(warning.message) for warning in caught] == ["something else"]


@pytest.mark.parametrize(("precision", "name"), [("float32", "highest"), ("high", "high"), ("bfloat16", None)])
def test_the_precision_is_the_one_that_was_asked_for(precision: Precision, name: str | None) -> None:
    prepare(solver(precision))
    assert jax.config.jax_default_matmul_precision == name


def test_without_a_solver_float32_is_strict() -> None:
    jax.config.update("jax_default_matmul_precision", None)
    prepare()
    assert jax.config.jax_default_matmul_precision == "highest"


def test_of_several_solvers_the_strictest_holds() -> None:
    given = [solver("bfloat16"), solver("high"), solver("high", mode="CPU"), solver("bfloat16")]
    assert strictest(given) is given[1]
    assert strictest([*given, solver()]).precision == "float32"


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(RunError) as caught:
        prepare(solver(mode="TPU"))
    assert "solver_mode TPU: JAX finds only CPU" in str(caught.value)
    assert "leave solver_mode out" in str(caught.value)


def test_a_step_on_a_cpu_begins_when_the_last_one_has_freed_its_arrays() -> None:
    prepare()
    assert jax.config.values["jax_cpu_enable_async_dispatch"] is False
