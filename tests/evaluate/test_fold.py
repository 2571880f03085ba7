from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from segspec.errors import Source
from segspec.evaluate.fold import fold
from segspec.evaluate.model import Model, deploy_graph
from segspec.net import Tree, apply
from segspec.spec.flatten import flat_text
from segspec.spec.net import read_net

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 9, 11, 3)).astype(np.float32) / 50
SCORE = "  - Convolution: {name: score, num_output: $classes, kernel_size: 1}\n"


def folded(model: Model) -> tuple[Model, tuple[str, ...]]:
    graph = deploy_graph(model.spec, 1, (8, 8), 3)
    spec, params, state, merged = fold(model.spec, graph, model.params, model.state)
    again = read_net(Source("folded.yaml", flat_text(spec)), Path())
    return Model(again, params, state), merged


def outputs(model: Model, blob: str | None = None) -> np.ndarray:
    graph = deploy_graph(model.spec, *IMAGES.shape[:1], IMAGES.shape[1:3], 3)
    blob = blob or graph.prediction
    assert blob is not None
    data = {"data": jax.numpy.asarray(IMAGES)}

    @jax.jit
    def run(params: Tree, state: Tree) -> jax.Array:
        return apply(graph, params, state, data, statistics="running", want=(blob,)).blobs[blob]

    return np.asarray(run(model.params, model.state), np.float64)


@pytest.mark.parametrize(
    "norm", ["BN: {name: bn}", "BatchNorm: {name: bn}", "BatchNorm: {name: bn, scale_bias: false}"]
)
@pytest.mark.parametrize("bias", ["true", "false"])
@pytest.mark.parametrize("between", ["  - ReLU\n", ""])
def test_the_answer_is_the_same_and_the_normalisation_gone(norm: str, bias: str, between: str, make_model: Any) -> None:
    conv = f"  - Convolution: {{name: conv, num_output: 6, kernel_size: 3, pad: 1, bias_term: {bias}}}\n"
    model = make_model(f"layers:\n{conv}  - {norm}\n{between}{SCORE}")
    after, merged = folded(model)
    assert merged == ("bn",)
    assert "bn" not in {layer.name for layer in after.spec.layers}
    assert "bn" not in after.params and "bn" not in after.state
    expected = outputs(model)
    np.testing.assert_allclose(outputs(after), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_grouped_and_dilated_convolutions_fold_as_well(make_model: Any) -> None:
    conv = "  - Convolution: {name: conv, num_output: 6, kernel_size: 3, pad: 2, dilation: 2, group: 3}\n"
    model = make_model(f"layers:\n{conv}  - BN: {{name: bn}}\n{SCORE}")
    after, merged = folded(model)
    assert merged == ("bn",)
    np.testing.assert_allclose(outputs(after), outputs(model), rtol=1e-4, atol=1e-4)


def test_a_deconvolution_carries_a_normalisation(make_model: Any) -> None:
    deconv = "  - Deconvolution: {name: deconv, num_output: 5, kernel_size: 3, stride: 2}\n"
    model = make_model(f"layers:\n{deconv}  - BatchNorm: {{name: bn}}\n{SCORE}")
    after, merged = folded(model)
    assert merged == ("bn",)
    np.testing.assert_allclose(outputs(after), outputs(model), rtol=1e-4, atol=1e-4)


def test_statistics_that_were_folded_into_scale_and_shift_fold_on(make_model: Any) -> None:
    conv = "  - Convolution: {name: conv, num_output: 4, kernel_size: 1, bias_term: false}\n"
    model = make_model(f"layers:\n{conv}  - BN: {{name: bn, bn_mode: INFERENCE}}\n{SCORE}")
    after, merged = folded(model)
    assert merged == ("bn",)
    assert after.params.keys() == {"conv", "score"}
    np.testing.assert_allclose(outputs(after), outputs(model), rtol=1e-5, atol=1e-4)


def test_an_offset_far_above_the_factor_costs_no_precision(make_model: Any) -> None:
    conv = "  - Convolution: {name: conv, num_output: 2, kernel_size: 1}\n"
    model = make_model(f"layers:\n{conv}  - BatchNorm: {{name: bn}}\n{SCORE}")
    params, state = dict(model.params["conv"]), dict(model.state)
    params["bias"] = jax.numpy.full(2, 5000.0)
    state["bn"] = {**state["bn"], "mean": jax.numpy.full(2, 5000.0)}
    after, _ = folded(Model(model.spec, {**model.params, "conv": params}, state))
    factor = np.asarray(model.params["bn"]["scale"], np.float64) / np.sqrt(np.asarray(state["bn"]["variance"]) + 1e-5)
    np.testing.assert_allclose(after.params["conv"]["weight"], model.params["conv"]["weight"] * factor, rtol=1e-6)


def test_several_fold_at_once_and_branches_read_the_right_blob(make_model: Any) -> None:
    text = """layers:
  - Convolution: {name: a, num_output: 4, kernel_size: 3, pad: 1}
  - BatchNorm: {name: na}
  - ReLU: {name: ra}
  - Convolution: {name: b, num_output: 4, kernel_size: 1}
  - BatchNorm: {name: nb}
  - Eltwise: {name: sum, with: ra}
"""
    model = make_model(text + SCORE)
    after, merged = folded(model)
    assert merged == ("na", "nb")
    np.testing.assert_allclose(outputs(after), outputs(model), rtol=1e-4, atol=1e-4)


STAY = {
    "behind a ReLU": "  - Convolution: {name: conv, num_output: 4, kernel_size: 1}\n  - ReLU\n  - BN: {name: bn}\n",
    "behind a deconvolution in groups": (
        "  - Deconvolution: {name: conv, num_output: 3, group: 3, kernel_size: 2, stride: 2}\n  - BN: {name: bn}\n"
    ),
    "behind a deconvolution with rows of zeros": (
        "  - Convolution: {name: half, num_output: 4, kernel_size: 2, stride: 2}\n"
        "  - Deconvolution: {name: conv, num_output: 4, kernel_size: 2, stride: 2, size_of: data}\n"
        "  - BN: {name: bn}\n"
    ),
    "where another layer reads the convolution": (
        "  - Convolution: {name: conv, num_output: 4, kernel_size: 1}\n  - BN: {name: bn}\n"
        "  - Eltwise: {name: sum, with: conv}\n"
    ),
    "where weights are shared": (
        "  - Convolution: {name: conv, num_output: 3, kernel_size: 1, param: [{name: w}, {name: b}]}\n"
        "  - BN: {name: bn}\n"
        "  - Convolution: {name: twin, num_output: 3, kernel_size: 1, param: [{name: w}, {name: b}]}\n"
    ),
}


@pytest.mark.parametrize("case", STAY)
def test_what_cannot_fold_stays(case: str, make_model: Any) -> None:
    model = make_model(f"layers:\n{STAY[case]}{SCORE}")
    after, merged = folded(model)
    assert merged == ()
    np.testing.assert_array_equal(outputs(after), outputs(model))


def test_a_loss_that_reads_the_convolution_keeps_it(make_model: Any) -> None:
    text = """layers:
  - Convolution: {name: conv, num_output: 2, kernel_size: 1}
  - BN: {name: bn}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
  - SoftmaxWithLoss: {name: main, bottom: [score, label]}
  - SoftmaxWithLoss: {name: side, bottom: [conv, label], loss_weight: 0.4}
"""
    assert folded(make_model(text))[1] == ()


def test_the_output_moves_along_with_a_normalisation_that_made_it(make_model: Any) -> None:
    text = "layers:\n  - Convolution: {name: conv, num_output: 2, kernel_size: 1}\n  - BN: {name: bn}\noutput: bn\n"
    model = make_model(text)
    after, merged = folded(model)
    assert (merged, after.spec.output) == (("bn",), "conv")
    np.testing.assert_allclose(outputs(after), outputs(model), rtol=1e-4, atol=1e-5)


def test_the_output_is_never_the_convolution_of_another_meaning(make_model: Any) -> None:
    text = "layers:\n  - Convolution: {name: conv, num_output: 2, kernel_size: 1}\n  - BN: {name: bn}\noutput: conv\n"
    model = make_model(text)
    after, merged = folded(model)
    assert merged == ()
    np.testing.assert_array_equal(outputs(after, "conv"), outputs(model, "conv"))
