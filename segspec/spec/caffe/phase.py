"""Which layers of a prototxt belong to a phase: Caffe's `include` and `exclude` rules."""

from __future__ import annotations

from dataclasses import dataclass

from segspec.syntax.tree import Mapping, Node, Scalar

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
    def of(cls, root: Mapping, phase: str) -> NetState:
        """The state that a net's own `state` field gives, in this phase."""
        state = root.get("state")
        if not isinstance(state, Mapping):
            return cls(phase)
        return cls(phase, _number(state.get("level"), 0), frozenset(_texts(state, "stage")))

    def admits(self, layer: Mapping) -> bool:
        """Whether a layer is present: one `include` rule is met, or, without any, no `exclude` rule is."""
        rules = [value for key, value in layer if key.text == "include" and isinstance(value, Mapping)]
        if rules:
            return any(self._meets(rule) for rule in rules)
        excluded = [value for key, value in layer if key.text == "exclude" and isinstance(value, Mapping)]
        return not any(self._meets(rule) for rule in excluded)

    def _meets(self, rule: Mapping) -> bool:
        phase = rule.get("phase")
        if isinstance(phase, Scalar) and _phase(phase) != self.phase:
            return False
        if not _number(rule.get("min_level"), self.level) <= self.level <= _number(rule.get("max_level"), self.level):
            return False
        return self.stages.issuperset(_texts(rule, "stage")) and self.stages.isdisjoint(_texts(rule, "not_stage"))


def _phase(node: Scalar) -> str:
    return _PHASES.get(node.value, "") if isinstance(node.value, int) else node.text


def _number(node: Node | None, default: int) -> int:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, int) else default


def _texts(node: Mapping, name: str) -> list[str]:
    return [value.text for key, value in node if key.text == name and isinstance(value, Scalar)]
