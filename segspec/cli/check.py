"""`segspec check`: every layer, its size and cost, or every mistake."""

from __future__ import annotations

import argparse
from pathlib import Path

from segspec.cli.arguments import Verbs, add_set, add_verb, image_size
from segspec.messages import warn


def add(verbs: Verbs) -> None:
    """Adds the verb `check`."""
    example = "  segspec check specs/segnet_camvid.yaml --size 180x240"
    parser = add_verb(verbs, "check", "show every layer, its size and cost, or every mistake", example, run)
    parser.add_argument("spec", type=Path, help="network spec")
    parser.add_argument("--size", metavar="HxW", help="height and width of the images, in pixels")
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
    from segspec.spec.net import load_net
    from segspec.spec.solver_file import load_solver

    phase, size = options.phase.upper(), image_size(options.size)
    spec = load_net(options.spec, options.overrides, phase, stages=options.stage, level=options.level)
    warn(*spec.warnings)
    solver = None if options.solver is None else load_solver(options.solver)
    print(check(spec, size, phase, json=options.json, solver=solver))
    warn(*(find_doubts(spec, size) if phase == "TRAIN" else ()))
