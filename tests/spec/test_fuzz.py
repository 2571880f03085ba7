"""Texts that nobody would write: each is read, or refused with a place. `tools/fuzz_specs.py` tries a million."""

from __future__ import annotations

import fuzz_specs as fuzz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.layers import LAYERS as LAYER_TYPES
from segspec.spec.net import KEYS as KEYS_AT_TOP

FINE = ("read", "refused")

SCALARS = st.sampled_from([word for word in fuzz.WORDS if "\n" not in word and "\r" not in word]) | st.integers(
    -2, 70
).map(str)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(SCALARS, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "num_output",
        "kernel_size",
        "stride",
        "pad",
        "group",
        "mask",
        "with",
        "name",
        "bottom",
        "top",
        "param",
        "loss_weight",
        "repeat",
        "when",
        "axis",
        "slice_point",
        "foreach",
    ]
)
TYPES = st.sampled_from([*(layer.type for layer in LAYER_TYPES), "cbr", "sum", "concat", "foreach"])
LAYERS = st.tuples(TYPES, st.lists(st.tuples(KEYS, VALUES), max_size=4)).map(
    lambda layer: f"  - {layer[0]}: {{{', '.join(f'{key}: {value}' for key, value in layer[1])}}}\n"
)
SECTIONS = st.lists(st.tuples(st.sampled_from(KEYS_AT_TOP), VALUES), max_size=3).map(
    lambda pairs: "".join(f"{key}: {value}\n" for key, value in pairs)
)


@given(
    st.lists(st.sampled_from(fuzz.WORDS) | st.sampled_from([" ", "  ", "\n", "\n  - ", ": "]), max_size=40).map("".join)
)
@settings(max_examples=100)
def test_words_in_any_order(text: str) -> None:
    assert fuzz.attempt(text, False, ()) in FINE
    assert fuzz.attempt("segspec: 1\nlayers:\n  - " + text, False, ()) in FINE


@given(SECTIONS, st.lists(LAYERS, max_size=6).map("".join))
@settings(max_examples=100)
def test_layers_with_any_values(sections: str, layers: str) -> None:
    block = "blocks: {cbr: {args: {out: int, k: 3, m: null}, layers: [ReLU, TanH: {name: $m}]}}\n"
    assert fuzz.attempt(f"segspec: 1\n{block}{sections}layers:\n{layers}", False, ()) in FINE


@given(st.sampled_from(["classes", "n", "params.n", "layers", "data.train", ""]), SCALARS | VALUES)
@settings(max_examples=100)
def test_any_override(key: str, value: str) -> None:
    assert fuzz.attempt("segspec: 1\nparams: {n: 1}\nlayers: [ReLU: {repeat: $n}]\n", False, [f"{key}={value}"]) in FINE


@pytest.mark.parametrize("seed", ["2", "3"])
def test_mutants_of_shipped_files(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["300", "--seed", seed]) == 0, capsys.readouterr().out


def test_the_tool_notices_a_crash_and_a_missing_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> None:
        raise KeyError("x")

    def placeless(*arguments: object) -> None:
        raise fuzz.SpecError("somewhere something")

    monkeypatch.setattr(fuzz, "read_net", crash)
    assert "KeyError: 'x'" in fuzz.attempt("", False, ())
    monkeypatch.setattr(fuzz, "read_net", placeless)
    assert fuzz.attempt("", False, ()).startswith("no place: somewhere something")
