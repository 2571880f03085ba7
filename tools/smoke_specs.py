"""Trains the shipped networks for a few iterations on one batch of drawn street scenes, and says whether losses fall.

python tools/smoke_specs.py                       every network of at most 10 million parameters
python tools/smoke_specs.py enet unet_xception    these
python tools/smoke_specs.py --below 1000 --page specs/SMOKE.md --resume
                                                  every network that the page does not have yet, and the page anew
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from segspec.atomic import write_atomically
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
FORMS = dict.fromkeys(("deeplab_v3", "deeplab_v3plus", "fcn_resnet", "pspnet"), ("depth=6",))
"""Networks that are trained in a second form as well, and what `--set` makes it."""


@dataclass(frozen=True)
class Setting:
    """On what a network is trained.

    Attributes:
        size: (height, width) of the pictures, in pixels.
        pictures: how many of them.
        rate: learning rate of Adam.
    """

    size: tuple[int, int] = (96, 96)
    pictures: int = 2
    rate: float = 0.001


_PADDED = Setting(size=(32, 32), pictures=1)
SETTINGS = {
    # its fully connected layers need 7x7 positions of 1/32 of the image
    "deconvnet": Setting(size=(224, 224)),
    # pad the image by 100 or 186 pixels on every side, so that small pictures cost nearly what large ones do; one is
    # enough where nothing is normalised by the batch
    **dict.fromkeys(("fcn8s", "fcn16s", "fcn32s", "dilation8", "dilation10"), _PADDED),
    # nothing normalises its decoder, which is wide: larger steps throw it out of balance
    "refinenet": Setting(rate=0.0001),
}
"""Networks that need something else than `Setting()`."""


@dataclass(frozen=True)
class Entry:
    """A network in one of its forms."""

    path: Path
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join((self.path.stem, *self.overrides))

    @property
    def setting(self) -> Setting:
        return SETTINGS.get(self.path.stem, Setting())


@dataclass(frozen=True)
class Trial:
    """What came of one network: its loss before the first update and after the last, and how it was trained."""

    name: str
    parameters: int
    first: float
    last: float
    setting: Setting

    @property
    def falls(self) -> bool:
        return bool(np.isfinite(self.last)) and self.last < 0.9 * self.first

    def line(self) -> str:
        verdict = "" if self.falls else "  does not fall"
        return f"{self.name:40} {self.parameters:12,} {self.first:8.4f} {self.last:8.4f}{verdict}"

    def row(self) -> str:
        height, width = self.setting.size
        pictures = f"{self.setting.pictures} of {height}x{width}"
        cells = (self.name, f"{self.parameters:,}", pictures, f"{self.setting.rate:g}", f"{self.first:.4f}")
        return f"| {' | '.join(cells)} | {self.last:.4f} |"


_ROW = re.compile(r"\| (.+?) \| ([\d,]+) \| (\d+) of (\d+)x(\d+) \| (\S+) \| (\S+) \| (\S+) \|")
_BEFORE = """# First and last losses

This page is written by `tools/smoke_specs.py`. Each shipped network, with random weights and 11 classes, all of one
weight, is trained for 20 iterations with Adam on one batch of drawn street scenes. `first` is its loss before the first
update, `last` the loss after the last one; auxiliary losses count in both. A loss that falls says that the net is wired
such that it can learn, not that it learns well.
"""
_HEAD = "| network | parameters | pictures | rate | first | last |\n| --- | ---: | --- | ---: | ---: | ---: |"


def page(trials: Iterable[Trial]) -> str:
    """The page that shows trials, in the order of their names, and says which networks it lacks."""
    shown = sorted(trials, key=lambda trial: trial.name)
    lacking = sorted({entry.name for entry in entries()} - {trial.name for trial in shown})
    after = ["", f"Not tried yet: {', '.join(lacking)}."] if lacking else []
    return "\n".join((_BEFORE, _HEAD, *(trial.row() for trial in shown), *after)) + "\n"


def read_page(text: str) -> Iterator[Trial]:
    """The trials that a page shows."""
    for name, parameters, pictures, height, width, rate, first, last in _ROW.findall(text):
        setting = Setting((int(height), int(width)), int(pictures), float(rate))
        yield Trial(name, int(parameters.replace(",", "")), float(first), float(last), setting)


def entries() -> list[Entry]:
    """Every shipped network, in every form that is tried."""
    paths = sorted([*SPECS.glob("*.yaml"), *SPECS.glob("segnet_paper/*.yaml")])
    plain = [Entry(path) for path in paths]
    return plain + [Entry(path, (form,)) for path in paths for form in FORMS.get(path.stem, ())]


def try_out(entry: Entry, setting: Setting, iterations: int) -> Trial:
    """Trains a network on the same pictures, over and over."""
    graph = graph_of(entry, setting)
    solver = Solver(type="Adam", base_lr=setting.rate, max_iter=iterations, momentum=0.9)
    optimizer = make_optimizer(solver, {layer.name: dict(layer.multipliers) for layer in graph.layers})
    step = make_step(graph, PICTURES, optimizer, seed=0, dtype="float32")
    state, batches, losses = start(*init(graph, 0), optimizer), pictures(setting), []
    for iteration in range(iterations + 1):
        state, metrics = step(state, batches, jnp.int32(iteration))
        losses.append(float(metrics["loss"]))
    return Trial(entry.name, graph.parameters, losses[0], losses[-1], setting)


def graph_of(entry: Entry, setting: Setting) -> Graph:
    """The network in training, with the classes of the street scenes, all of one weight."""
    spec = load_net(entry.path, ["classes=camvid", *entry.overrides])
    layers = tuple(replace(each, layer=_unweighted(each.layer)) for each in spec.layers)
    return build(replace(spec, layers=layers), "TRAIN", image_inputs(setting.pictures, *setting.size, 3))


def _unweighted(layer: Layer) -> Layer:
    weighted = getattr(layer, "class_weights", None) is not None
    return layer.model_copy(update={"class_weights": None}) if weighted else layer


def pictures(setting: Setting) -> MicroBatches:
    """One batch of street scenes."""
    drawn = [draw_street(np.random.default_rng(seed), *setting.size) for seed in range(1, setting.pictures + 1)]
    images, labels = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return MicroBatches(jnp.asarray(images)[None], jnp.asarray(labels.astype(np.int32)[..., None])[None])


def chosen(names: Sequence[str], below: float, done: Iterable[Trial]) -> list[Entry]:
    """The named networks, or those of at most so many parameters, less those that are done and as they were."""
    wanted = [entry for entry in entries() if not names or entry.path.stem in names]
    counts = {entry.name: graph_of(entry, entry.setting).parameters for entry in wanted}
    finished = {(trial.name, trial.parameters) for trial in done}
    return [
        entry
        for entry in wanted
        if (names or counts[entry.name] <= below) and (entry.name, counts[entry.name]) not in finished
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row a network; 1 where a loss does not fall."""
    options = _options(arguments)
    size = tuple(int(length) for length in options.size.split("x")) if options.size else None
    shown = list(read_page(options.page.read_text("utf-8"))) if options.page and options.page.is_file() else []
    print(f"{'network':40} {'parameters':>12} {'first':>8} {'last':>8}")
    fell = True
    for entry in chosen(options.names, 1e6 * options.below, shown if options.resume else ()):
        began = time.perf_counter()
        setting = entry.setting if size is None else replace(entry.setting, size=size)
        trial = try_out(entry, setting, options.iterations)
        print(f"{trial.line()}  {time.perf_counter() - began:.0f} s", flush=True)
        fell = fell and trial.falls
        if options.page:
            shown = [each for each in shown if each.name != trial.name] + [trial]
            write_atomically(options.page, page(shown).encode())
    return 0 if fell else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks, such as enet (default: all small ones)")
    parser.add_argument("--below", type=float, default=10, metavar="MILLIONS", help="most parameters (default 10)")
    parser.add_argument("--size", help="height x width of the pictures (default 96x96, more where a net needs it)")
    parser.add_argument("--iterations", type=int, default=20, help="updates (default 20)")
    parser.add_argument("--page", type=Path, help="write the results into this page as they come")
    parser.add_argument("--resume", action="store_true", help="leave out the networks that the page shows already")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
