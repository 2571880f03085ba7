"""The small macros of the language: blocks, repeat, foreach, when, and parallel branches.

`expand` turns the `layers:` of a spec into a list of `Use`s (one layer each), `Scope`s (a named block) and `Branches`
(sum or concat). Names are not resolved here: what a layer is called when nobody named it, and what is wired to what,
needs the layer types and is decided when the net is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field, replace

from segspec.errors import Diagnostic, Span, SpecError, did_you_mean
from segspec.syntax.arguments import bind
from segspec.syntax.blocks import BRANCHES, Block, check_name, layer_name
from segspec.syntax.budget import BLOCK_VALUES, MAX_DEPTH, MAX_LAYERS, Budget
from segspec.syntax.items import Branches, Item, Scope, Use
from segspec.syntax.mistakes import explain_field
from segspec.syntax.substitution import Substitution
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, describe, through


@dataclass(frozen=True)
class _Env:
    """What holds where a list of layers is expanded."""

    values: Map[str, Node]
    scope: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    depth: int = 0
    numbers: Counter[str] = field(default_factory=Counter)


def expand(
    layers: Node, blocks: Map[str, Block], values: Map[str, Node], problems: Problems, budget: Budget | None = None
) -> tuple[Item, ...]:
    """The layers of a spec with every macro carried out; mistakes go to `problems`.

    A layer that is repeated is one `Use` object that stands several times in the result.

    Raises:
        SpecError: at once when the expansion is endless or beyond the budget.
    """
    return tuple(_Expansion(blocks, problems, budget or Budget()).walk(layers, _Env(values)))


class _Expansion:
    def __init__(self, blocks: Map[str, Block], problems: Problems, budget: Budget):
        self.blocks = blocks
        self.problems = problems
        self.budget = budget
        self.substitution = Substitution(problems, budget)

    def walk(self, layers: Node, env: _Env) -> Iterator[Item]:
        """The items of one list of layers."""
        if not isinstance(layers, Sequence):
            message = f"layers are a list, one '- Type: {{...}}' each, got {describe(layers)}"
            self.problems.add(message, layers.span, _explain_layers(layers))
            return
        for item in layers.items:
            yield from self._item(item, env)

    def _item(self, item: Node, env: _Env) -> Iterator[Item]:
        if isinstance(item, Scalar):
            item = Mapping(((item, Mapping((), item.span)),), item.span)
        if not isinstance(item, Mapping) or not item.entries:
            self.problems.add(f"a layer is written '- Type: {{...}}', got {describe(item)}", item.span)
        elif item.key("foreach") is not None:
            yield from self._foreach(item, env)
        elif any(item.key(kind) is not None for kind in BRANCHES):
            yield from self._branches(item, env)
        elif len(item.entries) > 1:
            first, second = (entry[0] for entry in item.entries[:2])
            hint = f"indent '{second.text}' below '{first.text}', or write '- {first.text}: {{{second.text}: ...}}'"
            self.problems.add("a layer has one type with its fields inside", second.span, hint)
        else:
            yield from self._use(*item.entries[0], env)

    def _use(self, type: Scalar, body: Node, env: _Env) -> Iterator[Item]:
        fields = Mapping((), type.span) if isinstance(body, Scalar) and body.value is None else body
        if "(" in type.text:
            hint = f"write '- {type.text.split('(')[0]}: {{...}}'"
            self.problems.add("fields stand in braces, not in parentheses", type.span, hint)
            return
        if not isinstance(fields, Mapping):
            message = f"'{type.text}' takes its fields as a mapping, got {describe(body)}"
            self.problems.add(message, body.span, _explain_fields(type, body))
            return
        resolved = self.substitution.value(fields, env.values)
        assert isinstance(resolved, Mapping)
        if not self._flag(resolved, "when", True):
            return
        times = self._times(resolved)
        fields = resolved.without("when", "repeat")
        if type.text in self.blocks:
            yield from self._block(self.blocks[type.text], type, fields, times, env)
            return
        if times > 1 and (name := fields.key("name")):
            self.problems.add("a repeated layer cannot have one name", name.span, "leave the name out, or use foreach")
        use = Use(type, fields)
        self.budget.take_layers(times, type.span)
        yield from (use,) * times

    def _times(self, fields: Mapping) -> int:
        node = fields.get("repeat")
        if node is None:
            return 1
        times = node.value if isinstance(node, Scalar) else None
        if isinstance(times, int) and not isinstance(times, bool) and 0 <= times <= MAX_LAYERS:
            return times
        self.problems.add(f"'repeat' must be a whole number from 0 to {MAX_LAYERS}, got {describe(node)}", node.span)
        return 1

    def _flag(self, fields: Mapping, key: str, default: bool) -> bool:
        node = fields.get(key)
        if node is None:
            return default
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        hint = "compare whole numbers, as in '$i > 2'; there is no 'and' or 'or'"
        self.problems.add(f"'{key}' must be true or false, got {describe(node)}", node.span, hint)
        return default

    def _block(self, block: Block, type: Scalar, fields: Mapping, times: int, env: _Env) -> Iterator[Item]:
        name = self._name(block, type, fields, times, env)
        inner = self._enter(block, type, fields, env, name)
        if inner is None:
            return
        if not times:
            return
        self.budget.take_values(block.values + BLOCK_VALUES, type.span)
        before = self.budget.layers
        self.budget.take_layers(1, type.span)
        items = tuple(self.walk(through(block.layers, type.span), inner))
        self.budget.take_layers((times - 1) * (before - self.budget.layers), type.span)
        share = self._share(fields, name)
        if name:
            yield Scope(name, type.span, items * times, share)
        else:
            yield from items * times

    def _name(self, block: Block, type: Scalar, fields: Mapping, times: int, env: _Env) -> str:
        """A block is named by its user, or by number at the top level; inside another block it adds no scope."""
        node = fields.get("name")
        if node is not None and not (isinstance(node, Scalar) and node.value is None):
            return layer_name(node, self.problems)
        if env.active or not times or not block.scope:
            return ""
        env.numbers[type.text] += 1
        return f"{type.text}{env.numbers[type.text]}"

    def _share(self, fields: Mapping, name: str) -> str:
        """What the block shares its learned blobs under. Their names are told apart by their places in the block."""
        node = fields.get("share")
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return ""
        if not name:
            self.problems.add("a block that shares its learned blobs needs a name here", node.span, "write 'name: ...'")
        return layer_name(node, self.problems)

    def _enter(self, block: Block, type: Scalar, fields: Mapping, env: _Env, name: str) -> _Env | None:
        """The environment inside a block, or None when its arguments are wrong."""
        if type.text in env.active:
            cycle = " -> ".join([*env.active[env.active.index(type.text) :], type.text])
            raise SpecError(Diagnostic(f"block '{type.text}' contains itself ({cycle})", type.span))
        values = bind(block, fields, env.values, env.scope, self.substitution, type.span)
        if values is None:
            return None
        scope = (*env.scope, name) if name else env.scope
        return replace(_deeper(env, type.span), values=values, scope=scope, active=(*env.active, type.text))

    def _foreach(self, item: Mapping, env: _Env) -> Iterator[Item]:
        for body, row in self._rows(item, env):
            yield from self.walk(body, row)

    def _rows(self, item: Mapping, env: _Env) -> Iterator[tuple[Node, _Env]]:
        """The body of a loop with the environment of each row."""
        loops, body = item.get("foreach"), item.get("do")
        for key, _ in item.without("foreach", "do"):
            self.problems.add("beside 'foreach' only 'do' may stand", key.span, did_you_mean(key.text, ("do",)))
        if not isinstance(loops, Mapping) or not loops.entries or body is None:
            span = item.entries[0][0].span
            self.problems.add("foreach is written 'foreach: {i: [1, 2], w: [64, 128]}' with 'do: [...]'", span)
            return
        for key, _ in loops:
            check_name(key, "a loop variable", self.problems)
        columns = [(key, self.substitution.value(value, env.values)) for key, value in loops]
        others = [key for key, value in columns if not isinstance(value, Sequence)]
        for key in others:
            self.problems.add(f"'{key.text}' of a foreach must be a list, such as [64, 128]", key.span)
        lengths = {len(value.items) for _, value in columns if isinstance(value, Sequence)}
        if len(lengths) > 1:
            self.problems.add("the lists of a foreach must have equal lengths", columns[0][0].span)
        if others or len(lengths) > 1:
            return
        inner = _deeper(env, item.span)
        for row in range(lengths.pop()):
            values = {key.text: value.items[row] for key, value in columns if isinstance(value, Sequence)}
            self.budget.take_layers(1, item.span)
            self.budget.take_values(len(env.values), item.span)
            yield body, replace(inner, values={**env.values, **values})

    def _branches(self, item: Mapping, env: _Env) -> Iterator[Item]:
        kind = next(key for key, _ in item if key.text in BRANCHES)
        for key, _ in item.without(kind.text, "name"):
            self.problems.add(f"beside '{kind.text}' only 'name' may stand", key.span)
        listed, name = item.get(kind.text), item.get("name")
        inner = replace(_deeper(env, kind.span), active=env.active or (kind.text,))
        before = self.problems.count
        branches = tuple(self._each_branch(listed, inner)) if isinstance(listed, Sequence) else ()
        if len(branches) < 2:
            if self.problems.count == before:
                self.problems.add(f"'{kind.text}' needs a list of at least two branches", kind.span)
            return
        self.budget.take_layers(1, kind.span)
        yield Branches(kind.text, self._branch_name(name, env), kind.span, branches)

    def _each_branch(self, listed: Sequence, env: _Env) -> Iterator[tuple[Item, ...]]:
        """The layers of each branch; a loop in the list makes one branch a row."""
        for branch in listed.items:
            if isinstance(branch, Mapping) and branch.key("foreach") is not None:
                yield from (tuple(self.walk(body, row)) for body, row in self._rows(branch, env))
            else:
                layers = branch if isinstance(branch, Sequence) else Sequence((branch,), branch.span)
                yield tuple(self.walk(layers, env))

    def _branch_name(self, node: Node | None, env: _Env) -> Scalar | None:
        if node is None:
            return None
        named = self.substitution.value(node, env.values)
        return Scalar(layer_name(named, self.problems), named.span)


def _deeper(env: _Env, span: Span) -> _Env:
    """The environment one level further in. Raises SpecError at MAX_DEPTH."""
    if env.depth >= MAX_DEPTH:
        raise SpecError(Diagnostic(f"blocks, loops and branches are nested more than {MAX_DEPTH} deep", span))
    return replace(env, depth=env.depth + 1)


def _explain_layers(layers: Node) -> str:
    """How a list of layers is written, where a word stands instead."""
    words = str(layers.value or "").split() if isinstance(layers, Scalar) else []
    if not words:
        return ""
    return "a blank is missing after the dash" if words[0][0] == "-" else f"write '- {words[0]}'"


def _explain_fields(type: Scalar, body: Node) -> str:
    """How the fields of a layer are written, where something else stands."""
    if isinstance(body, Scalar) and isinstance(body.value, str) and (hint := explain_field(body.value)):
        return hint
    if isinstance(body, Scalar):
        return f"write '- {type.text}: {{FIELD: {describe(body)}}}', or each field on a line of its own below"
    return "fields stand in braces, { }, or each on a line of its own without a dash"
