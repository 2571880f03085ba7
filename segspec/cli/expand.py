"""`segspec expand`: the flat network."""

from __future__ import annotations

import argparse
from pathlib import Path

from segspec.cli.arguments import Verbs, add_set, add_verb
from segspec.messages import warn


def add(verbs: Verbs) -> None:
    """Adds the verb `expand`."""
    example = "  segspec expand specs/unet.yaml > flat.yaml"
    parser = add_verb(verbs, "expand", "print the flat network with every default filled in", example, run)
    parser.add_argument("spec", type=Path, help="network spec")
    add_set(parser)


def run(options: argparse.Namespace) -> None:
    """Runs it with what the command line says."""
    from segspec.spec.flatten import flat_text
    from segspec.spec.net import load_net

    spec = load_net(options.spec, options.overrides)
    warn(*spec.warnings)
    print(flat_text(spec), end="")
