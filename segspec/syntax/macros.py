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
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, Value, describe, through

MAX_LAYERS = 20_000
MAX_DEPTH = 30
BRANCHES = ("sum", "concat")
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "ref": (str,),
}


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
class Block:
    """A block's definition: arguments (a kind such as `int`, or a default value) and layers."""

    name: Scalar
    args: Map[str, Scalar]
    layers: Sequence


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


def read_blocks(node: Node, problems: Problems) -> dict[str, Block]:
    """The definitions of a `blocks:` section."""
    blocks: dict[str, Block] = {}
    if not isinstance(node, Mapping):
        problems.add(f"'blocks' must be a mapping of names to blocks, got {describe(node)}", node.span)
        return blocks
    for name, body in node:
        block = _read_block(name, body, problems)
        if block:
            blocks[name.text] = block
    return blocks


def _read_block(name: Scalar, body: Node, problems: Problems) -> Block | None:
    if not isinstance(body, Mapping) or not isinstance(body.get("layers"), Sequence):
        problems.add(f"block '{name.text}' needs 'layers: [...]'", name.span)
        return None
    for key, _ in body.without("args", "layers"):
        hint = did_you_mean(key.text, ("args", "layers"))
        problems.add(f"block '{name.text}' has no field '{key.text}'", key.span, hint)
    args = body.get("args") or Mapping((), body.span)
    found: dict[str, Scalar] = {}
    for key, value in args if isinstance(args, Mapping) else ():
        if isinstance(value, Scalar):
            found[key.text] = value
        else:
            problems.add(f"argument '{key.text}' needs a kind ({', '.join(_KINDS)}) or a default value", key.span)
    layers = body.get("layers")
    assert isinstance(layers, Sequence)
    return Block(name, found, layers)


def expand(layers: Node, blocks: Map[str, Block], values: Map[str, Node], problems: Problems) -> tuple[Item, ...]:
    """The layers of a spec with every macro carried out; mistakes go to `problems`.

    Raises:
        SpecError: at once when the expansion is endless or larger than MAX_LAYERS layers.
    """
    return tuple(_Expansion(blocks, problems).walk(layers, _Env(values)))


def resolve(node: Node, values: Map[str, Node], problems: Problems) -> Node:
    """The node with every `$name` replaced."""
    return _Expansion({}, problems).value(node, _Env(values))


class _Expansion:
    def __init__(self, blocks: Map[str, Block], problems: Problems):
        self.blocks = blocks
        self.problems = problems
        self.count = 0

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
        for _ in range(times):
            self._count(type.span)
            yield Use(type, fields)

    def _times(self, fields: Mapping) -> int:
        node = fields.get("repeat")
        if node is None:
            return 1
        if isinstance(node, Scalar) and isinstance(node.value, int) and not isinstance(node.value, bool):
            if 0 <= node.value <= MAX_LAYERS:
                return node.value
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

    def _count(self, span: Span, limit: int = MAX_LAYERS) -> None:
        self.count += 1
        if self.count > limit:
            raise SpecError(Diagnostic(f"the spec expands to more than {limit} layers", span))

    def _block(self, block: Block, type: Scalar, fields: Mapping, times: int, env: _Env) -> Iterator[Item]:
        name = self._name(block, type, fields, times, env)
        inner = self._enter(block, type, fields, env, name)
        if inner is None:
            return
        body = through(block.layers, type.span)
        items: list[Item] = []
        for _ in range(times):
            self._count(type.span)
            items.extend(self.walk(body, inner))
        if name and times:
            yield Scope(name, type.span, tuple(items))
        else:
            yield from items

    def _name(self, block: Block, type: Scalar, fields: Mapping, times: int, env: _Env) -> str:
        """A block is named by its user, or by number at the top level; inside another block it adds no scope."""
        node = fields.get("name")
        if isinstance(node, Scalar):
            return node.text
        if env.active or not times:
            return ""
        env.numbers[type.text] += 1
        return f"{type.text}{env.numbers[type.text]}"

    def _enter(self, block: Block, type: Scalar, fields: Mapping, env: _Env, name: str) -> _Env | None:
        """The environment inside a block, or None when its arguments are wrong."""
        if type.text in env.active:
            cycle = " -> ".join([*env.active[env.active.index(type.text) :], type.text])
            raise SpecError(Diagnostic(f"block '{type.text}' contains itself ({cycle})", type.span))
        if env.depth >= MAX_DEPTH:
            raise SpecError(Diagnostic(f"blocks are nested more than {MAX_DEPTH} deep", type.span))
        before = len(self.problems.found)
        values = dict(env.values)
        for key, value in fields.without("name"):
            if key.text in block.args:
                values[key.text] = self._argument(block, key.text, value, env)
            else:
                hint = did_you_mean(key.text, [*block.args, "name", "repeat", "when"])
                self.problems.add(f"block '{type.text}' has no argument '{key.text}'", key.span, hint)
        for arg, kind in block.args.items():
            if fields.get(arg) is not None:
                continue
            if kind.value in _KINDS and not kind.quoted:
                self.problems.add(f"block '{type.text}' needs '{arg}' ({kind.text})", type.span)
            else:
                values[arg] = kind
        if len(self.problems.found) > before:
            return None
        scope = (*env.scope, name) if name else env.scope
        return _Env(values, scope, (*env.active, type.text), env.depth + 1)

    def _argument(self, block: Block, arg: str, value: Node, env: _Env) -> Node:
        kind = block.args[arg]
        types = _KINDS.get(str(kind.value)) if not kind.quoted else None
        types = types or (type(kind.value), *((int,) if isinstance(kind.value, float) else ()))
        fits = isinstance(value, Scalar) and isinstance(value.value, types)
        if isinstance(value, Scalar) and isinstance(value.value, bool) and bool not in types:
            fits = False
        if not fits and kind.value is not None:
            wanted = kind.text if kind.value in _KINDS else f"like {describe(kind)}"
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
        columns = [(key, self.value(value, env)) for key, value in loops]
        lengths = {len(value.items) if isinstance(value, Sequence) else -1 for _, value in columns}
        if len(lengths) > 1 or -1 in lengths:
            self.problems.add("the lists of a foreach must have equal lengths", columns[0][0].span)
            return
        for row in range(lengths.pop()):
            values = {key.text: value.items[row] for key, value in columns if isinstance(value, Sequence)}
            self._count(item.span)
            yield from self.walk(body, replace(env, values={**env.values, **values}))

    def _branches(self, item: Mapping, env: _Env) -> Iterator[Item]:
        kind = next(key for key, _ in item if key.text in BRANCHES)
        for key, _ in item.without(kind.text, "name"):
            self.problems.add(f"beside '{kind.text}' only 'name' may stand", key.span)
        branches, name = item.get(kind.text), item.get("name")
        if not isinstance(branches, Sequence) or len(branches.items) < 2:
            self.problems.add(f"'{kind.text}' needs a list of at least two branches", kind.span)
            return
        inner = replace(env, active=env.active or (kind.text,))
        bodies = []
        for branch in branches.items:
            listed = branch if isinstance(branch, Sequence) else Sequence((branch,), branch.span)
            bodies.append(tuple(self.walk(listed, inner)))
        named = self.value(name, env) if name is not None else None
        yield Branches(kind.text, named if isinstance(named, Scalar) else None, kind.span, tuple(bodies))

    def value(self, node: Node, env: _Env) -> Node:
        """The node with every `$name` replaced by its value."""
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
            return replace(bound, span=node.span)
        try:
            return replace(node, value=substitute(text, env.plain))
        except UnknownName as error:
            hint = did_you_mean(error.args[0], env.values)
            self.problems.add(f"nothing defines '${error.args[0]}'", node.span, hint)
        except ArithmeticMistake as error:
            self.problems.add(f"'{text}': {error}", node.span)
        return replace(node, value=1)
