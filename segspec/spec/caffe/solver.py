"""A solver from a Caffe prototxt: the same typed solver that YAML gives, and the nets that it names."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from itertools import chain

from segspec.errors import Diagnostic, Source, Span, did_you_mean
from segspec.schema.read import read_model
from segspec.spec.caffe.fields import messages, text, texts
from segspec.spec.caffe.override import fill_templates
from segspec.spec.caffe.phase import NetState
from segspec.spec.caffe.types import Unknown, typed_value
from segspec.spec.override import apply_overrides
from segspec.spec.solver import Solver
from segspec.syntax.prototxt import parse_prototxt
from segspec.syntax.tree import Mapping, Node, Problems, Scalar

NET_FIELDS = (
    *("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param"),
    *("train_state", "test_state"),
)
SILENT = (
    *("device_id", "debug_info", "layer_wise_reduce", "snapshot_diff", "snapshot_format", "test_compute_loss"),
    *("solver_type", "solver_data_type"),
)
"""Fields that choose where and how Caffe computes and what its files look like, or that are read elsewhere."""

CAFFES_DEFAULTS = {"display": 0, "momentum": 0.0, "snapshot": 0}
"""What Caffe means by leaving a field out, where a YAML solver means something else."""

_ENUMS = {"solver_mode": {0: "CPU", 1: "GPU"}}
_OLD_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
"""The values of `solver_type` in the order of their numbers."""

_TRAIN = ("net", "net_param", "train_net", "train_net_param")


@dataclass(frozen=True)
class NetUse:
    """A net as a solver uses it.

    Attributes:
        path: its file; empty where the net stands in the solver itself.
        tree: the net that stands in the solver, or None.
        span: where the solver says so.
        state: phase, stages and level that its layers are chosen by.
    """

    path: str
    tree: Mapping | None
    span: Span
    state: NetState


@dataclass(frozen=True)
class CaffeSolver:
    """What a solver's prototxt says.

    Attributes:
        solver: how the net is trained.
        train: the net, or None where it names none.
        tests: the nets that are tested, in order.
        warnings: what of it has no meaning here.
    """

    solver: Solver
    train: NetUse | None
    tests: tuple[NetUse, ...]
    warnings: tuple[Diagnostic, ...]


def read_caffe_solver(source: Source, overrides: Items[str] = ()) -> CaffeSolver:
    """Reads a solver from the text of a prototxt.

    Args:
        source: the text.
        overrides: `NAME=VALUE` for a word `${NAME}`, or a field of the solver.

    Raises:
        SpecError: with every mistake that was found.
    """
    problems = Problems()
    root, rest = fill_templates(parse_prototxt(source), overrides, problems, "--solver-set")
    warnings = list(_warn_of_unknown(root))
    entries = Mapping(tuple(_entries(root, problems)), root.span)
    changed = apply_overrides(entries, rest, tuple(Solver.model_fields), problems, "--solver-set")
    solver = read_model(Solver, changed, problems, "the solver")
    train, tests = _train_use(root, problems), _test_uses(root, problems)
    if len(tests) > 1:
        warnings.append(_warning("only the first test net is tested", tests[1].span))
    problems.raise_any()
    assert solver is not None
    return CaffeSolver(solver, train, tests, tuple(warnings))


def _warning(message: str, span: Span, hint: str = "") -> Diagnostic:
    return Diagnostic(message, span, hint, severity="warning")


def _warn_of_unknown(root: Mapping) -> Iterator[Diagnostic]:
    """A warning for each field of a fork, however often it stands there."""
    known = (*Solver.model_fields, *NET_FIELDS, *SILENT)
    seen: set[str] = set()
    for key, _ in root:
        if key.text not in known and key.text not in seen:
            hint = "start from them with --weights" if key.text == "weights" else did_you_mean(key.text, known)
            yield _warning(f"the solver has no parameter '{key.text}'; it is left out", key.span, hint)
        seen.add(key.text)


def _entries(root: Mapping, problems: Problems) -> Iterator[tuple[Scalar, Node]]:
    """What a YAML solver would say: each field once, in the type it has there."""
    for name, info in Solver.model_fields.items():
        values = [value for key, value in root if key.text == name]
        if name == "test_iter":
            values = values[:1]
        if values:
            key = root.key(name)
            assert key is not None
            unknown: Unknown = []
            yield key, _usual(name, typed_value(values, info.annotation, _ENUMS.get(name, {}), unknown))
        elif name == "type" and (old := root.get("solver_type")) is not None:
            yield Scalar(name, old.span), _new_type(old, problems)
        elif name in CAFFES_DEFAULTS:
            yield Scalar(name, root.span), Scalar(CAFFES_DEFAULTS[name], root.span)


def _usual(name: str, value: Node) -> Node:
    """What stands for Caffe's default, as a field that is left out: a negative seed, and a GPU.

    A solver for GPUs then trains on the best device that is found; `--solver-set solver_mode=GPU` insists.
    """
    if not isinstance(value, Scalar):
        return value
    if name == "random_seed" and isinstance(value.value, int) and value.value < 0:
        return replace(value, value=0)
    return replace(value, value=None) if (name, value.value) == ("solver_mode", "GPU") else value


def _new_type(old: Node, problems: Problems) -> Node:
    """The type that `solver_type` named by a number or in capitals."""
    if isinstance(old, Scalar):
        by_name = {kind.upper(): kind for kind in _OLD_TYPES}
        number = old.value if isinstance(old.value, int) else -1
        kind = _OLD_TYPES[number] if 0 <= number < len(_OLD_TYPES) else by_name.get(old.text)
        if kind is not None:
            return replace(old, value=kind)
    problems.add(f"'solver_type' is one of {', '.join(map(str.upper, _OLD_TYPES))}", old.span)
    return Scalar(_OLD_TYPES[0], old.span)


def _train_use(root: Mapping, problems: Problems) -> NetUse | None:
    """The net that is trained; there may be only one."""
    state = _state(messages(root, "train_state")[:1], "TRAIN")
    found = [use for name in _TRAIN for use in _uses(root, name, state)]
    for use in found[1:]:
        problems.add("the solver names more than one net to train", use.span, "keep one of them")
    return found[0] if found else None


def _test_uses(root: Mapping, problems: Problems) -> tuple[NetUse, ...]:
    """The nets that are tested: those for tests, then the net itself for every `test_iter` beyond them."""
    state = NetState("TEST")
    own = list(chain(_uses(root, "test_net_param", state), _uses(root, "test_net", state)))
    count = len(texts(root, "test_iter"))
    generic = [*_uses(root, "net", state), *_uses(root, "net_param", state)][:1]
    uses = [*own, *generic * max(0, count - len(own))]
    states = messages(root, "test_state")
    if states and len(states) != len(uses):
        message = f"the solver has {len(states)} 'test_state' for {len(uses)} test nets"
        problems.add(message, states[0].span, "one for each 'test_iter', or none")
    given = [_state([node], "TEST") for node in states]
    return tuple(replace(use, state=own) for use, own in zip(uses, given or [state] * len(uses), strict=False))


def _uses(root: Mapping, name: str, state: NetState) -> Iterator[NetUse]:
    for node in messages(root, name):
        yield NetUse("", node, node.span, state)
    for path in texts(root, name):
        yield NetUse(path.text, None, path.span, state)


def _state(nodes: Items[Mapping], phase: str) -> NetState:
    """The state that a solver asks for: the words of its `train_state` or `test_state`."""
    node = nodes[0] if nodes else None
    if node is None:
        return NetState(phase)
    level = text(node, "level")
    return NetState(phase, int(level) if level.isdigit() else 0, frozenset(word.text for word in texts(node, "stage")))
