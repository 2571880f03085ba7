"""Which layers of a prototxt belong to a phase: Caffe's `include` and `exclude` rules."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass

from segspec.spec.caffe.fields import messages, texts
from segspec.syntax.tree import Mapping, Node, Problems, Scalar

_PHASES = {0: "TRAIN", 1: "TEST"}


@dataclass(frozen=True)
class NetState:
    """What the rules of layers are compared with.

    Attributes:
        phase: TRAIN or TEST.
        level: a number that rules can ask for.
        stages: words that rules can ask for.
    """

    phase: str
    level: int = 0
    stages: frozenset[str] = frozenset()

    @classmethod
    def of(cls, root: Mapping, phase: str, stages: Items[str] = (), level: int | None = None) -> NetState:
        """The state of a net in a phase: what its own `state` field says, further stages, and a level that wins."""
        own = messages(root, "state")
        stated = [stage.text for state in own for stage in texts(state, "stage")]
        levels = [_number(state.get("level"), 0) for state in own]
        return cls(phase, [*levels, 0][0] if level is None else level, frozenset((*stated, *stages)))

    def admits(self, layer: Mapping) -> bool:
        """Whether a layer is present: one `include` rule is met, or, without any, no `exclude` rule is."""
        rules = messages(layer, "include")
        if rules:
            return any(self._meets(rule) for rule in rules)
        return not any(self._meets(rule) for rule in messages(layer, "exclude"))

    def in_phase(self, rule: Mapping) -> bool:
        """Whether a rule is about this phase, or about none."""
        phase = rule.get("phase")
        return not isinstance(phase, Scalar) or _phase(phase) == self.phase

    def _meets(self, rule: Mapping) -> bool:
        if not self.in_phase(rule):
            return False
        if not _number(rule.get("min_level"), self.level) <= self.level <= _number(rule.get("max_level"), self.level):
            return False
        wanted, unwanted = _words(rule, "stage"), _words(rule, "not_stage")
        return self.stages.issuperset(wanted) and self.stages.isdisjoint(unwanted)


def check_rules(layer: Mapping, problems: Problems) -> None:
    """Notes every phase that is none: a layer with such a rule would be missing without a word."""
    for rule in (*messages(layer, "include"), *messages(layer, "exclude")):
        phase = rule.get("phase")
        if phase is not None and not (isinstance(phase, Scalar) and _phase(phase) in _PHASES.values()):
            problems.add("a 'phase' is TRAIN or TEST", phase.span)


def missing_stages(layer: Mapping, state: NetState) -> list[str]:
    """The stages that a layer of this phase waits for."""
    rules = [rule for rule in messages(layer, "include") if state.in_phase(rule)]
    return sorted({stage for rule in rules for stage in _words(rule, "stage")} - state.stages)


def _phase(node: Scalar) -> str:
    return _PHASES.get(node.value, "") if isinstance(node.value, int) else node.text


def _number(node: Node | None, default: int) -> int:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, int) else default


def _words(rule: Mapping, name: str) -> list[str]:
    return [word.text for word in texts(rule, name)]
