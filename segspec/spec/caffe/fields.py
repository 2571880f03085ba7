"""Looking up fields of a prototxt's messages, where a name may be written several times."""

from __future__ import annotations

from collections.abc import Iterator

from segspec.syntax.tree import Mapping, Node, Scalar, Sequence


def texts(node: Mapping, name: str) -> list[Scalar]:
    """Every single value written under a name that may repeat."""
    values = [value for key, value in node if key.text == name]
    items = [item for value in values for item in (value.items if isinstance(value, Sequence) else (value,))]
    return [item for item in items if isinstance(item, Scalar)]


def text(node: Mapping, name: str) -> str:
    """The last value written under a name, as text; empty where there is none."""
    value = node.get(name)
    return value.text if isinstance(value, Scalar) else ""


def messages(node: Mapping, name: str) -> list[Mapping]:
    """Every message written under a name that may repeat."""
    return [value for key, value in node if key.text == name and isinstance(value, Mapping)]


def anywhere(layer: Mapping, name: str) -> Node | None:
    """The value of a field in whichever of a layer's messages it stands: old formats and forks have moved them."""
    return next(_found(layer, name), None)


def number_anywhere(layer: Mapping, name: str) -> int | None:
    """A field that is a whole number from 1 on; None where it is absent, 0 or something else."""
    value = anywhere(layer, name)
    number = value.value if isinstance(value, Scalar) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def _found(layer: Mapping, name: str) -> Iterator[Node]:
    for key, value in layer:
        if key.text == name:
            yield value
        elif isinstance(value, Mapping) and (inner := value.get(name)) is not None:
            yield inner
