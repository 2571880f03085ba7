"""What the arguments of several verbs share: their parser, options and kinds of values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

from segspec.errors import UsageError

Handler = Callable[[argparse.Namespace], int | None]
"""What runs a verb; its result is the exit status, None for 0."""


class VerbParser(argparse.ArgumentParser):
    """A parser of a verb's arguments that takes options and all others in any order."""

    _intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses with `parse_known_intermixed_args`, which itself comes back here in Python 3.11."""
        if self._intermixing:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False


Verbs: TypeAlias = "argparse._SubParsersAction[VerbParser]"
"""What verbs are added to; a text because argparse's class takes no parameter when it runs."""


def add_verb(verbs: Verbs, name: str, help: str, example: str, handler: Handler) -> argparse.ArgumentParser:
    """Adds a verb whose help ends with an example; gives the parser of its arguments."""
    parser = verbs.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def add_set(parser: argparse.ArgumentParser) -> None:
    """Adds `--set`, which changes values of a spec."""
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a value of the spec, such as classes=21 or data.train.batch_size=2; may be repeated",
    )


def add_weights_map(parser: argparse.ArgumentParser) -> None:
    """Adds `--weights-map`, which says what `--weights` gives to whom."""
    help = "which layers of --weights the net's layers take, where names differ: a YAML file, or a shipped one's name"
    parser.add_argument("--weights-map", metavar="FILE_OR_NAME", help=help)


def refuse_map_alone(options: argparse.Namespace) -> None:
    """Raises UsageError for `--weights-map` without `--weights`."""
    if options.weights_map and options.weights is None:
        raise UsageError("--weights-map says what --weights gives to whom", hint="add --weights FILE")


def count(text: str) -> int:
    """A whole number from 1 on."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"takes a whole number from 1 on, got '{text}'")


def count_or_none(text: str) -> int:
    """A whole number from 0 on."""
    return 0 if text == "0" else count(text)


def image_size(text: str | None) -> tuple[int, int] | None:
    """The (height, width) that `--size HxW` says; None without it. Raises UsageError."""
    if text is None:
        return None
    height, cross, width = text.lower().partition("x")
    if cross and height.isdecimal() and width.isdecimal() and int(height) and int(width):
        return (int(height), int(width))
    raise UsageError(f"--size takes HEIGHTxWIDTH in pixels, such as 360x480; got '{text}'")
