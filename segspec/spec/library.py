"""Where class tables and block libraries are found: beside the spec, then among the ones shipped with segspec."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


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
