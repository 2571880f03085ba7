"""`$names` in scalars: substitution, integer arithmetic and comparison. Nothing else is an expression.

expression := "not" expression | sum [("==" | "!=" | "<=" | ">=" | "<" | ">") sum]
sum        := product (("+" | "-") product)*
product    := factor (("*" | "/" | "%") factor)*
factor     := integer | $name | "(" expression ")" | "-" factor
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from itertools import pairwise

from segspec.syntax.tree import Value, to_text

NAME = re.compile(r"\$\$|\$\{(\w+)\}|\$([A-Za-z_]\w*)")
_TOKEN = re.compile(r"\s*(?:(\d{1,18})|\$\{(\w+)\}|\$([A-Za-z_]\w*)|(not\b|[=!<>]=|[-+*/%()<>]))")
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_LIMIT = 10**18
_LONGEST = 10_000
_MOST_TOKENS = 200


class ArithmeticMistake(ValueError):
    """An expression that cannot be evaluated; the message says why."""


class UnknownName(ValueError):
    """A `$name` that nothing defines. `args[0]` is the name."""


def substitute(text: str, values: Mapping[str, Value]) -> Value:
    """The value of a scalar that holds `$names`.

    A text made only of whole numbers, names of whole numbers (or truth values) and operators is evaluated; anything
    else is a string in which each `$name` is replaced by its value and `$$` by a dollar sign.

    Raises:
        UnknownName: when nothing defines a name.
        ArithmeticMistake: when a division leaves a remainder or is by zero, parentheses do not match, a number has a
            fraction, or a text grows beyond all reason.
    """
    tokens = _tokens(text, values)
    if tokens is not None:
        return _Evaluation(tokens).result()
    parts = [to_text(_lookup(match, values)) for match in NAME.finditer(text) if match[0] != "$$"]
    if sum(map(len, parts)) > _LONGEST:
        raise ArithmeticMistake(f"the text grows to more than {_LONGEST} characters")
    return NAME.sub(lambda match: "$" if match[0] == "$$" else to_text(_lookup(match, values)), text)


def _lookup(match: re.Match[str], values: Mapping[str, Value]) -> Value:
    name = match[1] or match[2]
    if name not in values:
        raise UnknownName(name)
    return values[name]


def _tokens(text: str, values: Mapping[str, Value]) -> list[int | str] | None:
    """The text as numbers and operators, or None when it is not arithmetic."""
    found: list[int | str] = []
    fraction = ""
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            return None
        number, braced, plain, sign = match.groups()
        if sign:
            found.append(sign)
        elif number:
            found.append(int(number))
        else:
            name = braced or plain
            if name not in values:
                raise UnknownName(name)
            value = values[name]
            if isinstance(value, float):
                fraction, value = name, 0
            if not isinstance(value, int):
                return None
            found.append(value)
        position = match.end()
    if not _alternates(found) or (fraction and len(found) == 1):
        return None
    if fraction:
        raise ArithmeticMistake(f"only whole numbers can be computed with, and ${fraction} is {values[fraction]}")
    return found


def _alternates(tokens: list[int | str]) -> bool:
    """Whether no two operands stand side by side, as they do in a name like `e$i$j`."""
    pairs = pairwise(tokens)
    return not any(isinstance(left, int) and isinstance(right, int) for left, right in pairs)


class _Evaluation:
    """Recursive descent over a list of tokens."""

    def __init__(self, tokens: list[int | str]):
        self.tokens = tokens
        self.position = 0

    def result(self) -> int | bool:
        value = self._expression()
        if (sign := self._next()) is not None:
            raise ArithmeticMistake(f"'{sign}' was not expected here")
        return value

    def _expression(self) -> int | bool:
        if self.position > _MOST_TOKENS:
            raise ArithmeticMistake("the expression is too long")
        if self._peek() == "not":
            self._next()
            return not self._expression()
        left = self._sum()
        if self._peek() not in _COMPARE:
            return left
        return _COMPARE[str(self._next())](left, self._sum())

    def _peek(self) -> int | str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def _next(self) -> int | str | None:
        token = self._peek()
        self.position += 1
        return token

    def _sum(self) -> int:
        value = self._product()
        while self._peek() in ("+", "-"):
            value = value + self._product() if self._next() == "+" else value - self._product()
        return _bounded(value)

    def _product(self) -> int:
        value = self._factor()
        while self._peek() in ("*", "/", "%"):
            sign, right = self._next(), self._factor()
            value = value * right if sign == "*" else _divide(value, right, remainder=sign == "%")
        return _bounded(value)

    def _factor(self) -> int:
        token = self._next()
        if isinstance(token, int):
            return token
        if self.position > _MOST_TOKENS:
            raise ArithmeticMistake("the expression is too long")
        if token == "-":
            return -self._factor()
        if token == "(":
            value = self._expression()
            if self._next() != ")":
                raise ArithmeticMistake("a closing parenthesis is missing")
            return value
        raise ArithmeticMistake(f"a number was expected {f'before {token!r}' if token else 'at the end'}")


def _divide(value: int, by: int, *, remainder: bool) -> int:
    if by == 0:
        raise ArithmeticMistake("division by zero")
    if remainder:
        return value % by
    if value % by:
        raise ArithmeticMistake(f"{value} / {by} is not a whole number")
    return value // by


def _bounded(value: int) -> int:
    if abs(value) > _LIMIT:
        raise ArithmeticMistake("the result is too large")
    return value
