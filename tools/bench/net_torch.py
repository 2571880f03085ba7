"""PyTorch's side of a contest between networks, in the configurations that its manual recommends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bench.case import Case, Memory
from bench.net_task import (
    CLASS_WEIGHTS,
    CLASSES,
    IGNORED,
    LEARNING_RATE,
    MOMENTUM,
    WEIGHT_DECAY,
    NetTask,
    draw_batch,
)
from bench.torch_nets import NETS


def open_case(settings: Mapping[str, Any]) -> Case:
    """A network ready to train or to infer.

    Args:
        settings: a task, and `channels_last` and `compile` of this contestant.
    """
    task = NetTask.of(settings)
    device = select_device(task.device)
    set_precision(task.device, task.precision)
    torch.manual_seed(0)
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    net = NETS[task.network](CLASSES).to(device=device, memory_format=layout)
    images, labels = (torch.from_numpy(array).to(device) for array in draw_batch(task.size, task.batch))
    images = images.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    info = {"parameters": count_parameters(net), **describe(device)}
    step: Callable[[], float | None]
    if task.action == "train":
        step = _training(net, images, labels.long(), task, settings)
    else:
        step = _inference(net, images, task, settings)
    return Case(step, info, device_memory=device_memory(device))


def select_device(name: str) -> torch.device:
    """The device of a task; a GPU with cuDNN choosing its algorithms by trial."""
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if name == "gpu" else "cpu")


def count_parameters(net: nn.Module) -> int:
    """Numbers that a net learns."""
    return sum(parameter.numel() for parameter in net.parameters())


def describe(device: torch.device) -> dict[str, Any]:
    """What the JSON file says of the device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "threads": torch.get_num_threads()}


def device_memory(device: torch.device) -> Callable[[], Memory | None]:
    """A function that says what is held on a GPU; None on a CPU, which has no memory of its own."""

    def held() -> Memory | None:
        if device.type != "cuda":
            return None
        return Memory(torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device))

    return held


def set_precision(device: str, precision: str) -> None:
    """TF32 on a GPU for `high`; on a CPU, PyTorch's float32 is what `high` is compared with."""
    relaxed = device == "gpu" and precision == "high"
    torch.backends.cudnn.allow_tf32 = relaxed
    torch.backends.cuda.matmul.allow_tf32 = relaxed


def _autocast(task: NetTask) -> torch.autocast:
    device = "cuda" if task.device == "gpu" else "cpu"
    return torch.autocast(device, torch.bfloat16, enabled=task.precision == "bfloat16")


def _compiled(function: Callable[..., torch.Tensor], task: NetTask, compile: bool) -> Callable[..., torch.Tensor]:
    if not compile:
        return function
    compiled: Callable[..., torch.Tensor]
    compiled = torch.compile(function, mode="max-autotune" if task.device == "gpu" else None)
    return compiled


def _training(
    net: nn.Module, images: torch.Tensor, labels: torch.Tensor, task: NetTask, settings: Mapping[str, Any]
) -> Callable[[], float]:
    net.train()
    optimizer = make_optimizer(net)
    weights = torch.tensor(CLASS_WEIGHTS, device=images.device)

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return weighted_loss(net(images.float()), labels, weights)

    run = _compiled(loss_of, task, settings["compile"])

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with _autocast(task):
            loss = run(images, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def make_optimizer(net: nn.Module) -> torch.optim.Optimizer:
    """SGD as the solver's file has it, in one pass over each parameter."""
    return torch.optim.SGD(net.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)


def weighted_loss(scores: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The class-weighted cross-entropy over the pixels that count, divided by how many they are, as the spec's."""
    total = functional.cross_entropy(scores.float(), labels, weights, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum()


def _inference(net: nn.Module, images: torch.Tensor, task: NetTask, settings: Mapping[str, Any]) -> Callable[[], None]:
    net.eval()

    def classes_of(images: torch.Tensor) -> torch.Tensor:
        return net(images.float()).argmax(1).to(torch.uint8)

    run = _compiled(classes_of, task, settings["compile"])
    without_gradient = torch.no_grad if settings["compile"] else torch.inference_mode

    def step() -> None:
        with without_gradient(), _autocast(task):
            run(images)
        if images.is_cuda:
            torch.cuda.synchronize()

    return step
