"""One training against Caffe: losses, rates and parameters, iteration by iteration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from golden_parts import (
    Case,
    Figure,
    Golden,
    blob_to_stored,
    caffe_order,
    feeds_normalisation,
    find_weights,
    greatest_error,
    open_list,
    params_from,
    read_blobs,
)
from golden_precision import STRICT, Trial, compare

from segspec.data.loader import training_batches
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph, GraphLayer
from segspec.layers.base import Blob
from segspec.layers.data import DataLayer, DenseImageData
from segspec.net import Tree, apply
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.solver import Precision, Solver
from segspec.spec.solver_file import load_solver
from segspec.syntax.prototxt import parse_prototxt
from segspec.syntax.tree import Scalar, read_source
from segspec.train.optimizer import make_optimizer
from segspec.train.rate import learning_rate
from segspec.train.step import MicroBatches, Step, TrainState, make_step, start
from segspec.weights.layout import to_caffe

PER_UPDATE = 2e-5
"""Greatest relative error of a parameter, for each update that was made."""
DRIFT = ((3, 4e-4), (30, 2e-2))
"""Loss curves at a high rate part, as two runs of Caffe from weights an ulp apart do: by iteration 3 and by 30."""
SPREAD = 10.0
"""How many times the distance between Caffe's run and its own perturbed run a loss may be away."""
ACCURACY = 2e-3
"""How far an accuracy may be away while the losses agree: pixels near a tie."""

Batches = Callable[[int], MicroBatches]
"""From an iteration, counted from 0, to its batches."""


@dataclass(frozen=True)
class Setting:
    """What a training starts from."""

    solver: Solver
    graph: Graph
    data: DataLayer
    batches: Batches
    trial: Trial = STRICT

    def tried(self, trial: Trial, params: Tree, state: Tree) -> Setting:
        """The same as a trial computes it."""
        first = self.batches(0)
        inputs = {"data": self.data.normalize(first.data[0]), "label": first.label[0]}
        solver = self.solver.model_copy(update={"precision": trial.dtype})
        return replace(self, solver=solver, graph=trial.prepare(self.graph, params, state, inputs), trial=trial)


def run_training(path: Path, root: Path, folders: list[Path], precision: Precision = "float32") -> Case:
    """Compares one training.

    Args:
        path: NAME_solver.prototxt; beside it NAME.npz.
        root: what paths in the prototxts are relative to.
        folders: where the weights to start from may lie.
        precision: to compute at.
    """
    stem = path.stem.removesuffix("_solver")
    name = f"{path.parent.name}/{stem}"
    with np.load(path.with_name(f"{stem}.npz")) as file:
        golden = dict(file)
    setting = read_setting(path, root, golden, len(golden["loss"]))
    first = {key.partition("/")[2]: value[0] for key, value in golden.items() if key.startswith("params/")}
    if first:
        params, state = params_from(setting.graph, _by_layer(first))
        figures = compare(lambda trial: _tiny(setting.tried(trial, params, state), params, state, golden), precision)
        return Case(name, (*figures, _rates(setting, golden)), _remark(setting))
    weights = find_weights(setting.graph, stem, [folder for folder in folders if folder != path.parent])
    if weights is None:
        return Case(name, (), "no caffemodel with blobs of this net's shapes to start from")
    params, state = params_from(setting.graph, read_blobs(weights))
    figures = compare(lambda trial: _long(setting.tried(trial, params, state), params, state, golden), precision)
    return Case(name, (*figures, _rates(setting, golden)), f"from {weights.name}; {_remark(setting)}".rstrip("; "))


def _remark(setting: Setting) -> str:
    return "gradients of BN from the last batch alone, as caffe-segnet's" if _overwrites(setting) else ""


def read_setting(path: Path, root: Path, golden: Golden, iterations: int) -> Setting:
    """A training with enough batches for so many iterations; `golden` holds them where the net reads memory."""
    text = parse_prototxt(read_source(path))
    net = text.get("net") or text.get("train_net")
    assert isinstance(net, Scalar)
    source = read_source(root / net.text)
    spec = read_caffe_net(source, phase="TRAIN")
    solver = load_solver(path)
    if "X" in golden:
        size = int(re.search(r"batch_size:\s*(\d+)", source.text)[1])  # type: ignore[index]
        _, channels, height, width = golden["X"].shape
        inputs = {"data": Blob((size, height, width, channels)), "label": Blob((size,), "int32")}
        graph = build(spec, "TRAIN", inputs)
        return Setting(solver, graph, DenseImageData(source="-"), _from_memory(golden, size, solver.iter_size))
    data = spec.data["train"]
    images = open_list(data, root)
    graph = build(spec, "TRAIN", image_inputs(data.batch_size, *images.size, data.channels))
    with training_batches(images, data.batch_size, workers=1) as loader:
        loaded = [next(loader) for _ in range(iterations * solver.iter_size)]
    stacked = [(batch.data, batch.label) for batch in loaded]
    return Setting(solver, graph, data, _from_list(stacked, solver.iter_size))


def _from_memory(golden: Golden, size: int, micro: int) -> Batches:
    """Batches of arrays in order, round and round, as MemoryData gives them."""
    images, labels = blob_to_stored(golden["X"]), golden["Y"].astype(np.int32)
    count = len(labels) // size

    def batches(iteration: int) -> MicroBatches:
        places = [(iteration * micro + number) % count * size for number in range(micro)]
        return MicroBatches(
            jnp.stack([images[place : place + size] for place in places]),
            jnp.stack([labels[place : place + size] for place in places]),
        )

    return batches


def _from_list(loaded: list[tuple[np.ndarray, np.ndarray | None]], micro: int) -> Batches:
    def batches(iteration: int) -> MicroBatches:
        some = loaded[iteration * micro : (iteration + 1) * micro]
        return MicroBatches(jnp.stack([data for data, _ in some]), jnp.stack([label for _, label in some]))

    return batches


def _by_layer(blobs: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """`layer:index` keys as lists by layer."""
    layers: dict[str, list[np.ndarray]] = {}
    for name in sorted(blobs, key=lambda name: (name.rpartition(":")[0], int(name.rpartition(":")[2]))):
        layers.setdefault(name.rpartition(":")[0], []).append(blobs[name])
    return layers


def train(
    setting: Setting, params: Tree, state: Tree, iterations: int
) -> Iterator[tuple[TrainState, dict[str, np.ndarray]]]:
    """The state after each iteration, and the metrics of its last batch from before the update, as Caffe logs them."""
    optimizer = make_optimizer(setting.solver, setting.graph.multipliers)
    measure = jax.jit(partial(_measure, setting))
    several = setting.solver.iter_size > 1
    step = (
        _overwriting_step(setting, optimizer)
        if _overwrites(setting)
        else make_step(setting.graph, setting.data, optimizer, seed=0, dtype=setting.solver.dtype)
    )
    now = start(*jax.tree.map(jnp.copy, (params, state)), optimizer)  # a step takes what it is given
    for iteration in range(iterations):
        batches = setting.batches(iteration)
        last = measure(now.params, now.state, batches.data[-1], batches.label[-1])[1] if several else {}
        now, metrics = step(now, batches, jnp.int32(iteration))
        kept = jax.tree.map(np.asarray, now)
        yield kept, {name: np.asarray(value) for name, value in {**metrics, **last}.items()}


def _measure(
    setting: Setting, params: Tree, state: Tree, data: jax.Array, label: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of a batch, and with it all its metrics."""
    inputs = {"data": setting.data.normalize(data), "label": label}
    outputs = apply(setting.graph, params, state, inputs, train=True, dtype=setting.solver.dtype)
    return outputs.loss, {**outputs.blobs, "loss": outputs.loss}


def _overwrites(setting: Setting) -> bool:
    """Whether caffe-segnet's fault shows: its BN overwrites its gradients where others add up."""
    return setting.solver.iter_size > 1 and any(layer.layer.type == "BN" for layer in setting.graph.layers)


def _overwriting_step(setting: Setting, optimizer: optax.GradientTransformation) -> Step:
    """A step with that fault, so that everything else can be compared."""
    faulty = {layer.name for layer in setting.graph.layers if layer.layer.type == "BN"}
    gradient = jax.grad(partial(_measure, setting), has_aux=True)

    @jax.jit
    def step(now: TrainState, batches: MicroBatches, iteration: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        total = jax.tree.map(jnp.zeros_like, now.params)
        for data, label in zip(batches.data, batches.label, strict=True):
            found, _ = gradient(now.params, now.state, data, label)
            total = {
                layer: found[layer] if layer in faulty else jax.tree.map(jnp.add, blobs, found[layer])
                for layer, blobs in total.items()
            }
        updates, after = optimizer.update(total, now.optimizer, now.params)
        params = jax.tree.map(jnp.add, now.params, updates)
        return TrainState(params, now.state, after), {}

    return step


def _tiny(setting: Setting, params: Tree, state: Tree, golden: Golden) -> Iterator[Figure]:
    """Every parameter after every update."""
    iterations = len(golden["loss"])
    worst: dict[str, float] = {}
    losses = []
    for count, (now, metrics) in enumerate(train(setting, params, state, iterations), 1):
        losses.append(metrics["loss"])
        for layer, blob, index in caffe_order(setting.graph):
            key = f"{layer.name}:{index}"
            theirs = golden[f"params/{key}"][count]
            error = setting.trial.measure(_ours(layer, blob, now), theirs) / count
            worst[key] = max(worst.get(key, 0.0), error)
    for key, error in worst.items():
        yield Figure(f"{key}, per update", error, PER_UPDATE)
    yield Figure("loss", setting.trial.measure(np.asarray(losses), golden["loss"]), iterations * PER_UPDATE)


def _ours(layer: GraphLayer, blob: str, now: TrainState) -> np.ndarray:
    return to_caffe(layer.params[blob], np.asarray(now.params[layer.name][blob]))


def _rates(setting: Setting, golden: Golden) -> Figure:
    rate = learning_rate(setting.solver)
    ours = np.asarray([rate(jnp.int32(t)) for t in range(len(golden["lr"]))])
    return Figure("rate", greatest_error(ours, golden["lr"]), 2e-6)


def _long(setting: Setting, params: Tree, state: Tree, golden: Golden) -> Iterator[Figure]:
    """Losses, tightly at first, and the parameters that were kept on the way."""
    theirs = golden["loss"]
    spread = np.abs(golden.get("loss_perturbed", theirs) - theirs) / np.abs(theirs)
    accuracy = next(
        (top for layer in setting.graph.layers if layer.layer.type == "Accuracy" for top in layer.tops[:1]), ""
    )
    farthest, farthest_accuracy = 0.0, 0.0
    for number, (now, metrics) in enumerate(train(setting, params, state, len(theirs))):
        limit = max(_drift(number + 1), SPREAD * float(np.max(spread[: number + 1])))
        error = abs(float(metrics["loss"]) - float(theirs[number])) / abs(float(theirs[number]))
        farthest = max(farthest, error)
        yield Figure(f"loss until iteration {number + 1}", farthest, limit)
        if accuracy and "accuracy" in golden:
            away = abs(float(metrics[accuracy]) - float(golden["accuracy"][number]))
            farthest_accuracy = max(farthest_accuracy, away)
            yield Figure(f"accuracy until iteration {number + 1}", farthest_accuracy, max(ACCURACY, 2 * limit))
        for layer, blob, index in caffe_order(setting.graph):
            kept = golden.get(f"params_after_{number + 1}/{layer.name}:{index}")
            if kept is not None and not feeds_normalisation(setting.graph, layer, blob):
                error = setting.trial.measure(_ours(layer, blob, now), kept)
                yield Figure(f"{layer.name}:{index} after {number + 1}", error, limit)


def _drift(iteration: int) -> float:
    """The limit of a loss's relative error: a power law through the two points of DRIFT."""
    (early, small), (late, large) = DRIFT
    power = np.log(large / small) / np.log(late / early)
    return float(small * (iteration / early) ** power)
