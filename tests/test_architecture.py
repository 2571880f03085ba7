"""The rooms of segspec and their doors, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "segspec").rglob("*.py"))
}

# A room may import from the rooms of the lines above its own, and from itself.
RANKS = (
    {"errors"},
    {"atomic", "cache", "messages", "proto", "syntax", "tuning"},
    {"schema"},
    {"ops"},
    {"layers"},
    {"spec"},
    {"graph"},
    {"net"},
    {"flax_module", "weights", "data"},
    {"run"},
    {"train", "evaluate", "convert"},
    {"cli", "__main__"},
    {"segspec"},
)
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}

# Libraries that only these rooms may import; where a room is not named, the library stays out of it.
LIBRARIES = {
    "flax": {"flax_module"},
    "optax": {"train"},
    "safetensors": {"weights", "run"},
    "cv2": {"data", "evaluate"},
    "PIL": {"data", "evaluate", "train"},
    "matplotlib": {"evaluate", "train"},
    "rich": {"evaluate", "train", "cli"},
    "argparse": {"cli"},
}
NEVER = {"pickle", "dill", "torch", "tensorflow", "socket", "urllib", "requests"}


def room(module: str) -> str:
    """`segspec.ops.window` lies in `ops`; the package itself, which names what is public, in `segspec`."""
    return [*module.split("."), "segspec"][module.startswith("segspec.")]


def imports(module: str) -> Iterator[str]:
    """Every module that a file imports, inside functions and `if TYPE_CHECKING` too."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, (source, node.module)))
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield inner if inner in FILES else source


def own(module: str) -> set[str]:
    return {target for target in imports(module) if target in FILES} - {module}


def test_the_checkout_is_looked_at() -> None:
    assert {"segspec", "segspec.errors", "segspec.layers.base"} <= FILES.keys()


def test_every_room_has_a_rank() -> None:
    assert {room(module) for module in FILES} <= RANK.keys(), "give the new room a line in RANKS and in docs"


@pytest.mark.parametrize("module", FILES)
def test_rooms_import_only_from_rooms_above(module: str) -> None:
    here = room(module)
    wrong = [target for target in own(module) if room(target) != here and RANK[room(target)] >= RANK[here]]
    assert not wrong, f"{module} may not import {', '.join(wrong)}"


@pytest.mark.parametrize("module", FILES)
def test_libraries_stay_in_their_rooms(module: str) -> None:
    for library in {target.split(".")[0] for target in imports(module)}:
        assert library not in NEVER, f"{module} may not import {library}"
        assert room(module) in LIBRARIES.get(library, {room(module)}), f"{module} may not import {library}"


@pytest.mark.parametrize("module", [name for name in FILES if room(name) in {"errors", "proto", "syntax", "schema"}])
def test_reading_a_file_needs_no_jax(module: str) -> None:
    assert "jax" not in {target.split(".")[0] for target in imports(module)}


LOADS_A_LIBRARY = "segspec.ops.native.library"


@pytest.mark.parametrize(
    "module", [name for name in FILES if room(name) in {"ops", "layers", "graph", "net"} and name != LOADS_A_LIBRARY]
)
def test_arithmetic_reads_no_files(module: str) -> None:
    assert not {"pathlib", "os", "io", "tempfile"} & set(imports(module))
    calls = [node.func for node in ast.walk(ast.parse(FILES[module].read_text())) if isinstance(node, ast.Call)]
    assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}


def test_no_import_cycles() -> None:
    TopologicalSorter({module: own(module) for module in FILES}).prepare()


def test_every_verb_of_the_command_line_has_a_file() -> None:
    verbs = {name for name in FILES if name.startswith("segspec.cli.") and "def add(verbs" in FILES[name].read_text()}
    assert own("segspec.cli") & verbs == verbs, "a verb that `segspec.cli` does not add"
    assert not own("segspec.cli") - verbs - {"segspec.cli.arguments", "segspec.cli.version", "segspec.errors"}


def test_file_names_say_what_is_inside() -> None:
    assert not {"utils", "util", "helpers", "common", "misc"} & {path.stem for path in FILES.values()}
