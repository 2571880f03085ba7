"""The suite `data`: images a second of segspec's loader and of PyTorch's DataLoader."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.contest import Team
from bench.contestants import plain_contestants
from bench.data_task import VARIANTS
from bench.options import Options
from bench.results import Contest

CONTESTANTS = {
    "segspec": ("segspec", {}),
    "torch-opencv": ("torch", {"decoder": "opencv"}),
    "torch-pillow": ("torch", {"decoder": "pillow"}),
}
BATCH = 4
COUNT, DRAWN_SIZE = 100, "360x480"


def run_data(options: Options) -> Iterator[Contest]:
    """Pictures of the given folder, else of one drawn now, resized or cropped to the first size of the options."""
    if options.data is not None:
        yield from _run(options, options.data)
        return
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "street"
        draw_street(drawn, 20 if options.quick else COUNT, DRAWN_SIZE)
        yield from _run(options, drawn)


def draw_street(folder: Path, count: int, size: str) -> None:
    """Draws a data set with segspec's own command."""
    command = [sys.executable, "-m", "segspec.cli", "synthesize", "street", str(folder)]
    subprocess.run([*command, "--count", str(count), "--size", size], check=True, stdout=subprocess.DEVNULL)


def _run(options: Options, folder: Path) -> Iterator[Contest]:
    contestants = plain_contestants("data", CONTESTANTS, "cpu", options.torch_python)
    for variant in VARIANTS:
        size = options.sizes[0]
        options.rules.say(f"data: {variant} to {size[0]}x{size[1]}")
        task = {
            "op": f"decode, {variant}, mirror, normalise",
            "variant": variant,
            "folder": str(folder.resolve()),
            "size": list(size),
            "batch": BATCH,
            "device": "cpu",
        }
        with Team(contestants, options.rules) as team:
            yield team.contest("data", task)
