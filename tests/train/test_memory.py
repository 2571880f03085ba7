from __future__ import annotations

import jax
import pytest

from segspec.errors import RunError
from segspec.train import memory
from segspec.train.memory import explain_full_memory

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
