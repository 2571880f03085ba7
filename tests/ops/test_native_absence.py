"""Where the native convolutions cannot be built, loaded or run, segspec does without and says nothing."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import build_native
import pytest

from segspec.errors import RunError
from segspec.ops.native import library

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="nothing is built elsewhere")

USES = """
import sys
import jax, jax.numpy as jnp
from segspec.ops import native
from segspec.ops.convolution import convolve
from segspec.ops.native.library import instructions
x, w = jnp.ones((1, 8, 8, 16)), jnp.ones((3, 3, 16, 16))
options = {"stride": (1, 1), "pad": (0, 0), "dilation": (1, 1), "group": 1}
apply = jax.value_and_grad(lambda x, w: convolve(x, w, **options).sum(), (0, 1))
assert "ffi_call" not in str(jax.make_jaxpr(apply)(x, w))
value, (dx, dw) = jax.jit(apply)(x, w)
assert value == 36 * 16 * 144 and dw[0, 0, 0, 0] == 36 and dx[0, 0, 0, 0] == 16
print(repr(instructions()), native.computes(jnp.float32), native.computes(jnp.bfloat16))
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the library would be built."""
    path = tmp_path / "libsegspec.so"
    monkeypatch.setattr(build_native, "LIBRARY", path)
    return path


@linux
def test_no_compiler(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert "no C++ compiler" in build_native.build()
    assert not target.exists()


@linux
def test_a_compiler_that_fails(target: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho this instruction set is unknown >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", f"{compiler} --some-option")
    reason = build_native.build()
    assert "--some-option" in reason and "this instruction set is unknown" in reason
    assert not list(target.parent.glob("libsegspec*"))


@linux
def test_a_wheel_without_a_compiler(tmp_path: Path) -> None:
    """Is one for every system, and has no library even where the checkout holds one."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    environment = os.environ | {"CXX": "/bin/false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no native convolutions" in done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "segspec/ops/native/library.py" in names
    assert not [name for name in names if name.endswith(".so")]


def load(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(library, "LIBRARY", path)
    return library.instructions.__wrapped__()


def test_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(tmp_path / "libsegspec.so", monkeypatch) == ""


@pytest.mark.parametrize("content", [b"", b"not a library\n", b"\x7fELF\x02\x01\x01" + bytes(300)])
def test_a_damaged_library_is_as_good_as_none(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "libsegspec.so"
    path.write_bytes(content)
    assert load(path, monkeypatch) == ""


LOADS = """
import sys
from pathlib import Path
from segspec.ops.native import library
library.LIBRARY = Path(sys.argv[1])
print(repr(library.instructions()))
"""


@linux
@pytest.mark.parametrize("share", [0.0001, 0.4, 0.7])
def test_a_library_that_breaks_off_is_as_good_as_none(share: float, tmp_path: Path) -> None:
    if not library.LIBRARY.exists():
        pytest.skip("there is no library")
    content = library.LIBRARY.read_bytes()
    path = tmp_path / "libsegspec.so"
    path.write_bytes(content[: int(len(content) * share)])
    command = [sys.executable, "-c", LOADS, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "''\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_another_library_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    ctypes.CDLL("libm.so.6")
    mapped = re.search(r"\S*/libm\.so\.6$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    assert mapped
    assert load(Path(mapped[0]), monkeypatch) == ""


@pytest.mark.parametrize("value", ["0", "none"])
def test_convolutions_without_native_kernels(value: str) -> None:
    """`none` loads the library and takes the processor for one without AVX2."""
    environment = os.environ | {library.VARIABLE: value}
    done = subprocess.run([sys.executable, "-c", USES], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["''", "False", "False"]
    assert done.stderr == ""


def test_an_unknown_wish_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    library.instructions.cache_clear()
    monkeypatch.setenv("SEGSPEC_NATIVE", "nonsense")
    try:
        with pytest.raises(RunError, match="SEGSPEC_NATIVE is 'nonsense'"):
            library.instructions()
    finally:
        library.instructions.cache_clear()


@linux
def test_a_library_of_other_sources_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    if not library.instructions():
        pytest.skip("there is no library")
    library.instructions.cache_clear()
    monkeypatch.setattr(library, "INTERFACE", library.INTERFACE + 1)
    try:
        assert library.instructions() == ""
    finally:
        library.instructions.cache_clear()
