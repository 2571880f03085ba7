"""`segspec synthesize`: a data set that is drawn."""

from __future__ import annotations

import argparse
from pathlib import Path

from segspec.cli.arguments import Verbs, add_verb, count, image_size


def add(verbs: Verbs) -> None:
    """Adds the verb `synthesize`."""
    example = "  segspec synthesize street data/street --count 200 --size 120x160"
    parser = add_verb(verbs, "synthesize", "draw a data set: images, labels and list files", example, run)
    parser.add_argument("kind", choices=("squares", "street"), help="what to draw")
    parser.add_argument("folder", type=Path, help="where to put it")
    parser.add_argument("--count", type=count, default=100, metavar="N", help="training images (default 100)")
    parser.add_argument("--size", metavar="HxW", help="height and width of the images, in pixels")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other pictures")


def run(options: argparse.Namespace) -> None:
    """Runs it with what the command line says."""
    from segspec.data.synthetic import write_dataset
    from segspec.messages import say

    lists = write_dataset(options.kind, options.folder, options.count, image_size(options.size), options.seed)
    classes = "camvid" if options.kind == "street" else options.kind
    say(f"done: {options.folder} ({', '.join(path.name for path in lists)}), for a net with classes: {classes}")
