"""The arguments of a block where it is used: what is given, what the defaults say, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import replace

from segspec.errors import Span, did_you_mean
from segspec.syntax.blocks import KINDS, USE_FIELDS, Block, describe_kind, is_kind
from segspec.syntax.substitution import Substitution
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, describe, through


def bind(
    block: Block,
    fields: Mapping,
    outer: Map[str, Node],
    scope: tuple[str, ...],
    substitution: Substitution,
    used: Span,
) -> dict[str, Node] | None:
    """The values that are visible inside a block, or None when its arguments are wrong.

    Args:
        block: the definition.
        fields: what is written at its use, with every `$name` replaced.
        outer: the values that are visible there.
        scope: where the names of layers are looked for that are written there.
        substitution: replaces names in defaults; mistakes go to its problems.
        used: where the block is used.
    """
    problems = substitution.problems
    before = problems.count
    _refuse_unknown(block, fields, problems)
    values = dict(outer)
    incomplete = False
    for arg, declared in block.args.items():
        given = fields.get(arg)
        if given is None and is_kind(declared):
            problems.add(f"block '{block.name.text}' needs '{arg}' ({describe_kind(declared)})", used)
            incomplete = True
        elif given is None and not incomplete:  # a default made of what is missing would be a second mistake
            values[arg] = _default(through(declared, used), values, substitution)
        elif given is not None:
            if wanted := _mismatch(declared, given, values, substitution):
                message = f"argument '{arg}' of block '{block.name.text}' must be {wanted}, got {describe(given)}"
                problems.add(message, given.span)
            values[arg] = _placed(given, scope) if is_kind(declared, "ref") else given
    return values if problems.count == before else None


def _refuse_unknown(block: Block, fields: Mapping, problems: Problems) -> None:
    for key, _ in fields.without("name", "share", *block.args):
        hint = did_you_mean(key.text, [*block.args, *USE_FIELDS])
        problems.add(f"block '{block.name.text}' has no argument '{key.text}'", key.span, hint)


def _default(declared: Node, values: Map[str, Node], substitution: Substitution) -> Node:
    """A default with the names in it replaced."""
    return substitution.value(declared, values)


def _mismatch(declared: Node, given: Node, values: Map[str, Node], substitution: Substitution) -> str:
    """What was wanted, where a value is not of the kind that was declared; else nothing.

    A default that cannot be computed from these values is not asked for its kind.
    """
    if is_kind(declared):
        kind = describe_kind(declared)
        return "" if _is_a(given, *KINDS[kind]) else kind
    quiet = Problems()
    default = _default(declared, values, replace(substitution, problems=quiet))
    if quiet.found or (isinstance(default, Scalar) and default.value is None):
        return ""
    return "" if _resembles(given, default) else f"like {describe(default)}"


def _resembles(given: Node, default: Node) -> bool:
    if not isinstance(default, Scalar):
        return type(given) is type(default)
    return _is_a(given, *((int, float) if isinstance(default.value, float) else (type(default.value),)))


def _is_a(node: Node, *types: type) -> bool:
    """Whether a node is, or holds, a value of one of these types; a truth value is no number."""
    value = node.value if isinstance(node, Scalar) else node
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _placed(name: Node, scope: tuple[str, ...]) -> Node:
    """The name of a layer, to be looked for where the block is used."""
    return replace(name, scope=scope) if isinstance(name, Scalar) and name.scope is None else name
