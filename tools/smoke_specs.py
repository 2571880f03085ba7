"""Trains the shipped networks for a few iterations on one batch of drawn street scenes, and says whether losses fall.

python tools/smoke_specs.py                       every network of at most 10 million parameters
python tools/smoke_specs.py --below 1000          every network
python tools/smoke_specs.py enet unet_xception    these
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from segspec.data.street import draw_street
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.layers.base import Layer
from segspec.layers.data import SyntheticStreet
from segspec.net import init
from segspec.spec.net import load_net
from segspec.spec.solver import Solver
from segspec.train.optimizer import make_optimizer
from segspec.train.step import MicroBatches, make_step, start

SPECS = Path(__file__).resolve().parent.parent / "specs"
PICTURES = SyntheticStreet(mean_value=(110.0,), scale=0.02)
"""How grey levels are brought near -2 to 3, as nets without normalisation need."""


@dataclass(frozen=True)
class Trial:
    """What came of one network: its loss before the first update and after the last, and the seconds it took."""

    name: str
    parameters: int
    first: float
    last: float
    seconds: float

    @property
    def falls(self) -> bool:
        return bool(np.isfinite(self.last)) and self.last < 0.9 * self.first

    def row(self) -> str:
        verdict = "" if self.falls else "  does not fall"
        return f"{self.name:40} {self.parameters:12,} {self.first:8.4f} {self.last:8.4f} {self.seconds:7.1f} s{verdict}"


def try_out(path: Path, size: tuple[int, int], iterations: int, rate: float) -> Trial:
    """Trains a network on two pictures, over and over.

    Args:
        path: the spec.
        size: (height, width) of the pictures, in pixels.
        iterations: updates.
        rate: learning rate of Adam.
    """
    began = time.perf_counter()
    graph = graph_of(path, size)
    solver = Solver(type="Adam", base_lr=rate, max_iter=iterations, momentum=0.9)
    optimizer = make_optimizer(solver, {layer.name: dict(layer.multipliers) for layer in graph.layers})
    step = make_step(graph, PICTURES, optimizer, seed=0, dtype="float32")
    state, batches, losses = start(*init(graph, 0), optimizer), pictures(size), []
    for iteration in range(iterations + 1):
        state, metrics = step(state, batches, jnp.int32(iteration))
        losses.append(float(metrics["loss"]))
    return Trial(path.stem, graph.parameters, losses[0], losses[-1], time.perf_counter() - began)


def graph_of(path: Path, size: tuple[int, int]) -> Graph:
    """The network in training, with the classes of the street scenes, all of one weight."""
    spec = load_net(path, ["classes=camvid"])
    layers = tuple(replace(each, layer=_unweighted(each.layer)) for each in spec.layers)
    return build(replace(spec, layers=layers), "TRAIN", image_inputs(2, *size, 3))


def _unweighted(layer: Layer) -> Layer:
    weighted = getattr(layer, "class_weights", None) is not None
    return layer.model_copy(update={"class_weights": None}) if weighted else layer


def pictures(size: tuple[int, int]) -> MicroBatches:
    """One batch of two street scenes."""
    drawn = [draw_street(np.random.default_rng(seed), *size) for seed in (1, 2)]
    images, labels = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return MicroBatches(jnp.asarray(images)[None], jnp.asarray(labels.astype(np.int32)[..., None])[None])


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row a network; 1 where a loss does not fall."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks, such as enet (default: all small ones)")
    parser.add_argument("--below", type=float, default=10, metavar="MILLIONS", help="most parameters (default 10)")
    parser.add_argument("--size", default="64x96", help="height x width of the pictures (default 64x96)")
    parser.add_argument("--iterations", type=int, default=20, help="updates (default 20)")
    parser.add_argument("--rate", type=float, default=0.001, help="learning rate (default 0.001)")
    options = parser.parse_args(arguments)
    height, width = (int(length) for length in options.size.split("x"))
    paths = sorted([*SPECS.glob("*.yaml"), *SPECS.glob("segnet_paper/*.yaml")])
    if options.names:
        paths = [path for path in paths if path.stem in options.names]
    else:
        paths = [path for path in paths if graph_of(path, (224, 224)).parameters <= 1e6 * options.below]
    print(f"{'network':40} {'parameters':>12} {'first':>8} {'last':>8} {'time':>9}")
    fell = True
    for path in paths:
        trial = try_out(path, (height, width), options.iterations, options.rate)
        print(trial.row(), flush=True)
        fell = fell and trial.falls
    return 0 if fell else 1


if __name__ == "__main__":
    sys.exit(main())
