"""Prototxts that nobody would write: each is read, or refused with a place. `tools/fuzz_prototxts.py` tries more."""

from __future__ import annotations

import fuzz_prototxts as fuzz
import pytest


@pytest.mark.parametrize("text", fuzz.texts_in(None))
def test_what_is_mutated_can_be_read(text: str) -> None:
    assert fuzz.attempt(text, [f"{name}=40" for name in ("SIZE", "EXP") if f"${{{name}}}" in text]) == "read"


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["2", "3"])
def test_mutants(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With those of caffemodels, these are 100,000 mutants."""
    assert fuzz.main(["10000", "--seed", seed]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "layer {" * 10_000,
        "a: [" * 10_000,
        'layer { name: "' + "x" * 100_000 + '" type: "ReLU" }',
        "layer { bottom: 'a' top: 'b' type: 'ReLU' } " * 2_000,
        "layers { type: 3 } " * 2_000,
        "input: 'x' " * 4_000,
        "layer { include { stage: 'x' } " + "include { phase: TEST } " * 4_000 + "}",
        "layer { type: 'Python' top: 'a' python_param { param_str: '" + "[" * 2_000 + "' } }",
        "layer { type: 'Python' top: 'a' python_param { param_str: '" + "-" * 9_000 + "1' } }",
        "test_state {} " * 4_000 + "test_iter: 1 " * 4_000,
        "net: '${A}' " * 4_000,
        "x: ${A} " * 4_000,
    ],
    ids=range(12),
)
def test_sheer_size_is_no_obstacle(text: str) -> None:
    assert fuzz.attempt(text) in ("read", "refused")


def test_the_tool_notices_a_crash_and_a_missing_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> None:
        raise KeyError("x")

    def placeless(*arguments: object) -> None:
        raise fuzz.SpecError("somewhere something")

    monkeypatch.setattr(fuzz, "read_caffe_solver", crash)
    assert "KeyError: 'x'" in fuzz.attempt("")
    monkeypatch.setattr(fuzz, "read_caffe_solver", placeless)
    assert fuzz.attempt("").startswith("no place: somewhere something")
