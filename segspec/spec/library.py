"""Where class tables, block libraries, nets and solvers are found: beside the spec, and among those shipped."""

from __future__ import annotations

from pathlib import Path

from segspec.errors import Source, SpecError
from segspec.syntax.tree import read_source

_PACKAGE = Path(__file__).resolve().parent.parent
_PARTS = ("blocks", "classes", "weights")  # folders of files that are no nets


def shipped(kind: str) -> Path:
    """The folder of shipped `specs` or `solvers`: inside an installed package, or at the top of a checkout."""
    installed = _PACKAGE / "shipped" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def find(folder: str, name: str, beside: Path) -> Path | None:
    """The file `folder/name.yaml` of a library.

    Args:
        folder: `classes` or `blocks`.
        name: what the spec calls it; a name with a suffix is a path relative to the spec.
        beside: the folder of the spec.
    """
    candidates = [beside / name] if Path(name).suffix else [base / folder / f"{name}.yaml" for base in _bases(beside)]
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    """Whether this can be read; a name that no file system takes is the name of no file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _bases(beside: Path) -> tuple[Path, ...]:
    """Where to look: beside the spec, one folder up, among the shipped."""
    return (beside, beside.parent, shipped("specs"))


def names(folder: str, beside: Path) -> list[str]:
    """All names a library offers, for `did you mean`."""
    return sorted({path.stem for base in _bases(beside) for path in (base / folder).glob("*.yaml")})


def read_named(path: Path) -> Source:
    """The text of a net or solver that somebody named. Raises SpecError, for a missing one with the shipped one."""
    hint = shipped_hint(path)
    if hint:
        raise SpecError("there is no such file", place=str(path), hint=hint)
    return read_source(path)


def shipped_hint(path: Path) -> str:
    """Where a shipped net or solver of this name lies, with or without its ending; nothing where there is a file.

    Who installed segspec and has no checkout finds the files there that the documentation calls `specs/...`.
    """
    if _is_there(path):
        return ""
    wanted = path.name if path.suffix else f"{path.name}.yaml"
    files = (file for kind in ("specs", "solvers") for file in sorted(shipped(kind).rglob("*.yaml")))
    found = next((file for file in files if file.name == wanted and file.parent.name not in _PARTS), None)
    return f"the shipped one is {found}" if found else ""


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
