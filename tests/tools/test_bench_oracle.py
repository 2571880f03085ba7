"""PyTorch's side of the bench does what segspec's does: the same network, the same update, the same pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bench.contest import Rules
from bench.net_task import CLASS_WEIGHTS, CLASSES, IGNORED, SPECS, NetTask, draw_batch
from bench.options import Options
from bench.suite_nets import run_net

from segspec.graph.graph import Graph
from segspec.layers.convolution import Convolution
from segspec.layers.normalization import BatchNorm
from segspec.net import apply
from segspec.spec.net import load_net
from segspec.spec.solver_file import load_solver
from segspec.train.session import training_graph, with_class_weights

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")
SIZE = (36, 44)  # halves to odd numbers on the way


def copied(graph: Graph, net: Any) -> dict[str, dict[str, Any]]:
    """A torch module's parameters by the names of the spec's layers, module for module in order."""
    modules = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d)]
    layers = [layer for layer in graph.layers if isinstance(layer.layer, Convolution | BatchNorm)]
    assert len(modules) == len(layers)
    return {layer.name: blobs(module) for layer, module in zip(layers, modules, strict=True)}


def blobs(module: Any) -> dict[str, Any]:
    weight, bias = (jnp.array(value.detach().numpy()) for value in (module.weight, module.bias))
    if isinstance(module, torch.nn.Conv2d):
        return {"weight": weight.transpose(2, 3, 1, 0), "bias": bias}
    return {"scale": weight, "shift": bias}


def fresh(graph: Graph) -> dict[str, dict[str, Any]]:
    """The state before the first iteration."""
    return {
        layer.name: {blob: jnp.full(spec.shape, spec.value, jnp.float32) for blob, spec in layer.state.items()}
        for layer in graph.layers
        if layer.state
    }


def differences(name: str, seeds: range) -> Iterator[tuple[float, float]]:
    """How far the scores and the losses of both sides lie apart, with the same parameters, drawn from each seed."""
    from bench.net_torch import weighted_loss
    from bench.torch_nets import NETS

    spec = with_class_weights(load_net(SPECS[name], ["data.train.batch_size=2"]), lambda rule: CLASS_WEIGHTS)
    graph = training_graph(spec, SIZE)
    images, labels = draw_batch(SIZE, 2)
    inputs = {"data": spec.data["train"].normalize(jnp.asarray(images)), "label": jnp.asarray(labels[..., None])}
    score = graph.prediction or ""
    run = jax.jit(partial(apply, graph, train=True, want=(score,)))
    for seed in seeds:
        torch.manual_seed(seed)
        net = NETS[name](CLASSES)
        assert sum(parameter.numel() for parameter in net.parameters()) == graph.parameters
        found = run(copied(graph, net), fresh(graph), inputs)
        theirs = net.train()(torch.from_numpy(images).permute(0, 3, 1, 2).float())
        loss = weighted_loss(theirs, torch.from_numpy(labels).long(), torch.tensor(CLASS_WEIGHTS))
        ours = np.asarray(found.blobs[score]).transpose(0, 3, 1, 2)
        yield float(np.abs(ours - theirs.detach().numpy()).max()), abs(float(found.loss) - loss.item())


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_the_networks_are_the_same(name: str) -> None:
    # Where two values of a window are all but equal, rounding decides which is its maximum, and a value comes to
    # another place. That happens with some parameters; networks that differ would agree with none.
    assert any(scores < 1e-3 and loss < 1e-3 for scores, loss in differences(name, range(4)))


def test_the_spec_ignores_what_the_bench_ignores_and_normalises_nothing() -> None:
    for path in SPECS.values():
        spec = load_net(path)
        assert spec.classes is not None
        assert (spec.classes.count, spec.classes.ignore_label) == (CLASSES, IGNORED)
        layer = spec.data["train"]
        assert (layer.mean_value, layer.scale) == ((), 1.0)


@pytest.mark.parametrize(
    ("device", "precision", "relaxed"), [("cpu", "high", False), ("gpu", "high", True), ("gpu", "float32", False)]
)
def test_networks_and_operations_multiply_at_one_precision(device: str, precision: str, relaxed: bool) -> None:
    from bench import net_torch, ops_torch

    assert ops_torch.set_precision is net_torch.set_precision
    try:
        for switches in (torch.backends.cudnn, torch.backends.cuda.matmul):
            switches.allow_tf32 = not relaxed
        net_torch.set_precision(device, precision)
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == relaxed
    finally:
        net_torch.set_precision("cpu", "float32")


def test_the_updates_are_the_same() -> None:
    from bench import net_task
    from bench.net_torch import make_optimizer

    solver = load_solver(net_task.SOLVER)
    ours = (solver.base_lr, solver.momentum, solver.weight_decay, solver.lr_policy, solver.type)
    assert ours == (net_task.LEARNING_RATE, net_task.MOMENTUM, net_task.WEIGHT_DECAY, "fixed", "SGD")
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = make_optimizer(torch.nn.ParameterList([weight]))
    expected, velocity = 2.0, 0.0
    for gradient in (1.0, -0.5):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        velocity = solver.momentum * velocity + solver.base_lr * (gradient + solver.weight_decay * expected)
        expected -= velocity
    assert weight.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("action", "precision"), [("train", "bfloat16"), ("infer", "float32")])
def test_both_sides_run(action: str, precision: str) -> None:
    task = NetTask(action, "segnet-basic", SIZE, 1, precision, "cpu")._asdict()
    rules = Rules(rounds=2, turn_seconds=0.0, say=lambda text: None)
    contest = run_net(action, task, Options(contestants=("segspec", "torch-channels-last"), rules=rules))
    assert [entry.error for entry in contest.entries] == [None, None]
    assert contest.ratio("segspec") is not None
    losses = [entry.info["last"] for entry in contest.entries]
    assert all(0 < loss < 10 for loss in losses) if action == "train" else losses == [None, None]


@pytest.mark.parametrize("variant", ["resize", "crop"])
def test_the_loaders_read_the_same(tmp_path: Path, variant: str) -> None:
    from bench.data_task import DataTask
    from bench.data_torch import Pictures

    from segspec.data.sources import open_source
    from segspec.data.synthetic import STREET_TABLE, write_dataset
    from segspec.layers.data import DenseImageData

    write_dataset("street", tmp_path / "street", 2, (40, 60))
    task = DataTask(tmp_path / "street", variant, (20, 30), 1)
    cut: dict[str, Any] = {"resize": {"new_height": 20, "new_width": 30}, "crop": {"crop_size": (20, 30)}}[variant]
    layer = DenseImageData(source=str(task.folder / "train.txt"), **cut)
    sample = open_source(layer, STREET_TABLE, task.folder).load(1)
    for decoder in ("opencv", "pillow"):
        image, label = Pictures(task, decoder, varied=False)[1]
        np.testing.assert_array_equal(image.numpy(), sample.image)
        np.testing.assert_array_equal(label.numpy(), sample.label)
