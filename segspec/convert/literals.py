"""Values as protobuf's text format writes them."""

from __future__ import annotations


def quoted(text: str) -> str:
    """A text in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def literal(value: bool | int | float) -> str:
    """A truth value or a number; a whole number without a fraction."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)
