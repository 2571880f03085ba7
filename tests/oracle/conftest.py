"""Modules of torch with weights worth comparing, and the nets of specs that take these weights over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.net import apply, init_shapes
from segspec.spec.netspec import NetSpec
from segspec.weights.fit import fit
from segspec.weights.names import WeightsMap, name_modules, turn_colours

Compare = Callable[..., None]


@pytest.fixture(scope="session")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="session")
def torchvision(torch: Any) -> Any:
    """torchvision, also where its compiled operations are for CUDA and torch is for the CPU.

    They are not found then, and importing stops at two of them that are declared nowhere else. No network uses them.
    """
    found = find_spec("torchvision")
    version = Path(found.origin).with_name("version.py").read_text() if found and found.origin else ""
    if "+cu" in version and torch.version.cuda is None:
        for name in ("nms", "qnms"):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema)
    return pytest.importorskip("torchvision")


@pytest.fixture(scope="session")
def smp(torchvision: Any) -> Any:
    return pytest.importorskip("segmentation_models_pytorch")


@pytest.fixture
def drawn(torch: Any) -> Callable[..., Any]:
    """Gives a module that was made on the device `meta` its memory and random parameters, each drawn once."""
    return partial(_draw, torch)


@pytest.fixture
def seasoned(torch: Any) -> Callable[..., Any]:
    """Gives a module random normalisations whose outputs are of ordinary size."""
    return partial(_season, torch)


@pytest.fixture
def same_outputs(torch: Any) -> Compare:
    """Asserts that a net with a module's weights gives what the module gives."""
    return partial(_assert_same_outputs, torch)


def _draw(torch: Any, module: Any) -> Any:
    """The module with parameters that keep outputs of ordinary size; torchvision's own drawing takes seconds twice."""
    torch.manual_seed(0)
    for part in module.to_empty(device="cpu").modules():
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_uniform_(part.weight, nonlinearity="relu")
            torch.nn.init.uniform_(part.bias, -0.1, 0.1)
        elif isinstance(part, torch.nn.BatchNorm2d):
            part.reset_parameters()
    return module


def _season(torch: Any, module: Any, size: tuple[int, int], seed: int = 0) -> Any:
    """The module with random scales and shifts, and with running averages near what a random batch gives.

    Scales at the end of a residual branch are small, as in trained nets. With scales near 1 a ResNet-101 magnifies
    rounding: torch itself then differs between float32 and float64 by four times what is tolerated here.
    """
    torch.manual_seed(seed)
    norms = {name: each for name, each in module.named_modules() if isinstance(each, torch.nn.BatchNorm2d)}
    for name, norm in norms.items():
        least, most = (0.1, 0.4) if name.endswith(".bn3") else (0.5, 1.5)
        torch.nn.init.uniform_(norm.weight, least, most)
        torch.nn.init.normal_(norm.bias, 0, 0.1)
        norm.momentum = 1.0
    with torch.no_grad():
        module.train()(torch.randn(2, 3, *size))
        for norm in norms.values():
            norm.running_mean += 0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.8, 1.25)
    return module.eval()


def _assert_same_outputs(
    torch: Any,
    spec: NetSpec,
    module: Any,
    names: Mapping[str, str],
    size: tuple[int, int],
    pairs: Mapping[str, Any],
    *,
    whole: bool = True,
) -> None:
    """Compares blobs of a net with what parts of a module give in float64, for the same weights and image.

    Args:
        torch: the library.
        spec: the net.
        module: of torch, which sees red, green, blue.
        names: its modules by the layers of the net.
        size: (height, width) of the image.
        pairs: `module -> (N, C, H, W)` by the blob of the net that is to equal it.
        whole: whether the net has nothing but what the module has, and the other way round.
    """
    graph = build(spec, "DEPLOY", image_inputs(1, *size, 3, labels=False))
    params, state = _with_weights(graph, module, names, whole=whole)
    image = np.random.default_rng(1).standard_normal((1, 3, *size), np.float32)
    bgr = jnp.asarray(np.flip(image, 1).transpose(0, 2, 3, 1))
    run = jax.jit(lambda params, state, x: apply(graph, params, state, {"data": x}, want=tuple(pairs)).blobs)
    blobs = run(params, state, bgr)
    module.double()
    for blob, part in pairs.items():
        with torch.no_grad():
            expected = part(torch.from_numpy(image).double()).permute(0, 2, 3, 1).numpy()
        assert expected.std() > 0.05, "nothing to compare"
        np.testing.assert_allclose(np.asarray(blobs[blob]), expected, rtol=0, atol=1e-4, err_msg=blob)


def _with_weights(graph: Graph, module: Any, names: Mapping[str, str], *, whole: bool) -> tuple[Any, Any]:
    """The parameters and the state of a net with a module's weights."""
    modules: dict[str, dict[str, np.ndarray]] = {}
    for key, value in module.state_dict().items():
        layer, _, blob = key.rpartition(".")
        modules.setdefault(layer, {})[blob] = value.numpy()
    taken = modules if whole else {layer: modules[layer] for layer in set(names.values())}
    found = name_modules(graph, taken, WeightsMap(names, layout="torch", channels="rgb"), "torch")
    blobs = {layer: own for layer, own in turn_colours(graph, found).blobs.items() if own}
    # Zeros cost nothing, and what is compared would show a blob that stayed one.
    zeros = jax.tree.map(lambda like: np.zeros(like.shape, like.dtype), init_shapes(graph))
    params, state, transfer = fit(graph, *zeros, replace(found, blobs=blobs))
    assert not transfer.unused
    assert not (whole and transfer.initial)
    return params, state
