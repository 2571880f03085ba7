"""Builds segspec/ops/native with the C++ compiler at hand; the installation of segspec calls it.

    python tools/build_native.py [-v]

Without a compiler, on another system than Linux on x86-64, or where the sources do not compile, nothing is built and
segspec uses XLA's convolutions. CXX names the compiler. Each file is compiled for an instruction set of its own; which
one runs is decided by the processor, at run time.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "segspec" / "ops" / "native"
LIBRARY = SOURCES / "libsegspec.so"

_COMMON = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-maybe-uninitialized")
_AVX2 = ("-mavx2", "-mfma")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
FLAGS = {
    "choose.cc": (),
    "handlers.cc": (),
    "processor.cc": (),
    "avx2.cc": _AVX2,
    "avx512.cc": _AVX512,
    "avx512_bf16.cc": (*_AVX512, "-mavx512bf16"),
    # Instructions for tiles are written out there, so that the compiler need not know them.
    "amx.cc": (*_AVX512, "-mavx512bf16"),
}


def build(extra: tuple[str, ...] = ()) -> str:
    """Compiles and links the library.

    Args:
        extra: further flags for compiler and linker, such as -fsanitize=address.

    Returns:
        Why there is no library; empty where it was built.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"there are no kernels for {sys.platform} on {platform.machine()}"
    compiler = find_compiler()
    if compiler is None:
        return "there is no C++ compiler (on Debian: apt install g++)"
    headers = _headers()
    if headers is None:
        return "jaxlib, whose headers are needed, is not installed"
    with tempfile.TemporaryDirectory() as folder:
        objects = {name: Path(folder, name).with_suffix(".o") for name in FLAGS}
        commands = [
            # Headers of others are not ours to be warned about.
            [
                *compiler,
                *_COMMON,
                *FLAGS[name],
                *extra,
                f"-isystem{headers}",
                "-c",
                str(SOURCES / name),
                "-o",
                str(made),
            ]
            for name, made in objects.items()
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            failures = [text for text in pool.map(run_command, commands) if text]
        linked = Path(folder, LIBRARY.name)
        if not failures:
            failures = [run_command([*compiler, *extra, "-shared", "-o", str(linked), *map(str, objects.values())])]
        if any(failures):
            return failures[0]
        # A process may have the old library mapped: it keeps its file, and others get the new one.
        aside = LIBRARY.with_suffix(".new")
        shutil.copy(linked, aside)
        aside.replace(LIBRARY)
    return ""


def find_compiler() -> list[str] | None:
    """The compiler and the arguments that CXX names with it."""
    named = shlex.split(os.environ.get("CXX", ""))
    for command in (named, ["c++"], ["g++"], ["clang++"]):
        if command and shutil.which(command[0]):
            return command
    return None


def _headers() -> Path | None:
    """Where jaxlib keeps the headers of XLA's foreign functions."""
    spec = importlib.util.find_spec("jaxlib")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "include"
    return folder if folder.is_dir() else None


def run_command(command: list[str]) -> str:
    """What a failed command said; empty for success."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{shlex.join(command)}\n{done.stderr}"


def main() -> int:
    """Builds, and says why not."""
    reason = build(tuple(sys.argv[1:]))
    print(reason or f"built {LIBRARY}")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
