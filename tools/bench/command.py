"""The bench's command line: what is measured, where results go."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from bench.contest import Rules
from bench.contestants import NETS
from bench.machine import describe_machine, explain_load
from bench.net_task import SPECS
from bench.options import QUICK, Options, quickened
from bench.report import page
from bench.results import Contest, as_json, contests_of
from bench.suites import IN_TABLE, SUITES

VERSION = 1
"""Of the JSON file's layout, see bench.schema.json."""

PRECISIONS = ("float32", "high", "bfloat16")
LEAST_ROUNDS = 7
"""With fewer, medians and quartiles say little."""

Item = TypeVar("Item")


class UsageError(Exception):
    """A wrong use, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench. Returns the exit status: 0 done, 1 a suite failed, 2 wrong use, 130 interrupted."""
    try:
        words = _parser().parse_args(arguments)
        suites, options = _suites(words), _options(words)
        earlier = [_read(path) for path in words.earlier]
        _refuse_unwritable(words.out, words.markdown)
    except UsageError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    document = {
        "version": VERSION,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "options": _shown(options, suites),
    }
    contests: list[Contest] = []
    status = _measure(suites, options, document, contests, words.out)
    pages = [before for before, _ in earlier] + [document] * bool(suites)
    told = [*chain.from_iterable(found for _, found in earlier), *contests]
    text = page(pages, told, with_bars="table" in words.suites)
    if words.markdown is not None:
        words.markdown.write_text(text, "utf-8")
    print(text, end="")
    return status


def _measure(
    suites: Sequence[str], options: Options, document: dict[str, Any], contests: list[Contest], out: Path | None
) -> int:
    """Runs suites, adds to the contests and writes them as they come. Returns the exit status."""
    status = 0
    if suites and (said := explain_load(document["machine"])):
        print(f"bench: {said}", file=sys.stderr)
    try:
        for suite in suites:
            for contest in SUITES[suite](options):
                contests.append(contest)
                _write_json(out, document, contests)
    except KeyboardInterrupt:
        status = 130
    except (OSError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        status = 1
    _write_json(out, document, contests)
    return status


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(f"{name} ({configuration.help})" for name, configuration in NETS.items())
    parser = _Parser(prog="bench", description="Measures segspec side by side with PyTorch.")
    parser.add_argument("suites", nargs="+", metavar="SUITE", help=f"{', '.join(SUITES)}, or table: all that has a bar")
    _add_list(parser, "--networks", _network, "NAME", f"of {', '.join(SPECS)}")
    _add_list(parser, "--sizes", _size, "HxW", "of images (default 180x240,360x480)")
    _add_list(parser, "--batch", _count, "N", "images a batch (default 1)", dest="batches")
    _add_list(parser, "--precision", _precision, "P", f"of {', '.join(PRECISIONS)} (default all)", dest="precisions")
    _add_list(parser, "--contestants", _contestant, "NAME", f"of {names}")
    parser.add_argument("--rounds", type=_count, help=f"turns of each contestant (default {LEAST_ROUNDS})")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where networks run (default cpu)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="pictures for the loaders, with a train.txt")
    parser.add_argument("--torch-python", default=sys.executable, metavar="FILE", help="the Python that has PyTorch")
    parser.add_argument("--patience", type=_count, default=1800, metavar="S", help="seconds to wait for an answer")
    parser.add_argument("--quick", action="store_true", help="small images and few rounds: whether the bench works")
    parser.add_argument(
        "--with",
        type=Path,
        dest="earlier",
        action="append",
        default=[],
        metavar="JSON",
        help="tell of these results too; may be repeated",
    )
    parser.add_argument("--out", type=Path, metavar="JSON", help="file for everything that was measured")
    parser.add_argument("--markdown", type=Path, metavar="MD", help="file for the page that is printed")
    return parser


def _add_list(
    parser: argparse.ArgumentParser,
    option: str,
    read: Callable[[str], Item],
    metavar: str,
    help: str,
    dest: str | None = None,
) -> None:
    """An option of several values, with commas or spaces between them."""

    def parts(text: str) -> tuple[Item, ...]:
        return tuple(read(part) for part in text.split(","))

    parser.add_argument(
        option, dest=dest or option.strip("-"), type=parts, nargs="+", action="extend", metavar=metavar, help=help
    )


def _choice(what: str, known: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text in known:
            return text
        raise argparse.ArgumentTypeError(f"no {what} '{text}'; there are {', '.join(known)}")

    return read


_network = _choice("network", tuple(SPECS))
_precision = _choice("precision", PRECISIONS)
_contestant = _choice("contestant", tuple(NETS))


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.lower().partition("x")
    if cross and height.isdecimal() and width.isdecimal() and int(height) and int(width):
        return int(height), int(width)
    raise argparse.ArgumentTypeError(f"takes HEIGHTxWIDTH in pixels, such as 360x480; got '{text}'")


def _count(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"takes a whole number from 1 on; got '{text}'")


def _suites(words: argparse.Namespace) -> list[str]:
    """The suites that are run, each once. `table` with earlier results measures nothing itself."""
    asked = [name for word in words.suites for name in _expand(word, words.earlier)]
    return list(dict.fromkeys(asked))


def _expand(word: str, earlier: Sequence[Path]) -> Sequence[str]:
    if word == "table":
        return () if earlier else IN_TABLE
    if word in SUITES:
        return (word,)
    raise UsageError(f"no suite '{word}'; there are {', '.join(SUITES)}, table")


def _options(words: argparse.Namespace) -> Options:
    names = ("networks", "sizes", "batches", "precisions", "contestants")
    given = {name: tuple(chain.from_iterable(parts)) for name in names if (parts := getattr(words, name))}
    rules = Rules(rounds=words.rounds or LEAST_ROUNDS, patience=words.patience)
    if words.quick:
        rules = replace(quickened(rules), **({"rounds": words.rounds} if words.rounds else {}))
    if words.data is not None and not (words.data / "train.txt").is_file():
        raise UsageError(f"--data {words.data}: there is no train.txt")
    always = {"device": words.device, "data": words.data, "torch_python": words.torch_python, "rules": rules}
    return replace(QUICK if words.quick else Options(), **given, **always)


def _shown(options: Options, suites: Sequence[str]) -> dict[str, Any]:
    """The options as the JSON file has them."""
    return {
        "suites": list(suites),
        "networks": list(options.networks),
        "sizes": [list(size) for size in options.sizes],
        "batches": list(options.batches),
        "precisions": list(options.precisions),
        "device": options.device,
        "rounds": options.rules.rounds,
        "quick": options.quick,
    }


def _read(path: Path) -> tuple[dict[str, Any], Sequence[Contest]]:
    """An earlier result, and its contests."""
    try:
        document = json.loads(path.read_text("utf-8"))
        return {name: document[name] for name in ("made", "machine", "options")}, contests_of(document)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is no result of the bench") from None


def _refuse_unwritable(*paths: Path | None) -> None:
    """Before hours of measuring rather than after."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"{path}: there is no such folder")


def _write_json(path: Path | None, document: dict[str, Any], contests: Sequence[Contest]) -> None:
    """Writes what was measured so far, so that an interrupted bench leaves it behind."""
    if path is not None:
        text = json.dumps({**document, "contests": [as_json(contest) for contest in contests]}, indent=1)
        path.write_text(text + "\n", "utf-8")
