"""segspec's side of a contest between networks: a shipped spec, trained or asked as the commands do it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bench.case import Case, Memory
from bench.net_task import CLASS_WEIGHTS, SOLVER, SPECS, NetTask, draw_batch
from segspec.evaluate.model import deploy_graph
from segspec.graph.graph import Graph
from segspec.net import Tree, apply, init
from segspec.spec.net import load_net
from segspec.spec.netspec import NetSpec
from segspec.spec.solver import Solver
from segspec.spec.solver_file import load_solver
from segspec.train.optimizer import make_optimizer
from segspec.train.runtime import prepare
from segspec.train.session import training_graph, with_class_weights
from segspec.train.step import MicroBatches, TrainState, make_step, start


def open_case(settings: Mapping[str, Any]) -> Case:
    """A network ready to train or to infer."""
    task = NetTask.of(settings)
    return _training(task) if task.action == "train" else _inference(task)


def open_training(task: NetTask) -> tuple[Any, TrainState, MicroBatches, int]:
    """The jitted iteration of a training, what it begins with, and how many numbers the net learns."""
    spec, solver = _load(task)
    graph = training_graph(spec, task.size)
    optimizer = make_optimizer(solver, graph.multipliers)
    data, seed = spec.data["train"], solver.random_seed
    run = make_step(graph, data, optimizer, seed=seed, dtype=solver.dtype, remat=solver.remat)
    images, labels = draw_batch(task.size, task.batch)
    batches = MicroBatches(jnp.asarray(images[None]), jnp.asarray(labels[None, ..., None]))
    return run, start(*init(graph, seed), optimizer), batches, graph.parameters


def _load(task: NetTask) -> tuple[NetSpec, Solver]:
    """The shipped files at the task's batch and precision; sets JAX up as the commands do."""
    solver = load_solver(SOLVER, [f"precision={task.precision}", f"solver_mode={task.device.upper()}"])
    prepare(solver)
    spec = load_net(SPECS[task.network], [f"data.train.batch_size={task.batch}"])
    return with_class_weights(spec, lambda rule: CLASS_WEIGHTS), solver


def _training(task: NetTask) -> Case:
    """One iteration, its metrics fetched as the training loop does."""
    run, state, batches, parameters = open_training(task)
    info = {"parameters": parameters, **_describe(run.lower(state, batches, jnp.int32(0)))}
    done = 0

    def step() -> float:
        nonlocal state, done
        state, metrics = run(state, batches, jnp.int32(done))
        done += 1
        values = {name: float(value) for name, value in metrics.items() if jnp.ndim(value) == 0}
        if not values["finite"]:
            raise ArithmeticError(f"iteration {done} is not finite")
        return values["loss"]

    return Case(step, info, device_memory=_device_memory)


def _inference(task: NetTask) -> Case:
    """From images on the device to the class of each pixel."""
    spec, solver = _load(task)
    graph = deploy_graph(spec, task.batch, task.size, 3)
    params, state = init(graph, solver.random_seed)
    predict = jax.jit(_prediction(graph, spec, solver.dtype))
    images = jnp.asarray(draw_batch(task.size, task.batch)[0])
    info = {"parameters": graph.parameters, **_describe(predict.lower(params, state, images))}

    def step() -> None:
        jax.block_until_ready(predict(params, state, images))

    return Case(step, info, device_memory=_device_memory)


def _prediction(graph: Graph, spec: NetSpec, dtype: str) -> Callable[[Tree, Tree, jax.Array], jax.Array]:
    score = graph.prediction
    assert score is not None

    def predict(params: Tree, state: Tree, images: jax.Array) -> jax.Array:
        data = {"data": spec.data["train"].normalize(images)}
        found = apply(graph, params, state, data, dtype=dtype, statistics="running", want=(score,))
        return jnp.argmax(found.blobs[score].astype(jnp.float32), axis=-1).astype(jnp.uint8)

    return predict


def _describe(lowered: Any) -> dict[str, Any]:
    """Which functions from outside of XLA the program calls, and how often: the native kernels, if they are on."""
    calls = re.findall(r"stablehlo\.custom_call @(\w+)", lowered.as_text())
    counted = {name: calls.count(name) for name in sorted(set(calls))}
    return {"custom_calls": counted, "device": str(jax.devices()[0]), "threads": None}


def _device_memory() -> Memory | None:
    """Of a GPU; None on a CPU, which has no memory of its own."""
    found = jax.local_devices()[0].memory_stats()
    return Memory(int(found["bytes_in_use"]), int(found["peak_bytes_in_use"])) if found else None
