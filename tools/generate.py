"""Writes what is derived: the reference of layers, schemas for editors, and the list of the shipped networks.

python tools/generate.py            writes LAYERS.md, README.md, segspec.schema.json and solver.schema.json in specs/
python tools/generate.py --check    writes nothing; fails when one of them is not what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from json_schema import solver_schema, spec_schema
from layer_reference import reference
from specs_table import table

SPECS = Path(__file__).resolve().parent.parent / "specs"


def generated() -> dict[str, str]:
    """The text of every generated file, by its name in `specs/`."""
    return {
        "LAYERS.md": reference(),
        "README.md": table(),
        "segspec.schema.json": _json(spec_schema()),
        "solver.schema.json": _json(solver_schema()),
    }


def stale(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """The files of a folder that are missing or hold another text."""
    return [folder / name for name, text in texts.items() if _text(folder / name) != text]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the files; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a file is stale")
    parser.add_argument("--folder", type=Path, default=SPECS, help="where the files lie (default: specs/)")
    options = parser.parse_args(arguments)
    texts = generated()
    old = stale(options.folder, texts)
    if options.check:
        for path in old:
            print(f"{path} is not what would be written; run: make generate", file=sys.stderr)
        return 1 if old else 0
    for path in old:
        path.write_text(texts[path.name], encoding="utf-8")
        print(f"wrote {path}")
    return 0


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
