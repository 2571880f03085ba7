"""PyTorch's side of a contest between single operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from bench.case import Case
from bench.net_torch import describe, select_device, set_precision
from bench.ops_task import POOLS, draw


def open_case(task: Mapping[str, Any]) -> Case:
    """An operation on tensors that lie on the device, in the layout that `channels_last` says."""
    device = select_device(task["device"])
    set_precision(task["device"], task["precision"])
    layout = torch.channels_last if task["channels_last"] else torch.contiguous_format
    dtype = torch.bfloat16 if task["precision"] == "bfloat16" else torch.float32

    def tensor(array_shape: tuple[int, ...], seed: int) -> torch.Tensor:
        drawn = torch.from_numpy(draw(array_shape, seed)).permute(0, 3, 1, 2)
        return drawn.to(device, dtype).contiguous(memory_format=layout)

    run = (_pooling if task["op"] in POOLS else _convolution)(task, tensor)

    def step() -> None:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return Case(step, describe(device))


Draw = Callable[[tuple[int, ...], int], torch.Tensor]
"""A tensor (batch, channels, height, width) of a shape (batch, height, width, channels) and a seed."""


def _pooling(task: Mapping[str, Any], tensor: Draw) -> Callable[[], object]:
    shape = tuple(task["shape"])
    batch, height, width, channels = shape
    x = tensor(shape, 0)
    values = tensor((batch, -(-height // 2), -(-width // 2), channels), 1)

    def pool(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return functional.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)

    mask = pool(x)[1]

    def unpool(values: torch.Tensor) -> torch.Tensor:
        return functional.max_unpool2d(values, mask, [2, 2], [2, 2], output_size=(height, width))

    match task["op"]:
        case "pool":
            return lambda: pool(x)
        case "unpool":
            return lambda: unpool(values)
        case "pool-gradient":
            return _backward(lambda x: pool(x)[0], x, values)
        case _:
            return _backward(unpool, values, x)


def _backward(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, gradient: torch.Tensor
) -> Callable[[], object]:
    """The backward pass alone, of a forward pass that was made before."""
    x.requires_grad_()
    y = function(x)
    return lambda: torch.autograd.grad(y, x, gradient, retain_graph=True)


def _convolution(task: Mapping[str, Any], tensor: Draw) -> Callable[[], object]:
    """The weight is kept in float32 and cast each time, as autocast does."""
    batch, height, width, inputs = task["shape"]
    outputs, kernel = task["outputs"], task["kernel"]
    pad = kernel // 2
    x, gradient = tensor((batch, height, width, inputs), 0), tensor((batch, height, width, outputs), 2)
    weight = tensor((outputs, kernel, kernel, inputs), 1).float()

    def backward(wanted: tuple[bool, bool, bool]) -> tuple[torch.Tensor, ...]:
        settings = ([0], [1, 1], [pad, pad], [1, 1], False, [0, 0], 1, wanted)
        found: tuple[torch.Tensor, ...]
        found = torch.ops.aten.convolution_backward(gradient, x, weight.to(x.dtype), *settings)
        return found

    match task["op"]:
        case "forward":
            return lambda: functional.conv2d(x, weight.to(x.dtype), padding=pad)
        case "input-gradient":
            return lambda: backward((True, False, False))
        case _:
            return lambda: backward((False, True, False))[1].float()
