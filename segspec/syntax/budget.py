"""How large a spec may grow while its macros are carried out."""

from __future__ import annotations

from dataclasses import dataclass

from segspec.errors import Diagnostic, Span, SpecError

MAX_LAYERS = 5_000
MAX_VALUES = 100_000
BLOCK_VALUES = 40  # what the use of a block counts besides the values in it
MAX_DEPTH = 30
MAX_NESTING = 40


@dataclass
class Budget:
    """How far a spec may still grow, for a few lines can stand for more layers than there are atoms."""

    layers: int = MAX_LAYERS
    values: int = MAX_VALUES

    def take_layers(self, count: int, span: Span) -> None:
        """Counts layers, blocks or rows of a loop. Raises SpecError when there are too many."""
        self.layers -= count
        if self.layers < 0:
            raise SpecError(Diagnostic(f"the spec expands to more than {MAX_LAYERS} layers", span))

    def take_values(self, count: int, span: Span) -> None:
        """Counts values that are written or filled in. Raises SpecError when there are too many."""
        self.values -= count
        if self.values < 0:
            raise SpecError(Diagnostic(f"the spec expands to more than {MAX_VALUES} values", span))
