"""segspec: networks and solvers for semantic segmentation, written as text, compiled to JAX.

The public names are loaded when they are first used, so that `import segspec` costs nothing:

>>> import segspec
>>> from pathlib import Path
>>> spec = segspec.load_net(Path("specs/unet.yaml"))
>>> graph = segspec.build(spec, "TRAIN", segspec.image_inputs(4, 180, 240, 3))
>>> params, state = segspec.init(graph, seed=1)
>>> outputs = segspec.apply(graph, params, state, {"data": images, "label": labels}, train=True)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segspec.errors import SegspecError, SpecError
    from segspec.flax_module import SpecNet
    from segspec.graph.build import build, image_inputs
    from segspec.graph.graph import Graph
    from segspec.net import apply, init
    from segspec.spec.net import load_net
    from segspec.spec.netspec import NetSpec
    from segspec.spec.solver_file import load_solver

_HOMES = {
    "Graph": "segspec.graph.graph",
    "NetSpec": "segspec.spec.netspec",
    "SegspecError": "segspec.errors",
    "SpecError": "segspec.errors",
    "SpecNet": "segspec.flax_module",
    "apply": "segspec.net",
    "build": "segspec.graph.build",
    "image_inputs": "segspec.graph.build",
    "init": "segspec.net",
    "load_net": "segspec.spec.net",
    "load_solver": "segspec.spec.solver_file",
}

__all__ = [
    "Graph",
    "NetSpec",
    "SegspecError",
    "SpecError",
    "SpecNet",
    "apply",
    "build",
    "image_inputs",
    "init",
    "load_net",
    "load_solver",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'segspec' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
