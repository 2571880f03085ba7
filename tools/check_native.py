"""Compiles the native convolutions with a driver of their own, without XLA and Python, and lets sanitizers watch it.

    python tools/check_native.py [plain] [address] [thread]

Runs tests/ops/native/check.cc once for each word, all three if there is none: kernels of every instruction set that
this processor has, and those for AMX with its tiles emulated, on shapes small and odd, arrays and scratch memory lying
against pages that nobody may touch. Says what is wrong and exits with 1 if anything is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build_native

DRIVER = Path(__file__).parent.parent / "tests" / "ops" / "native"
SANITIZERS = {
    "plain": (),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}
_FLAGS = ("-std=c++17", "-O1", "-g1", "-fPIC", "-pthread", "-DSEGSPEC_EMULATE_AMX", f"-I{build_native.SOURCES}")
_LEFT_OUT = {"handlers.cc", "processor.cc"}
"""The driver calls the kernels itself, and pretends to be any processor."""


def build_driver(target: Path, extra: tuple[str, ...] = ()) -> str:
    """Compiles the kernels, AMX emulated, and the driver.

    Args:
        target: a library for ctypes where its name ends in .so, else a program that checks.
        extra: further flags for compiler and linker.

    Returns:
        Why it failed; empty where it was built.
    """
    compiler = build_native._compiler()
    if compiler is None:
        return "there is no C++ compiler"
    shared = target.suffix == ".so"
    sources = {
        build_native.SOURCES / name: flags for name, flags in build_native.FLAGS.items() if name not in _LEFT_OUT
    }
    sources |= {DRIVER / name: () for name in (("driver.cc",) if shared else ("driver.cc", "check.cc"))}
    with tempfile.TemporaryDirectory() as folder:
        objects = [Path(folder, source.name).with_suffix(".o") for source in sources]
        commands = [
            [*compiler, *_FLAGS, *flags, *extra, "-c", str(source), "-o", str(made)]
            for (source, flags), made in zip(sources.items(), objects, strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            failures = [text for text in pool.map(build_native._run, commands) if text]
        link = [*compiler, *_FLAGS, *extra, *(["-shared"] if shared else []), "-o", str(target), *map(str, objects)]
        return failures[0] if failures else build_native._run(link)


def check(sanitizer: str, folder: Path) -> str:
    """What is wrong with the kernels; empty where nothing is."""
    program = folder / f"check_{sanitizer}"
    failure = build_driver(program, SANITIZERS[sanitizer])
    if failure:
        return failure
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    print(f"{sanitizer}: {done.stdout.strip()}", flush=True)
    return "" if done.returncode == 0 else f"{sanitizer} exits with {done.returncode}\n{done.stderr}"


def main() -> int:
    """Runs the checks that are named."""
    named = sys.argv[1:] or list(SANITIZERS)
    unknown = [name for name in named if name not in SANITIZERS]
    if unknown:
        print(f"{unknown[0]} is none of {', '.join(SANITIZERS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        wrong = [reason for reason in (check(name, Path(folder)) for name in named) if reason]
    for reason in wrong:
        print(reason, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
