"""Recovering blocks: what stands in a list several times, written once.

A block is worth having where it saves lines. Its arguments are what differs between its uses: a part of the names, and
single values. Blocks may use blocks found before.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from segspec.convert.entry import Entry
from segspec.convert.names import free_name

LONGEST = 12
"""Items in one block."""
MOST_ARGUMENTS = 5
LEAST_GAIN = 2
"""Lines that a block must save."""
SHORT = {"num_output": "out", "kernel_size": "k", "dropout_ratio": "ratio", "share": "shared"}
"""Arguments of fields that have a common short name, or whose own name every block has for itself."""
_NUMBER = re.compile(r"0|[1-9]\d{0,8}")
NAMING = ("name", "id")
READING = ("bottom", "mask", "with", "size_of", "like")
"""Fields that name other layers."""


@dataclass(frozen=True)
class Definition:
    """A block: its arguments with a kind or a default, and its items, in which `$argument` stands for a value."""

    name: str
    args: Mapping[str, object]
    items: tuple[Entry, ...]


def recover_blocks(entries: Sequence[Entry]) -> tuple[tuple[Definition, ...], tuple[Entry, ...]]:
    """The blocks that are worth having, and the list that uses them; nothing is lost by carrying them out again."""
    blocks: list[Definition] = []
    listed = list(entries)
    while (best := _best(listed, [block.name for block in blocks])) is not None:
        block, uses, length = best
        blocks.append(block)
        listed = list(_replaced(listed, uses, length))
    return tuple(blocks), tuple(listed)


def _replaced(listed: Sequence[Entry], uses: Mapping[int, Entry], length: int) -> Iterator[Entry]:
    position = 0
    while position < len(listed):
        if position in uses:
            yield uses[position]
            position += length
        else:
            yield listed[position]
            position += 1


def _best(listed: Sequence[Entry], taken: Sequence[str]) -> tuple[Definition, dict[int, Entry], int] | None:
    """The block that saves the most lines, with its uses by position, and how many items each stands for."""
    found: list[tuple[int, int, list[int]]] = []
    shapes = [_shape(entry) for entry in listed]
    for length in range(2, min(LONGEST, len(listed) // 2) + 1):
        places: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        for start in range(len(listed) - length + 1):
            same = places[tuple(shapes[start : start + length])]
            if not same or start >= same[-1] + length:
                same.append(start)
        found += [(_gain(len(starts), length), length, starts) for starts in places.values()]
    for gain, length, starts in sorted(found, key=lambda item: (-item[0], item[1])):
        if gain < LEAST_GAIN:
            break
        block = _define([listed[start : start + length] for start in starts], taken)
        if block is not None:
            definition, uses = block
            return definition, dict(zip(starts, uses, strict=True)), length
    return None


def _gain(uses: int, length: int) -> int:
    """Lines saved: a block costs its items and two lines, a use one."""
    return uses * length - uses - length - 2


def _shape(entry: Entry) -> tuple[object, ...]:
    """What must be alike in all uses of a block: the type, the fields, and every value that is not single."""
    fields = tuple((key, _kind(key, value)) for key, value in entry.fields.items())
    return (entry.type, fields)


def _kind(key: str, value: object) -> str:
    if key in NAMING or key in READING:
        return "list" if isinstance(value, list) else "name"
    return type(value).__name__ if isinstance(value, int | float | str) else repr(value)


def _define(windows: Sequence[Sequence[Entry]], taken: Sequence[str]) -> tuple[Definition, list[Entry]] | None:
    """A block whose uses give these windows; None where their names follow no pattern or too much differs."""
    naming = _Naming.of(windows)
    if naming is None:
        return None
    columns = _Columns(naming)
    items = [columns.item(position, [window[position] for window in windows]) for position in range(len(windows[0]))]
    if columns.broken or len(columns.values) > MOST_ARGUMENTS:
        return None
    args, defaults = columns.arguments()
    name = _block_name(windows[0], taken)
    uses = []
    for number in range(len(windows)):
        fields = {arg: values[number] for arg, values in columns.values.items()}
        uses.append(Entry(name, {arg: value for arg, value in fields.items() if defaults.get(arg) != value}))
    return Definition(name, args, tuple(items)), uses


@dataclass(frozen=True)
class _Naming:
    """How the names in a block are made: a template for each name, and the part that differs, for each use.

    Attributes:
        templates: by position and field, such as `conv${id}_bn`.
        ids: the part `$id`, one a use, as numbers where they can be; empty where nothing is named.
        own: by use, the names of the window's layers, to tell a reference within a block from one that leads out.
    """

    templates: Mapping[tuple[int, str], str]
    ids: tuple[object, ...]
    own: tuple[Mapping[str, int], ...]

    @staticmethod
    def of(windows: Sequence[Sequence[Entry]]) -> _Naming | None:
        templates: dict[tuple[int, str], str] = {}
        numbers: dict[tuple[int, str], bool] = {}
        ids: tuple[str, ...] = ()
        for position, first in enumerate(windows[0]):
            for key in NAMING:
                if key not in first.fields:
                    continue
                values = [window[position].fields[key] for window in windows]
                prefix, parts, suffix = _parts([str(value) for value in values])
                number = isinstance(values[0], int)
                if (ids and parts != ids) or (number and (prefix or suffix)):
                    return None
                numbers[position, key] = number
                ids = parts
                templates[position, key] = _template(prefix, suffix)
        own = tuple(
            {str(entry.fields["name"]): position for position, entry in enumerate(window) if "name" in entry.fields}
            for window in windows
        )
        alone = {numbers[place] for place, template in templates.items() if template == "$id"}
        if len(alone) > 1:
            return None
        counted = all(alone) and all(map(_NUMBER.fullmatch, ids))
        return _Naming(templates, tuple(map(int, ids)) if counted else ids, own)


def _parts(texts: Sequence[str]) -> tuple[str, tuple[str, ...], str]:
    """What names begin with and end with in common, and what lies between."""
    prefix = _common_start(texts)
    rest = [text[len(prefix) :] for text in texts]
    suffix = _common_start([text[::-1] for text in rest])[::-1]
    parts = tuple(text[: len(text) - len(suffix)] for text in rest)
    if not all(parts):
        # Names such as `conv` and `conv_2`: nothing is left of one, so no part is taken from the end.
        return prefix, tuple(rest), ""
    return prefix, parts, suffix


def _common_start(texts: Sequence[str]) -> str:
    """The longest text that all begin with."""
    first, last = min(texts), max(texts)
    length = next((index for index, letter in enumerate(first) if letter != last[index]), len(first))
    return first[:length]


def _template(prefix: str, suffix: str) -> str:
    """A name with `$id` in it; in braces where letters follow."""
    return f"{prefix}${{id}}{suffix}" if suffix[:1].isalnum() or suffix[:1] == "_" else f"{prefix}$id{suffix}"


class _Columns:
    """Collects the arguments of a block, and writes its items with them."""

    def __init__(self, naming: _Naming):
        self.naming = naming
        self.broken = False
        self.values: dict[str, tuple[object, ...]] = {"id": naming.ids} if naming.ids else {}

    def item(self, position: int, entries: Sequence[Entry]) -> Entry:
        """One item of the block."""
        fields: dict[str, object] = {}
        for key in entries[0].fields:
            values = tuple(entry.fields[key] for entry in entries)
            if key in NAMING:
                fields[key] = self.naming.templates[position, key]
            elif len(set(map(repr, values))) == 1 and key not in READING:
                fields[key] = values[0]
            elif key in READING:
                fields[key] = self._reference(key, values)
            else:
                fields[key] = f"${self._argument(SHORT.get(key, key), values)}"
        return Entry(entries[0].type, fields)

    def _reference(self, key: str, values: tuple[object, ...]) -> object:
        """A name within the block by its template, one outside as an argument, or as it is where all name the same."""
        if any(isinstance(value, list) for value in values):
            lists = [value for value in values if isinstance(value, list)]
            if len(lists) != len(values) or len({len(value) for value in lists}) != 1:
                self.broken = True
                return None
            return [self._reference(key, column) for column in zip(*lists, strict=True)]
        places = [own.get(str(value)) for own, value in zip(self.naming.own, values, strict=True)]
        first = places[0]
        if first is not None and places == [first] * len(places):
            return self.naming.templates[first, "name"]
        if any(place is not None for place in places):
            self.broken = True
        if len(set(values)) == 1:
            return values[0]
        return f"${self._argument('from' if key == 'bottom' else key, values)}"

    def _argument(self, name: str, values: tuple[object, ...]) -> str:
        """The argument that has these values, a new one where there is none."""
        for known, column in self.values.items():
            if column == values and known.rstrip("0123456789") == name:
                return known
        chosen = free_name(name, self.values)
        self.values[chosen] = values
        return chosen

    def arguments(self) -> tuple[dict[str, object], dict[str, object]]:
        """Each argument with its kind or default, and those that have a default."""
        args: dict[str, object] = {}
        defaults: dict[str, object] = {}
        for name, values in self.values.items():
            common, count = Counter(map(repr, values)).most_common(1)[0]
            value = next(value for value in values if repr(value) == common)
            if count * 2 > len(values) and name != "id" and not isinstance(value, str):
                args[name] = defaults[name] = value
            else:
                args[name] = _kind_word(name, values)
        return args, defaults


def _kind_word(name: str, values: Sequence[object]) -> str:
    if name.rstrip("0123456789") in {"from", *READING}:
        return "ref"
    if all(isinstance(value, bool) for value in values):
        return "bool"
    if all(isinstance(value, int) for value in values):
        return "int"
    return "str" if all(isinstance(value, str) for value in values) else "float"


def _block_name(window: Sequence[Entry], taken: Sequence[str]) -> str:
    """What a block of these items is called: their types, shortened."""
    words = [WORDS.get(entry.type, entry.type.lower()) for entry in window]
    base = "_".join(word for index, word in enumerate(words) if index == 0 or word != words[index - 1])
    if len(base) > 30:
        base = "stage"
    return free_name(base, taken)


WORDS = {
    "Convolution": "conv",
    "Deconvolution": "deconv",
    "BatchNorm": "bn",
    "PoolingMask": "pool",
    "Pooling": "pool",
    "Upsample": "up",
    "Concat": "join",
    "Eltwise": "add",
    "Dropout": "drop",
}
"""What types are called in a block's name."""
