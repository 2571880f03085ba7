"""Values to YAML text that reads back as the same values."""

from __future__ import annotations

import math
import re

from segspec.syntax.tree import to_text
from segspec.syntax.yaml import resolve_scalar

_PLAIN = re.compile(r"[A-Za-z0-9_./$][A-Za-z0-9_./$ +*%-]*")


def flow(value: object) -> str:
    """A value in flow style, on one line: `{num_output: 64, kernel_size: [3, 5]}`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value)


def scalar(value: object) -> str:
    """A single value; a string is quoted where it would read back as something else."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if not isinstance(value, str):
        return "null" if value is None else to_text(value) if isinstance(value, bool) else repr(value)
    if _PLAIN.fullmatch(value) and value == value.strip() and _stays_string(value):
        return value
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(_escape(character) for character in value) + '"'


def _stays_string(text: str) -> bool:
    try:
        return isinstance(resolve_scalar(text), str)
    except ValueError:
        return False


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
