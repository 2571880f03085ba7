"""The limits of each precision, and what rounding to bfloat16 does to a net in float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import golden_precision as tool
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_parts import Figure

from segspec.graph.build import build
from segspec.layers.base import Blob
from segspec.net import apply, init
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.solver import Precision
from segspec.syntax.tree import read_source

NET = """
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
"""


@pytest.mark.parametrize(("precision", "limits"), [("float32", (1e-5, 1e-3)), ("high", (1e-4, 1e-2))])
def test_limits_in_float32(precision: Precision, limits: tuple[float, float]) -> None:
    def run(trial: tool.Trial) -> Iterator[Figure]:
        assert trial == tool.STRICT
        assert jax.config.jax_default_matmul_precision == {"float32": "highest", "high": "high"}[precision]
        yield Figure("one", 0.0, 1e-5)
        yield Figure("other", 0.0, 1e-3)

    assert [figure.limit for figure in tool.compare(run, precision)] == pytest.approx(limits)


def test_the_limit_in_bfloat16_is_what_rounding_does() -> None:
    def run(trial: tool.Trial) -> Iterator[Figure]:
        assert trial.dtype == ("float32" if trial.rounds or trial == tool.STRICT else "bfloat16")
        for exact, rounded in ((1e-6, 0.1), (1e-6, 1e-6), (2e-5, 0.1), (np.inf, np.inf)):
            yield Figure("figure", rounded if trial.rounds else exact if trial == tool.STRICT else 0.2, 1e-5)

    found = tool.compare(run, "bfloat16")
    assert [figure.error for figure in found] == [0.2] * 4
    assert [figure.limit for figure in found] == pytest.approx([0.3, 1 / 256, 1e-5, 1e-5])


def test_a_number_may_be_as_far_as_what_it_is_computed_from() -> None:
    def run(trial: tool.Trial) -> Iterator[Figure]:
        yield Figure("array", 0.1 if trial.rounds else 0.0, 1e-5, "scores")
        yield Figure("number", 0.0, 1e-5, "scores")
        yield Figure("other", 0.0, 1e-5, "else")

    assert [figure.limit for figure in tool.compare(run, "bfloat16")] == pytest.approx([0.3, 0.3, 1 / 256])


def test_rounding_passes_both_ways() -> None:
    value, pull = jax.vjp(tool.round_bfloat16, jnp.float32(1 + 2**-9 + 2**-8))
    assert value == 1 + 2**-7
    assert pull(jnp.float32(3.001))[0] == 3


def test_a_net_is_rounded_where_it_would_be_in_bfloat16(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    inputs = {"data": jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), jnp.float32)}
    graph = build(read_caffe_net(read_source(path), phase="TEST"), "TEST", {"data": Blob((1, 8, 8, 3))})
    params, state = init(graph, 0)
    rounded = tool.Trial(rounds=True).prepare(graph, params, state, inputs)
    assert tool.STRICT.prepare(graph, params, state, inputs) is graph
    found, half, exact = (
        apply(net, params, state, inputs, dtype=dtype, want=("conv", "pool")).blobs
        for net, dtype in ((rounded, "float32"), (graph, "bfloat16"), (graph, "float32"))
    )
    for name in ("conv", "pool"):
        assert half[name].dtype == jnp.bfloat16
        assert found[name].dtype == jnp.float32
        assert np.array_equal(found[name], found[name].astype(jnp.bfloat16).astype(jnp.float32))
        away = (tool.norm_error(np.asarray(blobs[name]), np.asarray(exact[name])) for blobs in (found, half))
        assert all(1e-4 < error < 1 / 256 for error in away)
