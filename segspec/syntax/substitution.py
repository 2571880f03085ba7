"""Values for `$names` in a tree: lists and mappings as they are, scalars by the rules of `arithmetic`."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass, replace

from segspec.errors import Diagnostic, Span, SpecError, did_you_mean
from segspec.syntax.arithmetic import NAME, ArithmeticMistake, UnknownName, substitute
from segspec.syntax.budget import MAX_NESTING, Budget
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, Value, extent


def resolve(node: Node, values: Map[str, Node], problems: Problems, budget: Budget | None = None) -> Node:
    """The node with every `$name` replaced. Raises SpecError when it grows beyond the budget."""
    return Substitution(problems, budget or Budget()).value(node, values)


@dataclass(frozen=True)
class Substitution:
    """Replaces names; mistakes go to `problems`, and what grows is counted in `budget`."""

    problems: Problems
    budget: Budget

    def value(self, node: Node, values: Map[str, Node]) -> Node:
        """The node with every `$name` replaced by its value."""
        self.budget.take_values(1, node.span)
        match node:
            case Scalar(value=str(text)) if "$" in text:
                return self._scalar(node, text, values)
            case Sequence(items=items, span=span):
                return Sequence(tuple(self.value(item, values) for item in items), span)
            case Mapping(entries=entries, span=span):
                return Mapping(tuple((key, self.value(value, values)) for key, value in entries), span)
            case _:
                return node

    def _scalar(self, node: Scalar, text: str, values: Map[str, Node]) -> Node:
        whole = NAME.fullmatch(text)
        if whole and text != "$$" and (bound := values.get(whole[1] or whole[2])) is not None:
            self._pay(bound, node.span)
            return replace(bound, span=node.span)
        try:
            return replace(node, value=substitute(text, _scalars(values)), scope=_scope_of(text, values))
        except UnknownName as error:
            hint = did_you_mean(error.args[0], values)
            self.problems.add(f"nothing defines '${error.args[0]}'", node.span, hint)
        except ArithmeticMistake as error:
            self.problems.add(f"'{text}': {error}", node.span)
        return replace(node, value=1)

    def _pay(self, bound: Node, span: Span) -> None:
        """Counts a list or a mapping that a `$name` stands for."""
        if isinstance(bound, Scalar):
            return
        count, depth = extent(bound)
        self.budget.take_values(count, span)
        if depth > MAX_NESTING:
            raise SpecError(Diagnostic(f"values are nested more than {MAX_NESTING} levels deep", span))


def _scalars(values: Map[str, Node]) -> dict[str, Value]:
    return {name: node.value for name, node in values.items() if isinstance(node, Scalar)}


def _scope_of(text: str, values: Map[str, Node]) -> tuple[str, ...] | None:
    """The scope of a name such as `$block/pool`: that of the argument it begins with."""
    first = NAME.match(text)
    bound = values.get(first[1] or first[2] or "") if first else None
    return bound.scope if isinstance(bound, Scalar) else None
