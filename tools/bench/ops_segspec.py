"""segspec's side of a contest between single operations."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bench.case import Case
from bench.net_task import SOLVER
from bench.ops_task import POOLS, draw
from segspec.graph.build import build, image_inputs
from segspec.net import apply
from segspec.ops.argmax_pool import argmax_pool, unpool
from segspec.ops.window import PoolWindow
from segspec.spec.net import load_net
from segspec.spec.netspec import NetSpec
from segspec.spec.solver_file import load_solver
from segspec.train.runtime import prepare

CONVOLUTION = """\
segspec: 1
name: convolution
input: {{height: {height}, width: {width}, channels: {inputs}}}
layers:
  - Convolution: {{name: conv, num_output: {outputs}, kernel_size: {kernel}, pad: same, bias_term: false}}
"""

Function = Callable[..., jax.Array]


def open_case(task: Mapping[str, Any]) -> Case:
    """An operation, compiled, on arrays that lie on the device."""
    solver = load_solver(SOLVER, [f"precision={task['precision']}", f"solver_mode={task['device'].upper()}"])
    prepare(solver)
    make = _pooling if task["op"] in POOLS else _convolution
    function, arguments = make(task, jnp.dtype(solver.dtype))
    run = jax.jit(function)

    def step() -> None:
        jax.block_until_ready(run(*arguments))

    return Case(step)


def _pooling(task: Mapping[str, Any], dtype: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    batch, height, width, channels = task["shape"]
    window = PoolWindow.over((height, width), (2, 2), (2, 2), (0, 0))
    x = jnp.asarray(draw((batch, height, width, channels), 0), dtype)
    values = jnp.asarray(draw((batch, *window.output, channels), 1), dtype)
    index = jax.jit(lambda x: argmax_pool(x, window)[1])(x)
    match task["op"]:
        case "pool":
            return lambda x: argmax_pool(x, window), (x,)
        case "unpool":
            return lambda values, index: unpool(values, index, window), (values, index)
        case "pool-gradient":
            _, pull = jax.vjp(lambda x: argmax_pool(x, window)[0], x)
            return lambda pull, gradient: pull(gradient), (pull, values)
        case _:
            _, pull = jax.vjp(lambda values: unpool(values, index, window), values)
            return lambda pull, gradient: pull(gradient), (pull, x)


def _convolution(task: Mapping[str, Any], dtype: Any) -> tuple[Function, tuple[jax.Array, ...]]:
    """A convolution as a layer of a net computes it, the weight kept in float32 as in training."""
    batch, height, width, inputs = task["shape"]
    outputs, kernel = task["outputs"], task["kernel"]
    text = CONVOLUTION.format(height=height, width=width, inputs=inputs, outputs=outputs, kernel=kernel)
    graph = build(_spec(text), "DEPLOY", image_inputs(batch, height, width, inputs, labels=False))

    def forward(x: jax.Array, weight: jax.Array) -> jax.Array:
        found = apply(graph, {"conv": {"weight": weight}}, {}, {"data": x}, dtype=dtype.name, want=("conv",))
        return found.blobs["conv"]

    x = jnp.asarray(draw((batch, height, width, inputs), 0), dtype)
    weight = jnp.asarray(draw((kernel, kernel, inputs, outputs), 1))
    gradient = jnp.asarray(draw((batch, height, width, outputs), 2), dtype)
    match task["op"]:
        case "forward":
            return forward, (x, weight)
        case "input-gradient":
            return lambda x, weight, dy: jax.vjp(lambda x: forward(x, weight), x)[1](dy)[0], (x, weight, gradient)
        case _:
            return lambda x, weight, dy: jax.vjp(lambda w: forward(x, w), weight)[1](dy)[0], (x, weight, gradient)


def _spec(text: str) -> NetSpec:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "convolution.yaml"
        path.write_text(text)
        return load_net(path)
