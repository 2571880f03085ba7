from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import pytest

from segspec.errors import RunError
from segspec.spec.net import load_net
from segspec.spec.solver import Solver
from segspec.train import memory
from segspec.train.memory import explain_full_memory, find_full_memory, fitting_batch, iteration_bytes
from segspec.train.session import Plan, make_plan

GPU = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 2000000000 bytes."


def message(text: str, batch_size: int) -> str:
    with pytest.raises(RunError) as caught, explain_full_memory(batch_size):
        raise jax.errors.JaxRuntimeError(text)
    return str(caught.value)


def test_the_message_says_what_was_asked_what_is_free_and_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_free", lambda: 600_000_000)
    assert message(GPU, 10) == (
        "out of memory with a batch of 10 images, which asked for 2.0 GB where 0.6 GB are free\n"
        "  lower the batch: --set data.train.batch_size=3, and raise the solver's iter_size in return"
    )


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory allocating 17592186044416 bytes.", "17,592.2 GB"),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1.50GiB.", "1.6 GB"),
        ("RESOURCE_EXHAUSTED: Failed to allocate 3.0 MiB", "0.0 GB"),
    ],
)
def test_the_size_is_read_from_each_wording(text: str, asked: str) -> None:
    assert f"which asked for {asked}" in message(text, 4)


@pytest.mark.parametrize("free", [None, 10**12, 0])
def test_a_batch_that_fits_is_smaller_than_the_one_that_does_not(
    free: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_free", lambda: free)
    assert f"batch_size={1 if free == 0 else 4}, " in message(GPU, 8)


def test_a_single_image_that_does_not_fit_must_be_smaller() -> None:
    assert "a batch of 1 image," in message(GPU, 1)
    assert "train on smaller images" in message(GPU, 1)
    assert "batch_size" not in message(GPU, 1)


def test_a_message_without_figures_still_has_a_remedy() -> None:
    assert message("RESOURCE_EXHAUSTED: no room", 8).startswith("out of memory with a batch of 8 images\n  lower")


def test_other_errors_of_jax_pass() -> None:
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), explain_full_memory(8):
        raise jax.errors.JaxRuntimeError("INTERNAL: ours")


def plan_of(project: Any, batch: int = 8) -> Plan:
    net = load_net(project.spec, [f"data.train.batch_size={batch}"])
    return make_plan(net, Solver(base_lr=0.1, max_iter=1))


def test_a_training_that_will_not_fit_is_told_with_a_batch_that_does(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(project)
    monkeypatch.setattr(memory, "_free", lambda: iteration_bytes(plan, 5))
    (warning,) = find_full_memory(plan)
    assert warning.severity == "warning"
    assert "an iteration with a batch of 8 images takes about" in warning.message
    assert "--set data.train.batch_size=5," in warning.hint


def test_a_training_that_fits_or_of_which_nothing_is_known_is_left_alone(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(project)
    for free in (iteration_bytes(plan, 8), None):
        monkeypatch.setattr(memory, "_free", lambda free=free: free)
        assert find_full_memory(plan) == ()


def test_where_no_batch_fits_images_must_be_smaller(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(project)
    assert fitting_batch(plan, 1000) is None
    monkeypatch.setattr(memory, "_free", lambda: 1000)
    assert "train on smaller images" in find_full_memory(plan)[0].hint


def test_a_full_memory_names_the_batch_that_was_foretold_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_free", lambda: 600_000_000)
    with pytest.raises(RunError, match="batch_size=7,"), explain_full_memory(10, lambda free: free // 80_000_000):
        raise jax.errors.JaxRuntimeError(GPU)


def test_free_is_what_machine_and_container_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = tmp_path / "meminfo"
    machine.write_text("MemTotal: 9000 kB\nMemAvailable:     5000 kB\n")
    monkeypatch.setattr(memory, "_MACHINE", machine)
    monkeypatch.setattr(memory, "_GROUPS", ((str(tmp_path), "max", "current"),))
    assert memory._free() == 5000 * 1024
    (tmp_path / "current").write_text("3000000\n")
    for limit, free in (("max", 5000 * 1024), ("4000000", 1_500_000), ("2000000", 0)):
        (tmp_path / "max").write_text(f"{limit}\n")
        (tmp_path / "memory.stat").write_text(f"inactive_file {500_000 * (free > 0)}\nfile_dirty 7\n")
        assert memory._free() == free
