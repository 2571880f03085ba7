"""The command line: arguments and calls, no logic. Heavy modules are imported by the verb that needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from segspec.cli import check, compute_bn_stats, convert, expand, synthesize, test, train
from segspec.cli.arguments import Handler, VerbParser
from segspec.cli.version import ShowVersion
from segspec.errors import SegspecError

VERBS = (train, compute_bn_stats, test, check, expand, convert, synthesize)
"""The modules of the verbs, in the order that `--help` shows them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status: 0 done, 1 failed, 2 wrong use or wrong spec, 130/143 stopped."""
    try:
        options = _parser().parse_args(arguments)
        handler: Handler = options.handler
        status = handler(options) or 0
        if sys.stdout is not None:  # as it is where a shell has closed it
            sys.stdout.flush()  # while it can still be noticed that nothing reads it
        return status
    except SegspecError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _give_up_output()
        return 0
    except OSError as error:
        if error.filename is not None:  # a folder without permission, a disk that fails
            print(f"{os.fsdecode(error.filename)}: {error.strerror}", file=sys.stderr)
            return 1
        if _takes_output():
            raise
        _give_up_output()
        print(f"standard output cannot be written: {error.strerror or error}", file=sys.stderr)
        return 1


def _takes_output() -> bool:
    """Whether standard output can be written, tried with an empty line."""
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def _give_up_output() -> None:
    """Lets what waits to be written go nowhere, so that Python does not complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segspec",
        description="Networks for semantic segmentation, written as text.",
        epilog="segspec VERB --help shows an example of each verb.",
    )
    parser.add_argument("--version", action=ShowVersion)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=VerbParser)
    for verb in VERBS:
        verb.add(verbs)
    return parser
