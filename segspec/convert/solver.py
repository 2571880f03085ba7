"""A solver in the words of the other file format."""

from __future__ import annotations

from segspec.errors import SpecError
from segspec.spec.solver import Solver
from segspec.syntax.write import flow

CAFFES_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
CAFFES_POLICIES = ("fixed", "step", "multistep", "exp", "inv", "poly", "sigmoid")
QUOTED = ("type", "lr_policy", "regularization_type", "snapshot_prefix")
ALWAYS = ("display", "snapshot")
"""Fields whose default is another in Caffe."""
OURS = ("precision", "keep")
"""Fields that change how a training runs here, not what Caffe would compute."""


def solver_yaml(solver: Solver) -> str:
    """The solver as YAML, one field a line, defaults left out."""
    fields = solver.model_dump(exclude_defaults=True, exclude_none=True)
    return "".join(f"{name}: {flow(value)}\n" for name, value in fields.items())


def solver_prototxt(solver: Solver, net: str = "") -> str:
    """The solver as a prototxt, one field a line.

    Args:
        solver: what to write.
        net: the path of the net, which Caffe's solver names.

    Raises:
        SpecError: Caffe lacks the update rule, the policy or the warm-up.
    """
    lacking = [
        text
        for text, known in (
            (f"type {solver.type}", solver.type in CAFFES_TYPES),
            (f"lr_policy {solver.lr_policy}", solver.lr_policy in CAFFES_POLICIES),
            ("warmup", not solver.warmup),
        )
        if not known
    ]
    if lacking:
        raise SpecError(f"Caffe's solver has no {' and no '.join(lacking)}")
    written = solver.model_dump(exclude_none=True, exclude_defaults=True, exclude=set(OURS))
    always = {name: getattr(solver, name) for name in ALWAYS}
    lines = [f'net: "{net}"'] if net else []
    for name, value in {**written, **always}.items():
        values = value if isinstance(value, tuple | list) else (value,)
        lines += [f"{name}: {_word(name, item)}" for item in values]
    return "\n".join(lines) + "\n"


def _word(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if name in QUOTED else str(value)
