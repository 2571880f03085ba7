"""`segspec check`: every layer, its size and cost, or every mistake."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segspec.cli.arguments import Verbs, add_set, add_verb, image_size
from segspec.errors import DataError
from segspec.messages import warn

if TYPE_CHECKING:
    from segspec.spec.netspec import NetSpec


def add(verbs: Verbs) -> None:
    """Adds the verb `check`."""
    example = "  segspec check specs/segnet_camvid.yaml --size 180x240"
    parser = add_verb(verbs, "check", "show every layer, its size and cost, or every mistake", example, run)
    parser.add_argument("spec", type=Path, help="network spec")
    parser.add_argument("--size", metavar="HxW", help="of the images (default: what the spec or its first image says)")
    parser.add_argument(
        "--phase", choices=("train", "test", "deploy"), default="train", help="deploy: without labels (default: train)"
    )
    parser.add_argument(
        "--stage", metavar="NAME", action="append", default=[], help="a stage of a prototxt; may be repeated"
    )
    parser.add_argument("--level", type=int, metavar="N", help="the level of a prototxt")
    parser.add_argument("--solver", type=Path, metavar="SOLVER", help="tell the memory of a training with this solver")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    add_set(parser)


def run(options: argparse.Namespace) -> None:
    """Runs it with what the command line says."""
    from segspec.graph.check import check, find_doubts
    from segspec.graph.inputs import declared_size
    from segspec.spec.net import load_net
    from segspec.spec.solver_file import load_solver

    phase, size = options.phase.upper(), image_size(options.size)
    spec = load_net(options.spec, options.overrides, phase, stages=options.stage, level=options.level)
    warn(*spec.warnings)
    if size is None and declared_size(spec) is None:
        spec, size = _look_at_images(spec, phase)
    solver = None if options.solver is None else load_solver(options.solver)
    print(check(spec, size, phase, json=options.json, solver=solver))
    warn(*(find_doubts(spec, size) if phase == "TRAIN" else ()))


def _look_at_images(spec: NetSpec, phase: str) -> tuple[NetSpec, tuple[int, int] | None]:
    """The net with what only its images tell, and the (height, width) of the first; None where none can be read."""
    name = phase.lower() if phase.lower() in spec.data else next(iter(spec.data), None)
    if name is None:
        return spec, None
    from segspec.data.sources import open_source, settle  # here, since it loads OpenCV

    try:
        layer = settle(spec.data[name], Path())
        return replace(spec, data={**spec.data, name: layer}), open_source(layer, None, Path()).size
    except DataError:
        return spec, None
