"""The page that lists the shipped networks with what they count and cost, derived from the specs themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from segspec.errors import SpecError
from segspec.graph.build import build
from segspec.graph.inputs import net_inputs
from segspec.graph.summary import count, summarize
from segspec.spec.net import load_net

SPECS = Path(__file__).resolve().parent.parent / "specs"
VARIANTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "deeplab_v3": (("depth=6",),),
    "deeplab_v3plus": (("depth=6",),),
    "fcn_resnet": (("aux=false",), ("aux=false", "depth=6")),
    "icnet": (("cascade=false",),),
    "pspnet": (
        ("aux=false",),
        ("aux=false", "classes=cityscapes"),
        ("aux=false", "classes=ade20k", "depth=6"),
    ),
    "segnet_camvid": (("classes=pascal_voc",),),
}
"""Forms of a spec that are published too, as what `--set` is given."""
_BEFORE = """# Networks

This page is generated from the specs by `make generate`. Every spec names its data in `params`, such as `--set
voc=/disk/voc`, and takes any of the [class tables](classes) by `--set classes=NAME`; [language.md](../docs/language.md)
explains the rest, and [networks.md](../docs/networks.md) how to write your own. `lines` leaves out comments. `sees` is
the receptive field of a score in pixels, at the size of image that stands before it; `multiply-adds` is one image
forward at that size. [SMOKE.md](SMOKE.md) shows what each loses in its first iterations.
"""
_PAPER = """## The variants of the SegNet paper

The decoders that Badrinarayanan, Kendall and Cipolla 2017 compare in section 3 and Table 1. The paper gives 1.625
million parameters for the two NoDimReduction variants; filters of 8x8 from 64 maps to 64, as it describes, make 1.661.
[What they score](segnet_paper/README.md) is set beside the paper's figures by `tools/paper_table1.py`.
"""
_LIBRARIES = """## Block libraries

Blocks that several specs share; `use: [NAME]` makes them known.
"""
_HEAD = (
    "| spec | lines | parameters | image | multiply-adds | sees | network |",
    "| --- | ---: | ---: | --- | ---: | --- | --- |",
)


@cache
def table() -> str:
    """The whole page."""
    nets = [line for path in sorted(SPECS.glob("*.yaml")) for line in _lines(path)]
    paper = [line for path in sorted(SPECS.glob("segnet_paper/*.yaml")) for line in _lines(path)]
    libraries = [f"- [{path.stem}](blocks/{path.name}): {_about(path)}" for path in sorted(SPECS.glob("blocks/*.yaml"))]
    parts = [_BEFORE, *_HEAD, *nets, "", _PAPER, *_HEAD, *paper, "", _LIBRARIES, *libraries]
    return "\n".join(parts) + "\n"


def _lines(path: Path) -> Iterator[str]:
    """The rows of one spec: as it stands, then its published forms."""
    place = path.relative_to(SPECS).as_posix()
    yield _row(path, (), f"[{path.stem}]({place})", str(_code_lines(path)), _about(path))
    for overrides in VARIANTS.get(path.stem, ()):
        sets = " ".join(f"`{override}`" for override in overrides)
        yield _row(path, overrides, f"... {sets}", "", "")


def _row(path: Path, overrides: tuple[str, ...], name: str, lines: str, about: str) -> str:
    spec = load_net(path, overrides)
    summary = summarize(build(spec, "TRAIN", net_inputs(spec, None)))
    if summary.scores is None:
        raise SpecError("a shipped net needs scores", place=str(path))
    field = summary.scores[1]
    image = f"{field.image[0]}x{field.image[1]}"
    sees = "all" if field.whole else "x".join(map(str, field.extent))
    cells = (name, lines, f"{summary.parameters:,}", image, count(summary.multiply_adds), sees, about)
    return f"| {' | '.join(cells)} |"


def _about(path: Path) -> str:
    """The first sentence of the comment that a file begins with."""
    comment: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        comment.append(line[2:])
    return re.split(r"\.\s+(?=[A-Z])", " ".join(comment))[0].rstrip(".") + "."


def _code_lines(path: Path) -> int:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))
