from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import Source, WeightsError
from segspec.graph.build import build, image_inputs
from segspec.net import Tree
from segspec.spec.net import read_net
from segspec.weights.files import Blobs, Found
from segspec.weights.fit import Transfer, fit

TEXT = """segspec: 1
layers:
  - Convolution: {name: e1/conv, num_output: 2, kernel_size: 1}
  - BatchNorm: {name: bn}
  - Convolution: {name: score, num_output: 3, kernel_size: 1}
"""
GRAPH = build(read_net(Source("net.yaml", TEXT), Path()), "DEPLOY", image_inputs(1, 4, 4, 3, labels=False))


def trees() -> tuple[Tree, Tree]:
    params = {layer.name: {n: jnp.zeros(spec.shape) for n, spec in layer.params.items()} for layer in GRAPH.layers}
    return params, {"bn": {name: jnp.zeros(spec.shape) for name, spec in GRAPH.layer("bn").state.items()}}


def ones() -> Blobs:
    """A file that has everything, in 1."""
    blobs: Blobs = {}
    for tree in trees():
        for layer, own in tree.items():
            blobs.setdefault(layer, {}).update({name: np.ones(value.shape) for name, value in own.items()})
    return blobs


def fitted(blobs: Blobs, *skip: str) -> tuple[Tree, Tree, Transfer]:
    return fit(GRAPH, *trees(), Found(blobs, "w.safetensors"), skip=skip)


def test_everything_that_fits_is_taken_in_float32() -> None:
    params, state, transfer = fitted(ones())
    for tree in (params, state):
        for own in tree.values():
            assert all(value.dtype == jnp.float32 and bool((value == 1).all()) for value in own.values())
    assert (len(transfer.loaded), transfer.initial, transfer.unused) == (9, (), ())
    assert transfer.as_text() == "loaded      9 blobs"


def test_what_the_file_lacks_or_the_user_skips_keeps_its_value() -> None:
    blobs = ones()
    del blobs["bn"]["mean"]
    params, state, transfer = fitted(blobs, "score")
    assert float(params["score"]["weight"].sum()) == float(state["bn"]["mean"].sum()) == 0
    assert float(params["e1/conv"]["weight"].min()) == 1
    assert transfer.initial == ("score.weight", "score.bias", "bn.mean")
    assert transfer.unused == ()


def test_what_the_net_lacks_is_told_with_long_lists_cut() -> None:
    blobs = {**ones(), **{f"extra{n}": {"weight": np.zeros(1)} for n in range(8)}}
    text = fitted(blobs)[2].as_text()
    assert "unused      8 blobs: extra0.weight, extra1.weight, " in text
    assert text.endswith("extra5.weight, and 2 more")


def test_another_shape_is_an_error_with_both_and_the_layer_to_skip() -> None:
    blobs = ones()
    blobs["score"] = {"weight": np.zeros((1, 1, 2, 21)), "bias": np.zeros(())}
    with pytest.raises(WeightsError) as caught:
        fitted(blobs)
    text = str(caught.value)
    assert text.startswith("w.safetensors: blobs of another shape")
    assert "mismatched  score.weight: the net has 1x1x2x3, the file 1x1x2x21" in text
    assert "mismatched  score.bias: the net has 3, the file scalar" in text
    assert text.endswith("leave them at their initial values: --skip score")
    assert fitted(blobs, "score")[2].mismatched == ()


def test_a_file_of_another_net_is_refused_with_the_names_of_both() -> None:
    with pytest.raises(WeightsError) as caught:
        fitted({"features.0": {"weight": np.zeros(1)}})
    assert "no layer of the file is in the net\n  file: features.0\n  net:  bn, e1/conv, score" in str(caught.value)


def test_a_layer_to_skip_must_be_one_of_the_net() -> None:
    with pytest.raises(WeightsError, match=r"no layer 'scores' to skip\n  did you mean 'score'\?"):
        fitted(ones(), "scores")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_none_are_an_error_with_the_layer_to_skip(number: float) -> None:
    blobs = ones()
    blobs["score"]["weight"][..., 1] = blobs["bn"]["variance"][0] = number
    with pytest.raises(WeightsError) as caught:
        fitted(blobs)
    text = str(caught.value)
    assert text.startswith("w.safetensors: NaN or Inf in score.weight, bn.variance\n")
    assert text.endswith("diverged; leave them at their initial values: --skip bn --skip score")
    fitted(blobs, "bn", "score")
