"""The blocks that a spec may use: its own, those of the libraries that it names, and of those that these name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segspec.errors import Span, did_you_mean
from segspec.layers import by_type
from segspec.spec import library
from segspec.syntax.blocks import Block, read_blocks
from segspec.syntax.budget import MAX_DEPTH
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, describe, read_source
from segspec.syntax.yaml import parse_yaml

_FOLDER = "blocks"
_Blocks = dict[str, Block]


def blocks_of(root: Mapping, beside: Path, problems: Problems) -> _Blocks:
    """The blocks that are known in a spec, by name.

    The spec's own win over those of the libraries it names, later libraries over earlier ones, and all of these over
    the libraries that libraries name.

    Args:
        root: the spec.
        beside: its folder, where libraries are looked for first.
        problems: takes the mistakes.
    """
    libraries = _Libraries(problems)
    own = root.get("blocks")
    blocks = libraries.named(root.get("use"), beside, ())
    blocks |= read_blocks(own, problems) if own is not None else {}
    for block in blocks.values():
        if by_type(block.name.text) is not None:
            problems.add(f"'{block.name.text}' is a layer type; a block needs another name", block.name.span)
    return blocks


@dataclass(frozen=True)
class _Open:
    """A library that is being read: what it is called, and the file, however that was reached."""

    name: str
    place: Path


class _Libraries:
    """Reads libraries, each file once."""

    def __init__(self, problems: Problems):
        self.problems = problems
        self.read: dict[Path, tuple[_Blocks, _Blocks]] = {}

    def named(self, use: Node | None, beside: Path, chain: tuple[_Open, ...]) -> _Blocks:
        """The blocks of the libraries under a `use:`.

        Args:
            use: the name of one library, or a list of names.
            beside: the folder of the file that names them.
            chain: the libraries that led here.
        """
        further: _Blocks = {}
        own: _Blocks = {}
        for name in _listed(use):
            found = self._library(name, beside, chain)
            further |= found[0]
            own |= found[1]
        return further | own

    def _library(self, name: Node, beside: Path, chain: tuple[_Open, ...]) -> tuple[_Blocks, _Blocks]:
        """The blocks that a library has from others, and its own."""
        if not isinstance(name, Scalar):
            self.problems.add(f"'use' is a list of block libraries, got {describe(name)}", name.span)
            return {}, {}
        path = library.find(_FOLDER, name.text, beside)
        if path is None:
            hint = did_you_mean(name.text, library.names(_FOLDER, beside))
            self.problems.add(f"no block library '{name.text}' (looked for blocks/{name.text}.yaml)", name.span, hint)
            return {}, {}
        here = _Open(name.text, path.resolve())
        if self._is_refused(here, chain, name.span):
            return {}, {}
        if here.place not in self.read:
            self.read[here.place] = self._contents(path, (*chain, here))
        return self.read[here.place]

    def _is_refused(self, here: _Open, chain: tuple[_Open, ...], span: Span) -> bool:
        """Whether a library leads back to itself, or to more and more others; that is told."""
        places = [each.place for each in chain]
        if here.place in places:
            circle = [*(each.name for each in chain[places.index(here.place) :]), here.name]
            message = f"block library '{here.name}' uses itself ({' -> '.join(circle)})"
            self.problems.add(message, span, "move what both need into a library of its own")
            return True
        if len(chain) >= MAX_DEPTH:
            self.problems.add(f"block libraries use each other more than {MAX_DEPTH} deep", span)
            return True
        return False

    def _contents(self, path: Path, chain: tuple[_Open, ...]) -> tuple[_Blocks, _Blocks]:
        root = parse_yaml(read_source(path))
        if not isinstance(root, Mapping):
            return {}, read_blocks(root, self.problems)
        further = self.named(root.get("use"), path.parent, chain)
        return further, read_blocks(root.without("use"), self.problems)


def _listed(use: Node | None) -> Iterator[Node]:
    """The names under a `use:`; null means the same as nothing."""
    if isinstance(use, Sequence):
        yield from use.items
    elif use is not None and not (isinstance(use, Scalar) and use.value is None):
        yield use
