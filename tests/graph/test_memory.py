"""The memory that is foretold against the memory that XLA says a compiled step takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from segspec.errors import Source
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.graph.memory import Memory, Setting, predict_memory
from segspec.layers.data import SyntheticSquares
from segspec.net import init_shapes
from segspec.ops import taps
from segspec.spec.net import read_net
from segspec.spec.solver import Solver
from segspec.train.optimizer import make_optimizer
from segspec.train.step import MicroBatches, make_step, start

CBR = "  - Convolution: {name: c%s, num_output: %d, kernel_size: 3, pad: same}\n  - BatchNorm\n  - ReLU: {name: r%s}\n"
POOL = "  - PoolingMask: {name: p%s, kernel_size: 2, stride: 2}\n"
SCORE = "  - Convolution: {name: score, num_output: 2, kernel_size: 1}\n  - SoftmaxWithLoss: {name: loss}\n"


@pytest.fixture(autouse=True)
def _small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied at a time is as little beside these nets as it is beside those of real size."""
    monkeypatch.setattr(taps, "_BAND_BYTES", 2**17)


def cbr(name: str, channels: int) -> str:
    return CBR % (name, channels, name)


SEGNET = (
    cbr("1", 32) + cbr("2", 32) + POOL % "1" + cbr("3", 64) + POOL % "2" + "  - Upsample: {mask: p2}\n" + cbr("4", 32)
    + "  - Upsample: {mask: p1}\n" + cbr("5", 32) + SCORE
)  # fmt: skip
RESIDUAL = (
    cbr("1", 32) + cbr("2", 32) + "  - Eltwise: {with: r1}\n  - ReLU: {name: s2}\n" + cbr("3", 32)
    + "  - Eltwise: {with: s2}\n  - ReLU: {name: s3}\n" + cbr("4", 32) + "  - Eltwise: {with: s3}\n" + SCORE
)  # fmt: skip
U_NET = (
    cbr("1", 32) + "  - Pooling: {kernel_size: 2, stride: 2}\n" + cbr("2", 64)
    + "  - Deconvolution: {num_output: 32, kernel_size: 2, stride: 2}\n  - Concat: {with: r1}\n" + cbr("3", 32) + SCORE
)  # fmt: skip
WIDE = cbr("1", 256) + cbr("2", 512) + cbr("3", 256) + SCORE
NETS = {"segnet": SEGNET, "residual": RESIDUAL, "u_net": U_NET}


def graph(layers: str, images: int, size: int = 64) -> Graph:
    labelled = f"segspec: 1\nclasses: 2\nlayers:\n{layers}"
    return build(read_net(Source("x.yaml", labelled), Path("nowhere")), "TRAIN", image_inputs(images, size, size, 3))


def compiled_bytes(net: Graph, **fields: Any) -> int:
    """Arguments and temporaries of the compiled step of a solver of these fields."""
    solver = Solver.model_validate({"base_lr": 0.1, "max_iter": 1, "momentum": 0.9, **fields})
    optimizer = make_optimizer(solver, net.multipliers)
    step = make_step(net, SyntheticSquares(), optimizer, seed=0, dtype=solver.dtype, remat=solver.remat)
    state = jax.eval_shape(lambda *trees: start(*trees, optimizer), *init_shapes(net))
    data, label = ((solver.iter_size, *net.inputs[name].shape) for name in ("data", "label"))
    batches = MicroBatches(jax.ShapeDtypeStruct(data, jnp.uint8), jax.ShapeDtypeStruct(label, jnp.int32))
    lowered = step.lower(state, batches, jax.ShapeDtypeStruct((), jnp.int32))
    analysis = lowered.compile().memory_analysis()
    return int(analysis.argument_size_in_bytes + analysis.temp_size_in_bytes)


def predicted(net: Graph, images: int, **fields: Any) -> Memory:
    solver = Solver.model_validate({"base_lr": 0.1, "max_iter": 1, "momentum": 0.9, **fields})
    return predict_memory(net, Setting.of(solver, images))


@pytest.mark.parametrize(("name", "images"), [("segnet", 1), ("segnet", 4), ("residual", 4), ("u_net", 4)])
def test_what_is_foretold_is_what_xla_takes(name: str, images: int) -> None:
    found = compiled_bytes(graph(NETS[name], images))
    assert predicted(graph(NETS[name], 1), images).total == pytest.approx(found, rel=0.2)


@pytest.mark.parametrize(
    "fields", [{"precision": "bfloat16"}, {"remat": "blocks"}, {"iter_size": 2}, {"type": "Adam"}], ids=str
)
def test_so_it_is_with_other_solvers(fields: dict[str, Any]) -> None:
    found = compiled_bytes(graph(SEGNET, 4), **fields)
    assert predicted(graph(SEGNET, 1), 4, **fields).total == pytest.approx(found, rel=0.2)


@pytest.mark.parametrize("fields", [{}, {"type": "Adam"}], ids=str)
def test_a_net_of_many_weights_needs_room_for_the_update(fields: dict[str, Any]) -> None:
    found = compiled_bytes(graph(WIDE, 1, size=8), **fields)
    assert predicted(graph(WIDE, 1, size=8), 1, **fields).total == pytest.approx(found, rel=0.2)
