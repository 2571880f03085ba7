"""The definitions of blocks, and what may be a name: of a block's argument, of a layer."""

from __future__ import annotations

import re
from collections.abc import Container
from collections.abc import Mapping as Map
from dataclasses import dataclass
from functools import cached_property

from segspec.errors import did_you_mean
from segspec.syntax.arithmetic import NAME
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, describe, extent, scalars_in

BRANCHES = ("sum", "concat")
WORDS = (*BRANCHES, "foreach", "do", "use")
FIELDS = ("args", "scope", "layers")
USE_FIELDS = ("name", "repeat", "when", "share")
KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "ref": (str,),
    "list": (Sequence,),
}
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_LAYER_NAME = re.compile(r"[^\s:$]+")


@dataclass(frozen=True)
class Block:
    """A block's definition.

    Attributes:
        name: what it is called.
        args: its arguments, each with a kind such as `int`, or a default, in which `$names` may stand.
        layers: what it stands for.
        scope: whether it is a scope where it is used without a name at the top level.
    """

    name: Scalar
    args: Map[str, Node]
    layers: Sequence
    scope: bool = True

    @cached_property
    def values(self) -> int:
        """How many values its layers are written with."""
        return extent(self.layers)[0]


def is_kind(declared: Node, *kinds: str) -> bool:
    """Whether an argument is declared by a kind (by one of these) rather than by a default."""
    return isinstance(declared, Scalar) and not declared.quoted and declared.value in (kinds or KINDS)


def describe_kind(declared: Node) -> str:
    """The kind that an argument is declared by."""
    assert isinstance(declared, Scalar)
    return declared.text


def check_name(name: Scalar, what: str, problems: Problems) -> None:
    """Refuses what cannot be written behind a `$`."""
    if not _NAME.fullmatch(name.text):
        message = f"'{name.text}' cannot be the name of {what}"
        problems.add(message, name.span, "letters, digits and '_', no digit in front")


def read_blocks(node: Node, problems: Problems) -> dict[str, Block]:
    """The definitions of a `blocks:` section."""
    blocks: dict[str, Block] = {}
    if isinstance(node, Scalar) and node.value is None:
        return blocks
    if not isinstance(node, Mapping):
        problems.add(f"'blocks' must be a mapping of names to blocks, got {describe(node)}", node.span)
        return blocks
    for name, body in node:
        if name.text in WORDS:
            problems.add(f"'{name.text}' is a word of the language; a block needs another name", name.span)
        block = _read_block(name, body, problems)
        if block:
            blocks[name.text] = block
    return blocks


def _read_block(name: Scalar, body: Node, problems: Problems) -> Block | None:
    if not isinstance(body, Mapping) or not isinstance(body.get("layers"), Sequence):
        problems.add(f"block '{name.text}' needs 'layers: [...]'", name.span)
        return None
    for key, _ in body.without(*FIELDS):
        hint = did_you_mean(key.text, FIELDS)
        problems.add(f"block '{name.text}' has no field '{key.text}'", key.span, hint)
    layers = body.get("layers")
    assert isinstance(layers, Sequence)
    return Block(name, _read_args(name, body.get("args"), problems), layers, _read_scope(body.get("scope"), problems))


def _read_scope(node: Node | None, problems: Problems) -> bool:
    if node is None:
        return True
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    problems.add(f"'scope' must be true or false, got {describe(node)}", node.span)
    return True


def _read_args(block: Scalar, node: Node | None, problems: Problems) -> dict[str, Node]:
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return {}
    if not isinstance(node, Mapping):
        hint = "write 'args: {out: int, k: 3}'"
        problems.add(f"'args' of block '{block.text}' must be a mapping, got {describe(node)}", node.span, hint)
        return {}
    found: dict[str, Node] = {}
    for key, value in node:
        check_name(key, "an argument", problems)
        if key.text in USE_FIELDS:
            hint = "choose another name"
            problems.add(f"every block takes '{key.text}' already; it cannot be an argument", key.span, hint)
        elif isinstance(value, Mapping):
            problems.add(f"argument '{key.text}' needs a kind ({', '.join(KINDS)}) or a default value", key.span)
        else:
            too_early = _uses_too_early(value, {other.text for other, _ in node} - set(found))
            found[key.text] = _refuse(key.text, *too_early, problems) if too_early else value
    return found


def _uses_too_early(default: Node, later: Container[str]) -> tuple[str, Scalar] | None:
    """The first name in a default that is an argument not yet known, and where it stands."""
    for part in scalars_in(default):
        for match in NAME.finditer(part.text):
            if (name := match[1] or match[2]) in later:
                return name, part
    return None


def _refuse(arg: str, name: str, place: Scalar, problems: Problems) -> Scalar:
    """A number in place of a default that uses its own argument or a later one, so that it is told once."""
    which = "itself" if name == arg else f"'{name}', which comes after it"
    hint = "a default may use the arguments before it"
    problems.add(f"the default of argument '{arg}' uses {which}", place.span, hint)
    return Scalar(1, place.span)


def layer_name(node: Node, problems: Problems) -> str:
    """What a user called a layer or a block; what cannot be a name goes to `problems`."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        parts = node.value.split("/")
        if all(_LAYER_NAME.fullmatch(part) and part.isprintable() for part in parts):
            return node.value
        problems.add(f"{describe(node)} cannot name a layer", node.span, "no spaces, colons or '$'")
    else:
        hint = f"put a letter before it: x{node.text}" if isinstance(node, Scalar) and node.value is not None else ""
        problems.add(f"a name must be a word, got {describe(node)}", node.span, hint)
    return node.text if isinstance(node, Scalar) else "?"
