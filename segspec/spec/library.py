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
    if Path(name).suffix:
        candidates = [beside / name]
    else:
        candidates = [base / folder / f"{name}.yaml" for base in (beside, beside.parent, shipped("specs"))]
    return next((path for path in candidates if path.is_file()), None)


def names(folder: str, beside: Path) -> list[str]:
    """All names a library offers, for `did you mean`."""
    bases = (beside, beside.parent, shipped("specs"))
    return sorted({path.stem for base in bases for path in (base / folder).glob("*.yaml")})
