"""From a mapping in the text to a typed value, collecting every mistake with its place."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from segspec.errors import Span, did_you_mean
from segspec.syntax.tree import Mapping, Node, Problems, Scalar, Sequence, describe, to_python

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a word",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "null",
}


def read_model(
    model: type[Model], node: Mapping, problems: Problems, subject: str, at: Span | None = None
) -> Model | None:
    """Validates a mapping against a model.

    Args:
        model: a pydantic model with `extra="forbid"`.
        node: the mapping as written.
        problems: where every mistake goes.
        subject: what the mapping is, for messages: `layer 'conv1' (Convolution)`.
        at: where a missing field is reported; by default the start of the mapping.

    Returns:
        The model, or None when something was wrong.
    """
    try:
        return model.model_validate(to_python(node))
    except ValidationError as error:
        for detail in _one_per_place(error, node):
            _report(model, node, problems, subject, at or node.span, detail)
        return None


def field_names(model: type[BaseModel]) -> list[str]:
    """The names a user may write, in the order of declaration."""
    return [info.alias or name for name, info in model.model_fields.items()]


def _one_per_place(error: ValidationError, node: Mapping) -> list[ErrorDetails]:
    """The first error of each value: a union reports one per alternative, which is noise."""
    first: dict[tuple[object, ...], ErrorDetails] = {}
    for detail in error.errors(include_url=False, include_context=True):
        absent = detail["loc"] if detail["type"] in ("extra_forbidden", "missing") else ()
        first.setdefault((id(_node_at(node, detail["loc"])), absent), detail)
    return list(first.values())


def _written(node: Node, path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The parts of a path that stand in the text; a list written as one value has no numbers."""
    found: list[int | str] = []
    for part in path:
        inner = _step(node, part)
        if inner is not None:
            found.append(part)
            node = inner
    return tuple(found)


def _report(
    model: type[BaseModel], node: Mapping, problems: Problems, subject: str, at: Span, detail: ErrorDetails
) -> None:
    path = detail["loc"]
    if detail["type"] == "extra_forbidden":
        key = _key_at(node, path)
        owner = _model_at(model, path[:-1])
        hint = did_you_mean(str(path[-1]), field_names(owner) if owner else ())
        problems.add(f"{subject} has no parameter '{_dotted(path)}'", key.span if key else at, hint)
    elif detail["type"] == "missing":
        owner = _model_at(model, path[:-1])
        meaning = _description(owner, str(path[-1])) if owner else ""
        problems.add(f"{subject} needs '{_dotted(path)}'{meaning}", at)
    elif not path:
        problems.add(f"{subject}: {_plain(detail)}", at)
    else:
        found = _node_at(node, path)
        problems.add(
            f"'{_dotted(_written(node, path) or path)}' of {subject} {_complaint(detail, found)}",
            found.span,
            _hint(detail, found),
        )


def _dotted(path: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in path)


def _plain(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:] if not message[:2].isupper() else message


def _complaint(detail: ErrorDetails, found: Node) -> str:
    """What is wrong with a value, in words that need no knowledge of Python."""
    context: dict[str, Any] = detail.get("ctx") or {}
    got = f", got {describe(found)}"
    kind = detail["type"]
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}{got}"
    if kind == "literal_error":
        return f"must be one of {context['expected'].replace(' or ', ', ')}{got}"
    for test, words in (("min_length", "at least"), ("max_length", "at most")):
        if test in context:
            return f"must have {words} {_counted(context[test], found)}{got}"
    for test, words in (
        ("ge", "at least"),
        ("gt", "greater than"),
        ("le", "at most"),
        ("lt", "less than"),
    ):
        if test in context:
            return f"must be {words} {context[test]}{got}"
    return f"{_plain(detail)}{got}"


def _counted(count: int, found: Node) -> str:
    what = "character" if isinstance(found, Scalar) else "entry" if isinstance(found, Mapping) else "item"
    plural = {"entry": "entries"}.get(what, f"{what}s")
    return f"{count} {what if count == 1 else plural}"


def _hint(detail: ErrorDetails, found: Node) -> str:
    if detail["type"] == "literal_error" and isinstance(found, Scalar):
        choices = str((detail.get("ctx") or {}).get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")
        return did_you_mean(found.text, choices)
    if isinstance(found, Scalar) and found.quoted and detail["type"] in ("int_type", "float_type", "bool_type"):
        return "remove the quotes"
    return ""


def _step(node: Node, part: int | str) -> Node | None:
    if isinstance(node, Mapping) and isinstance(part, str):
        return node.get(part)
    if isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
        return node.items[part]
    return None


def _node_at(node: Node, path: tuple[int | str, ...]) -> Node:
    """The deepest node that exists along a path; pydantic adds parts that name no node, such as union tags."""
    for part in path:
        node = _step(node, part) or node
    return node


def _key_at(node: Mapping, path: tuple[int | str, ...]) -> Scalar | None:
    owner = _node_at(node, path[:-1])
    return owner.key(str(path[-1])) if isinstance(owner, Mapping) else None


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that a path leads into, as far as annotations say."""
    current: type[BaseModel] | None = model
    for part in path:
        if current is None or isinstance(part, int):
            continue
        names = {info.alias or name: info for name, info in current.model_fields.items()}
        current = _model_in(names[part].annotation) if part in names else current
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model_in(part))), None)


def _description(model: type[BaseModel], name: str) -> str:
    info = next((info for key, info in model.model_fields.items() if (info.alias or key) == name), None)
    if info is None or not info.description:
        return ""
    words = info.description.rstrip(".")
    return f": {words[:1].lower()}{words[1:]}"
