"""Compiles the native convolutions with drivers of their own, without XLA and Python, and lets sanitizers watch them.

    python tools/check_native.py [plain] [address] [thread]

Runs two programs of tests/ops/native once for each word, all three if there is none. `check` calls the kernels of every
instruction set that this processor has, and those for AMX with its tiles emulated, on shapes small and odd; arrays and
scratch memory lie against pages that nobody may touch. `stress` makes the calls that XLA makes from many threads at
once. Says what is wrong and exits with 1 if anything is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build_native

DRIVERS = Path(__file__).parent.parent / "tests" / "ops" / "native"
SANITIZERS = {
    "plain": (),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}
PROGRAMS = {"check": ("driver.cc", "check.cc"), "stress": ("stress.cc",), "driver.so": ("driver.cc",)}
"""What each is made of, besides the kernels; one ending in .so is a library for ctypes."""
_INCLUDED = (build_native.SOURCES, DRIVERS / "stand_in")
_FLAGS = (
    "-std=c++17",
    "-O1",
    "-g1",
    "-fPIC",
    "-pthread",
    "-DSEGSPEC_EMULATE_AMX",
    *(f"-I{path}" for path in _INCLUDED),
)
_LEFT_OUT = {"handlers.cc", "processor.cc"}
"""Serve XLA, and tell what the processor is, which the programs pretend."""


def build(folder: Path, names: tuple[str, ...], extra: tuple[str, ...] = ()) -> str:
    """Compiles programs into a folder, AMX emulated.

    Args:
        folder: for the programs.
        names: of PROGRAMS.
        extra: further flags for compiler and linker.

    Returns:
        Why it failed; empty where they were built.
    """
    compiler = build_native.find_compiler()
    if compiler is None:
        return "there is no C++ compiler"
    kernels = {
        build_native.SOURCES / name: flags for name, flags in build_native.FLAGS.items() if name not in _LEFT_OUT
    }
    drivers: dict[Path, tuple[str, ...]] = {DRIVERS / source: () for name in names for source in PROGRAMS[name]}
    with tempfile.TemporaryDirectory() as temporary:
        objects = {source: Path(temporary, source.name).with_suffix(".o") for source in kernels | drivers}
        commands = [
            [*compiler, *_FLAGS, *flags, *extra, "-c", str(source), "-o", str(objects[source])]
            for source, flags in (kernels | drivers).items()
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            failures = [text for text in pool.map(build_native.run_command, commands) if text]
        for name in () if failures else names:
            parts = [str(objects[source]) for source in (*kernels, *(DRIVERS / driver for driver in PROGRAMS[name]))]
            kind = ["-shared"] if name.endswith(".so") else []
            failures.append(
                build_native.run_command([*compiler, *_FLAGS, *extra, *kind, "-o", str(folder / name), *parts])
            )
    return next(filter(None, failures), "")


def check(sanitizer: str) -> str:
    """What is wrong with the kernels; empty where nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        wrong = build(Path(folder), ("check", "stress"), SANITIZERS[sanitizer])
        for program in () if wrong else ("check", "stress"):
            done = subprocess.run([Path(folder, program)], capture_output=True, text=True, check=False)
            print(f"{sanitizer}, {program}: {done.stdout.strip()}", flush=True)
            if done.returncode != 0:
                wrong += f"{program} exits with {done.returncode} under {sanitizer}\n{done.stderr}"
    return wrong


def main() -> int:
    """Runs the checks that are named."""
    named = sys.argv[1:] or list(SANITIZERS)
    unknown = [name for name in named if name not in SANITIZERS]
    if unknown:
        print(f"{unknown[0]} is none of {', '.join(SANITIZERS)}", file=sys.stderr)
        return 2
    wrong = [reason for reason in map(check, named) if reason]
    for reason in wrong:
        print(reason, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
