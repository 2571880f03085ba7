"""Throws mutated specs at the reader: every one must be read, or refused with a place, in little time.

    python tools/fuzz_specs.py 1000000 --seed 3

Mutants are made of the shipped specs and solvers: characters, lines and words are swapped, doubled, dropped and filled
with what parsers stumble over. A mutant is a failure when reading it raises anything but SpecError or UsageError, gives
a message without a place, or takes more than a second of CPU. Failures are printed with what made them; exit status 1.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence

from segspec.errors import SegspecError, Source, SpecError, UsageError
from segspec.graph.build import build, image_inputs
from segspec.graph.summary import summarize
from segspec.spec.flatten import flat_text
from segspec.spec.library import shipped
from segspec.spec.net import read_net
from segspec.spec.solver_file import read_solver

SECONDS = 1.0
FILES = [*sorted(shipped("specs").glob("*.yaml")), *sorted(shipped("solvers").glob("*.yaml"))]
WORDS = (
    *(
        "",
        "0",
        "-1",
        "1e9",
        "1e999",
        ".nan",
        ".inf",
        "null",
        "~",
        "true",
        "no",
        "'",
        '"',
        "''",
        "[]",
        "{}",
        "[",
        "]",
        "{",
        "}",
    ),
    *(
        ":",
        ": ",
        "- ",
        "? ",
        "&a",
        "*a",
        "!x",
        "<<: ",
        "#",
        " #",
        "|",
        ">",
        "%",
        "@",
        "`",
        ",",
        "\t",
        "\n",
        "\r",
        "\r\n",
    ),
    *("$", "$$", "${", "$i", "$n", "$classes", "${out}", "$n / 0", "$n - 1", "2 * $n", "($n", "not $n", "$i > 2"),
    *("9" * 18, "9" * 30, "0x1f", "0o17", "010", "1:30", "99999", "a" * 300, "e1/pool", "/", "..", "../x", "a b"),
    *(
        "data",
        "label",
        "sum: ",
        "concat: ",
        "foreach: ",
        "do: ",
        "repeat: 3",
        "when: false",
        "name: x",
        "bottom: x",
        "top: [a, b]",
    ),
    *(
        "ReLU",
        "Concat",
        "Convolution",
        "PoolingMask",
        "Upsample",
        "SoftmaxWithLoss",
        "cbr",
        "down",
        "\\",
        "\\u",
        "\\UFFFFFFFF",
    ),
    *("\x00", "\x07", "\x1b[31m", "\x85", "\u2028", "\ufeff", "\ud800", "日本", "🙂", "e\u0301", "\u202e"),
)


def mutant(text: str, generator: random.Random) -> str:
    """The text with one to six changes."""
    for _ in range(generator.randint(1, 6)):
        text = generator.choice((_splice, _splice, _word, _word, _word, _line, _move, _cut))(text, generator)
    return text


def _splice(text: str, generator: random.Random) -> str:
    """A few characters become something else."""
    start = generator.randint(0, len(text))
    end = min(len(text), start + generator.choice((0, 0, 1, 1, 2, 8)))
    return text[:start] + generator.choice(WORDS) + text[end:]


def _word(text: str, generator: random.Random) -> str:
    """A word or number becomes another one of the text, or something odd."""
    found = list(re.finditer(r"[\w$./]+", text))
    if not found:
        return text
    target = generator.choice(found)
    word = generator.choice(found)[0] if generator.random() < 0.5 else generator.choice(WORDS)
    return text[: target.start()] + word + text[target.end() :]


def _line(text: str, generator: random.Random) -> str:
    """A line is dropped, doubled, moved or indented otherwise."""
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    index = generator.randrange(len(lines))
    line = lines.pop(index)
    match generator.randrange(4):
        case 0:
            lines[index:index] = [line, line]
        case 1:
            lines.insert(generator.randint(0, len(lines)), line)
        case 2:
            lines.insert(index, " " * generator.randint(0, 8) + line.lstrip(" "))
    return "".join(lines)


def _move(text: str, generator: random.Random) -> str:
    """A stretch is copied to another place."""
    start = generator.randint(0, len(text))
    stretch = text[start : start + generator.randint(1, 60)]
    place = generator.randint(0, len(text))
    return text[:place] + stretch + text[place:]


def _cut(text: str, generator: random.Random) -> str:
    """A stretch is dropped."""
    start = generator.randint(0, len(text))
    return text[:start] + text[start + generator.randint(1, 60) :]


def overrides(generator: random.Random) -> list[str]:
    """Now and then a `--set`."""
    if generator.random() < 0.8:
        return []
    keys = (
        "classes",
        "data.train.batch_size",
        "params.camvid",
        "camvid",
        "layers",
        "input.height",
        "name",
        "x.y",
        "",
        "base_lr",
    )
    return [generator.choice(keys) + generator.choice(("=", "=", "=", "")) + generator.choice(WORDS)]


def attempt(text: str, is_solver: bool, changes: Sequence[str]) -> str:
    """Reads a text as the command line would, and says what became of it: `read`, `refused`, or a complaint."""
    start = time.process_time()
    outcome = "read"
    try:
        if is_solver:
            read_solver(Source("x.yaml", text), changes)
        else:
            net = read_net(Source("x.yaml", text), shipped("specs"), changes)
            flat_text(net)
            summarize(build(net, "TRAIN", image_inputs(1, 45, 60, 3)))
    except (SpecError, UsageError) as error:
        outcome = _judged(error, changes)
    except Exception:
        return traceback.format_exc()
    taken = time.process_time() - start
    return outcome if taken < SECONDS else f"took {taken:.1f} seconds"


def _judged(error: SegspecError, changes: Sequence[str]) -> str:
    placed = all(
        found.span or found.place or re.match(r"--(solver-)?set ", found.message) for found in error.diagnostics
    )
    str(error).encode()
    return "refused" if placed and error.diagnostics else f"no place: {error} (with {list(changes)})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the given number of mutants; prints failures and a summary."""
    parser = argparse.ArgumentParser(description="Throw mutated specs at the reader.")
    parser.add_argument("count", type=int, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other mutants")
    options = parser.parse_args(arguments)
    texts = [(path.parent.name == "solvers", path.read_text(encoding="utf-8")) for path in FILES]
    outcomes: Counter[str] = Counter()
    for index in range(options.count):
        generator = random.Random(f"{options.seed}:{index}")
        is_solver, text = generator.choice(texts)
        changed, changes = mutant(text, generator), overrides(generator)
        outcome = attempt(changed, is_solver, changes)
        outcomes[outcome if outcome in ("read", "refused") else "failed"] += 1
        if outcome not in ("read", "refused"):
            print(f"mutant {index} of seed {options.seed}, --set {changes}\n{outcome}\n{changed!r}\n", flush=True)
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())))
    return 1 if outcomes["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
