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
from segspec.syntax.arithmetic import NAME, ArithmeticMistake, UnknownName, substitute
from segspec.syntax.blocks import BRANCHES, KINDS, USE_FIELDS, Block, check_name, layer_name, read_blocks
from segspec.syntax.budget import BLOCK_VALUES, MAX_DEPTH, MAX_LAYERS, MAX_NESTING, Budget
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, Value, describe, extent, through

__all__ = ["BRANCHES", "MAX_LAYERS", "Branches", "Item", "Scope", "Use", "expand", "read_blocks", "resolve"]


@dataclass(frozen=True)
class Use:
    """One layer: its type and its fields with every `$name` replaced."""

    type: Scalar
    fields: Mapping


@dataclass(frozen=True)
class Scope:
    """A block that was given a name; names inside are reached as `name/inner`."""

    name: str
    span: Span
    body: tuple[Item, ...]


@dataclass(frozen=True)
class Branches:
    """Parallel branches from one input, joined by `sum` or `concat`; an empty branch is the input itself."""

    kind: str
    name: Scalar | None
    span: Span
    branches: tuple[tuple[Item, ...], ...]


Item = Use | Scope | Branches


@dataclass(frozen=True)
class _Env:
    """What holds where a list of layers is expanded."""

    values: Map[str, Node]
    scope: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    depth: int = 0
    numbers: Counter[str] = field(default_factory=Counter)

    @property
    def plain(self) -> dict[str, Value]:
        return {name: node.value for name, node in self.values.items() if isinstance(node, Scalar)}


def expand(
    layers: Node, blocks: Map[str, Block], values: Map[str, Node], problems: Problems, budget: Budget | None = None
) -> tuple[Item, ...]:
    """The layers of a spec with every macro carried out; mistakes go to `problems`.

    A layer that is repeated is one `Use` object that stands several times in the result.

    Raises:
        SpecError: at once when the expansion is endless or beyond the budget.
    """
    return tuple(_Expansion(blocks, problems, budget or Budget()).walk(layers, _Env(values)))


def resolve(node: Node, values: Map[str, Node], problems: Problems, budget: Budget | None = None) -> Node:
    """The node with every `$name` replaced. Raises SpecError when it grows beyond the budget."""
    return _Expansion({}, problems, budget or Budget()).value(node, _Env(values))


class _Expansion:
    def __init__(self, blocks: Map[str, Block], problems: Problems, budget: Budget):
        self.blocks = blocks
        self.problems = problems
        self.budget = budget

    def walk(self, layers: Node, env: _Env) -> Iterator[Item]:
        """The items of one list of layers."""
        if not isinstance(layers, Sequence):
            self.problems.add(f"layers are a list, one '- Type: {{...}}' each, got {describe(layers)}", layers.span)
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
        if not isinstance(fields, Mapping):
            self.problems.add(f"'{type.text}' takes its fields as a mapping, got {describe(body)}", body.span)
            return
        resolved = self.value(fields, env)
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
        self.problems.add(f"'{key}' must be true or false, got {describe(node)}", node.span)
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
        if name:
            yield Scope(name, type.span, items * times)
        else:
            yield from items * times

    def _name(self, block: Block, type: Scalar, fields: Mapping, times: int, env: _Env) -> str:
        """A block is named by its user, or by number at the top level; inside another block it adds no scope."""
        node = fields.get("name")
        if node is not None and not (isinstance(node, Scalar) and node.value is None):
            return layer_name(node, self.problems)
        if env.active or not times:
            return ""
        env.numbers[type.text] += 1
        return f"{type.text}{env.numbers[type.text]}"

    def _enter(self, block: Block, type: Scalar, fields: Mapping, env: _Env, name: str) -> _Env | None:
        """The environment inside a block, or None when its arguments are wrong."""
        if type.text in env.active:
            cycle = " -> ".join([*env.active[env.active.index(type.text) :], type.text])
            raise SpecError(Diagnostic(f"block '{type.text}' contains itself ({cycle})", type.span))
        before = self.problems.count
        values = dict(env.values)
        for key, value in fields.without("name"):
            if key.text in block.args:
                values[key.text] = self._argument(block, key.text, value, env)
            else:
                hint = did_you_mean(key.text, [*block.args, *USE_FIELDS])
                self.problems.add(f"block '{type.text}' has no argument '{key.text}'", key.span, hint)
        for arg, kind in block.args.items():
            if fields.get(arg) is not None:
                continue
            if kind.value in KINDS and not kind.quoted:
                self.problems.add(f"block '{type.text}' needs '{arg}' ({kind.text})", type.span)
            else:
                values[arg] = kind
        if self.problems.count > before:
            return None
        scope = (*env.scope, name) if name else env.scope
        return replace(_deeper(env, type.span), values=values, scope=scope, active=(*env.active, type.text))

    def _argument(self, block: Block, arg: str, value: Node, env: _Env) -> Node:
        kind = block.args[arg]
        types = KINDS.get(str(kind.value)) if not kind.quoted else None
        types = types or (type(kind.value), *((int,) if isinstance(kind.value, float) else ()))
        fits = isinstance(value, Scalar) and isinstance(value.value, types)
        if isinstance(value, Scalar) and isinstance(value.value, bool) and bool not in types:
            fits = False
        if not fits and kind.value is not None:
            wanted = kind.text if kind.value in KINDS else f"like {describe(kind)}"
            self.problems.add(
                f"argument '{arg}' of block '{block.name.text}' must be {wanted}, got {describe(value)}", value.span
            )
        if kind.value == "ref" and isinstance(value, Scalar) and value.scope is None:
            return replace(value, scope=env.scope)
        return value

    def _foreach(self, item: Mapping, env: _Env) -> Iterator[Item]:
        loops, body = item.get("foreach"), item.get("do")
        for key, _ in item.without("foreach", "do"):
            self.problems.add("beside 'foreach' only 'do' may stand", key.span, did_you_mean(key.text, ("do",)))
        if not isinstance(loops, Mapping) or not loops.entries or body is None:
            span = item.entries[0][0].span
            self.problems.add("foreach is written 'foreach: {i: [1, 2], w: [64, 128]}' with 'do: [...]'", span)
            return
        for key, _ in loops:
            check_name(key, "a loop variable", self.problems)
        columns = [(key, self.value(value, env)) for key, value in loops]
        lengths = {len(value.items) if isinstance(value, Sequence) else -1 for _, value in columns}
        if len(lengths) > 1 or -1 in lengths:
            self.problems.add("the lists of a foreach must have equal lengths", columns[0][0].span)
            return
        inner = _deeper(env, item.span)
        for row in range(lengths.pop()):
            values = {key.text: value.items[row] for key, value in columns if isinstance(value, Sequence)}
            self.budget.take_layers(1, item.span)
            self.budget.take_values(len(env.values), item.span)
            yield from self.walk(body, replace(inner, values={**env.values, **values}))

    def _branches(self, item: Mapping, env: _Env) -> Iterator[Item]:
        kind = next(key for key, _ in item if key.text in BRANCHES)
        for key, _ in item.without(kind.text, "name"):
            self.problems.add(f"beside '{kind.text}' only 'name' may stand", key.span)
        branches, name = item.get(kind.text), item.get("name")
        if not isinstance(branches, Sequence) or len(branches.items) < 2:
            self.problems.add(f"'{kind.text}' needs a list of at least two branches", kind.span)
            return
        inner = replace(_deeper(env, kind.span), active=env.active or (kind.text,))
        bodies = []
        for branch in branches.items:
            listed = branch if isinstance(branch, Sequence) else Sequence((branch,), branch.span)
            bodies.append(tuple(self.walk(listed, inner)))
        self.budget.take_layers(1, kind.span)
        yield Branches(kind.text, self._branch_name(name, env), kind.span, tuple(bodies))

    def _branch_name(self, node: Node | None, env: _Env) -> Scalar | None:
        if node is None:
            return None
        named = self.value(node, env)
        return Scalar(layer_name(named, self.problems), named.span)

    def value(self, node: Node, env: _Env) -> Node:
        """The node with every `$name` replaced by its value."""
        self.budget.take_values(1, node.span)
        match node:
            case Scalar(value=str(text)) if "$" in text:
                return self._scalar(node, text, env)
            case Sequence(items=items, span=span):
                return Sequence(tuple(self.value(item, env) for item in items), span)
            case Mapping(entries=entries, span=span):
                return Mapping(tuple((key, self.value(value, env)) for key, value in entries), span)
            case _:
                return node

    def _scalar(self, node: Scalar, text: str, env: _Env) -> Node:
        whole = NAME.fullmatch(text)
        if whole and text != "$$" and (bound := env.values.get(whole[1] or whole[2])) is not None:
            self._pay(bound, node.span)
            return replace(bound, span=node.span)
        try:
            value = substitute(text, env.plain)
            return replace(node, value=value, scope=_scope_of(text, env))
        except UnknownName as error:
            hint = did_you_mean(error.args[0], env.values)
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


def _deeper(env: _Env, span: Span) -> _Env:
    """The environment one level further in. Raises SpecError at MAX_DEPTH."""
    if env.depth >= MAX_DEPTH:
        raise SpecError(Diagnostic(f"blocks, loops and branches are nested more than {MAX_DEPTH} deep", span))
    return replace(env, depth=env.depth + 1)


def _scope_of(text: str, env: _Env) -> tuple[str, ...] | None:
    """The scope of a name such as `$block/pool`: that of the argument it begins with."""
    first = NAME.match(text)
    bound = env.values.get(first[1] or first[2] or "") if first else None
    return bound.scope if isinstance(bound, Scalar) else None
