"""What a command tells its user beside the results: on standard error, a line at a time."""

from __future__ import annotations

import sys

from segspec.errors import Diagnostic


def say(text: str) -> None:
    """Prints a message."""
    print(text, file=sys.stderr, flush=True)


def warn(*diagnostics: Diagnostic) -> None:
    """Prints warnings with their places."""
    for diagnostic in diagnostics:
        say(diagnostic.render())
