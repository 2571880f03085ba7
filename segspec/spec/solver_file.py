"""Reading a solver file, and writing one back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segspec.errors import Source, SpecError
from segspec.schema.read import read_model
from segspec.spec.caffe.solver import NET_FIELDS, CaffeSolver, read_caffe_solver
from segspec.spec.library import read_named
from segspec.spec.override import apply_overrides
from segspec.spec.solver import USUAL_MOMENTUM, Solver
from segspec.syntax.prototxt import is_prototxt, parse_prototxt
from segspec.syntax.tree import Mapping, Problems, describe
from segspec.syntax.write import flow
from segspec.syntax.yaml import parse_yaml


def load_solver(path: Path, overrides: Sequence[str] = ()) -> Solver:
    """Reads a solver file; one that ends in `.prototxt` is Caffe's.

    Args:
        path: the file.
        overrides: `KEY=VALUE` texts, a key being a field of the solver.

    Raises:
        SpecError: with every mistake that was found.
    """
    return load_caffe_solver(path, overrides).solver if is_prototxt(path) else read_solver(read_named(path), overrides)


def load_caffe_solver(path: Path, overrides: Sequence[str] = ()) -> CaffeSolver:
    """Reads a solver's prototxt, with the nets that it names. Raises SpecError with every mistake that was found."""
    return read_caffe_solver(read_named(path), overrides)


def is_solver(path: Path) -> bool:
    """Whether a file is a solver rather than a net: it has a `base_lr`, or `net` in a prototxt. Raises SpecError."""
    source = read_named(path)
    root = parse_prototxt(source) if is_prototxt(path) else parse_yaml(source)
    return isinstance(root, Mapping) and (root.key("base_lr") is not None or (is_prototxt(path) and _names_net(root)))


def _names_net(root: Mapping) -> bool:
    return any(root.key(name) is not None for name in NET_FIELDS)


def read_solver(source: Source, overrides: Sequence[str] = ()) -> Solver:
    """Reads a solver from its text."""
    problems = Problems()
    root = parse_yaml(source)
    if not isinstance(root, Mapping):
        raise SpecError(f"a solver is a mapping of fields, got {describe(root)}", place=source.name)
    root = apply_overrides(root, overrides, tuple(Solver.model_fields), problems, "--solver-set")
    solver = read_model(Solver, root, problems, "the solver")
    problems.raise_any()
    assert solver is not None
    return solver


def solver_text(solver: Solver, *, defaults: bool = True) -> str:
    """The solver as YAML, one field a line; `defaults` says whether fields that have theirs are written too."""
    fields = solver.model_dump(exclude_none=True, exclude_defaults=not defaults)
    if solver.type in USUAL_MOMENTUM:
        fields["momentum"] = solver.momentum  # never left out, though Caffe's 0 is the default here too
    return "".join(f"{name}: {flow(value)}\n" for name, value in fields.items() if value != ())
