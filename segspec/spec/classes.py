"""The class table: names, colours and the ignored label, declared once for loss, metrics, palette and report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from segspec.errors import Source, Span, did_you_mean
from segspec.schema.read import read_model
from segspec.spec import library
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, describe, read_source
from segspec.syntax.yaml import parse_yaml

MAX_CLASSES = 255
LARGEST_LABEL = 255
Color = tuple[int, int, int]
VOC_VOID: Color = (224, 224, 192)  # how PASCAL VOC draws what is left out; its black is class 0


def _color(value: object) -> tuple[int, int, int]:
    channels = value if isinstance(value, tuple | list) else ()
    whole = all(isinstance(channel, int) and not isinstance(channel, bool) for channel in channels)
    if len(channels) != 3 or not whole or not all(0 <= channel <= 255 for channel in channels):
        raise ValueError("must be [red, green, blue], each from 0 to 255")
    return (channels[0], channels[1], channels[2])


_Color = Annotated[tuple[int, int, int], BeforeValidator(_color)]


_Id = Annotated[int, Field(ge=0, le=255)]


class _Ignore(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    label: int = Field(ge=0, le=LARGEST_LABEL, description="Label value of pixels that count nowhere.")
    name: str = Field("void", description="What to call them.")
    color: _Color = Field((0, 0, 0), description="Their colour, red, green, blue.")
    ids: tuple[_Id, ...] = Field(
        (), description="Numbers in the label files that mean it too, where classes have `ids`."
    )


class _TableFile(BaseModel):
    """A class table as written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    classes: dict[str, _Color] = Field(
        min_length=1,
        max_length=MAX_CLASSES,
        description="Names in the order of their labels, with colours, or a list of names.",
    )
    ids: tuple[_Id, ...] | None = Field(
        None, description="The number of each class in the label files, where these are not 0, 1, 2 and so on."
    )
    ignore: _Ignore | None = Field(None, description="The label that is ignored.")


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set, in the order of their labels.

    Attributes:
        names: one a class.
        colors: (red, green, blue) of each, 0..255.
        ignore_label: the label value of pixels that count nowhere, or None.
        ignore_color: its colour.
        ignore_name: what it is called.
        ids: the number of each class in label files; None where it is the class's place in the table.
        ignore_ids: further numbers in label files that mean the ignored label, where there are `ids`.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    ignore_label: int | None = None
    ignore_color: Color = (0, 0, 0)
    ignore_name: str = "void"
    ids: tuple[int, ...] | None = None
    ignore_ids: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return len(self.names)

    @classmethod
    def numbered(cls, count: int) -> ClassTable:
        """A table of classes known only by number."""
        return cls.named(tuple(f"class {index}" for index in range(count)))

    @classmethod
    def named(cls, names: tuple[str, ...]) -> ClassTable:
        """A table of names, with colours that tell neighbours apart."""
        return cls(names, tuple(distinct_color(index) for index in range(len(names))))


def distinct_color(index: int) -> Color:
    """A colour for a class without one: the bits of the index spread over the high bits of the three channels.

    The scheme is PASCAL VOC's colour map, so class 0 is black and class 1 dark red.
    """
    channels = [0, 0, 0]
    for shift in range(7, -1, -1):
        for channel in range(3):
            channels[channel] |= ((index >> channel) & 1) << shift
        index >>= 3
    return (channels[0], channels[1], channels[2])


def read_classes(node: Node, beside: Path, problems: Problems) -> ClassTable | None:
    """The class table a spec's `classes:` means: a table's name, a count, a list of names, or a table.

    Args:
        node: the value of `classes:`.
        beside: the folder of the spec, where `classes/NAME.yaml` is looked for first.
        problems: where mistakes go.
    """
    match node:
        case Scalar(value=str(name)):
            return _load(name, node, beside, problems)
        case Scalar(value=int(count)) if not isinstance(count, bool) and 2 <= count <= MAX_CLASSES:
            return ClassTable.numbered(count)
        case Sequence(items=items) if 2 <= len(items) <= MAX_CLASSES and all(
            isinstance(item, Scalar) for item in items
        ):
            return _from_names(items, problems)
        case Mapping():
            return _from_mapping(node, problems)
    problems.add(
        f"'classes' must be a class table's name, a number from 2 to {MAX_CLASSES}, or a list of names; "
        f"got {describe(node)}",
        node.span,
    )
    return None


def load_classes(text: str) -> ClassTable:
    """The class table that a command line names, as a spec's `classes:` would.

    Args:
        text: a table's name, a file, a count, or a list of names in brackets.

    Raises:
        SpecError: there is no such table, or it has mistakes.
    """
    problems = Problems()
    table = read_classes(parse_yaml(Source("--classes", text)), Path(), problems)
    problems.raise_any()
    assert table is not None
    return table


def _from_names(items: tuple[Node, ...], problems: Problems) -> ClassTable | None:
    texts = tuple(item.text for item in items if isinstance(item, Scalar))
    nameless = next((item for item in items if isinstance(item, Scalar) and item.value in (None, "")), None)
    if nameless is not None:
        problems.add("a class needs a name", nameless.span)
        return None
    for position, item in enumerate(items):
        if texts[position] in texts[:position]:
            problems.add(f"class '{texts[position]}' is listed twice", item.span)
            return None
    return ClassTable.named(texts)


def _load(name: str, node: Scalar, beside: Path, problems: Problems) -> ClassTable | None:
    path = library.find("classes", name, beside)
    if path is None:
        hint = did_you_mean(name, library.names("classes", beside)) or "write the number of classes, or a list of names"
        sought = str(beside / name) if Path(name).suffix else f"classes/{name}.yaml"
        problems.add(f"no class table '{name}' (looked for {sought})", node.span, hint)
        return None
    root = parse_yaml(read_source(path))
    if not isinstance(root, Mapping):
        problems.add(f"a class table is a mapping, got {describe(root)}", root.span)
        return None
    return _from_mapping(root, problems)


def _with_colors(node: Mapping, problems: Problems) -> Mapping | None:
    """The table with a colour for each class where `classes` is a list of names, and one for the ignored label."""
    names, ignore = node.get("classes"), node.get("ignore")
    if not (isinstance(names, Sequence) and all(isinstance(item, Scalar) for item in names.items)):
        return node
    named = _from_names(names.items, problems)
    if named is None:
        return None
    keys = [Scalar(name, item.span) for name, item in zip(named.names, names.items, strict=True)]
    colors = [_color_node(color, key.span) for key, color in zip(keys, named.colors, strict=True)]
    table = _replaced(node, "classes", Mapping(tuple(zip(keys, colors, strict=True)), names.span))
    if isinstance(ignore, Mapping) and ignore.get("color") is None:
        color = (Scalar("color", ignore.span), _color_node(VOC_VOID, ignore.span))
        table = _replaced(table, "ignore", Mapping((*ignore.entries, color), ignore.span))
    return table


def _color_node(color: Color, span: Span) -> Sequence:
    return Sequence(tuple(Scalar(channel, span) for channel in color), span)


def _replaced(node: Mapping, name: str, new: Node) -> Mapping:
    return Mapping(tuple((key, new if key.text == name else value) for key, value in node), node.span)


def _from_mapping(written: Mapping, problems: Problems) -> ClassTable | None:
    node = _with_colors(written, problems)
    file = read_model(_TableFile, node, problems, "the class table") if node is not None else None
    if file is None or node is None:
        return None
    table = ClassTable(tuple(file.classes), tuple(file.classes.values()), ids=file.ids)
    if _mistaken_ids(file, node, problems):
        return None
    if file.ignore is None:
        return table
    if file.ignore.label < table.count:
        taken = table.names[file.ignore.label]
        problems.add(f"the ignored label {file.ignore.label} is the label of class '{taken}'", node.span)
        return None
    ignore = file.ignore
    return replace(
        table,
        ignore_label=ignore.label,
        ignore_color=ignore.color,
        ignore_name=ignore.name,
        ignore_ids=ignore.ids,
    )


def _mistaken_ids(file: _TableFile, node: Mapping, problems: Problems) -> bool:
    """Whether the numbers in label files say nothing or two things; tells the mistake."""
    ignored = file.ignore.ids if file.ignore else ()
    if file.ids is None:
        if ignored:
            problems.add("'ids' of the ignored label need 'ids' of the classes", node.span)
        return bool(ignored)
    if len(file.ids) != len(file.classes):
        problems.add(
            f"'ids' must name a number for each of the {len(file.classes)} classes, got {len(file.ids)}", node.span
        )
        return True
    numbers = [*file.ids, *ignored]
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        problems.add(f"the number {twice} stands twice in the 'ids' of the class table", node.span)
    return twice is not None
