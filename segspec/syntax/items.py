"""What the macros of a spec expand to: a tree of layers, named blocks and parallel branches."""

from __future__ import annotations

from dataclasses import dataclass

from segspec.errors import Span
from segspec.syntax.tree import Mapping, Scalar


@dataclass(frozen=True)
class Use:
    """One layer: its type and its fields with every `$name` replaced."""

    type: Scalar
    fields: Mapping


@dataclass(frozen=True)
class Scope:
    """A block that was given a name; names inside are reached as `name/inner`.

    Attributes:
        name: of the block.
        span: where it is used.
        body: what it stands for.
        share: blocks with the same word here have the same learned blobs; empty: nothing is shared.
    """

    name: str
    span: Span
    body: tuple[Item, ...]
    share: str = ""


@dataclass(frozen=True)
class Branches:
    """Parallel branches from one input, joined by `sum` or `concat`; an empty branch is the input itself."""

    kind: str
    name: Scalar | None
    span: Span
    branches: tuple[tuple[Item, ...], ...]


Item = Use | Scope | Branches
