"""A solver in Caffe's words."""

from __future__ import annotations

from segspec.convert.literals import literal, quoted
from segspec.errors import SpecError
from segspec.spec.solver import Solver

CAFFES_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
CAFFES_POLICIES = ("fixed", "step", "multistep", "exp", "inv", "poly", "sigmoid")
BARE = ("solver_mode",)
"""Fields whose words are an enumeration, which stands without quotes."""
ALWAYS = ("lr_policy", "display", "snapshot", "random_seed")
"""Fields whose default is another in Caffe."""
OURS = ("precision", "keep")
"""Fields that change how a training runs here, not what Caffe would compute."""


def solver_prototxt(solver: Solver, net: str = "") -> str:
    """The solver as a prototxt, one field a line.

    Args:
        solver: what to write.
        net: the path of the net, where one is to be named.

    Raises:
        SpecError: Caffe lacks the update rule, the policy, the warm-up or the device.
    """
    lacking = [
        text
        for text, known in (
            (f"type {solver.type}", solver.type in CAFFES_TYPES),
            (f"lr_policy {solver.lr_policy}", solver.lr_policy in CAFFES_POLICIES),
            ("warmup", not solver.warmup),
            ("solver_mode TPU", solver.solver_mode != "TPU"),
        )
        if not known
    ]
    if lacking:
        raise SpecError(f"Caffe's solver has no {' and no '.join(lacking)}")
    written = solver.model_dump(exclude_none=True, exclude_defaults=True, exclude=set(OURS))
    always = {name: getattr(solver, name) for name in ALWAYS}
    lines = [f"net: {quoted(net)}"] if net else []
    for name, value in {**written, **always}.items():
        values = value if isinstance(value, tuple | list) else (value,)
        lines += [f"{name}: {_word(name, item)}" for item in values]
    return "\n".join(lines) + "\n"


def _word(name: str, value: object) -> str:
    if isinstance(value, str):
        return value if name in BARE else quoted(value)
    assert isinstance(value, int | float)
    return literal(value)
