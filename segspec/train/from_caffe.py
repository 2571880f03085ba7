"""Going on with a training of Caffe, from the state of its solver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segspec.errors import UsageError, WeightsError
from segspec.graph.graph import Graph
from segspec.spec.solver import Solver
from segspec.train.caffe_history import rounds_of, with_history
from segspec.train.step import TrainState
from segspec.weights.files import Blobs
from segspec.weights.solverstate import SolverState, name_history, read_solverstate

History = tuple[Blobs, ...]
"""One tree of arrays for each round of a solver's history."""


@dataclass(frozen=True)
class CaffeTraining:
    """Where a training of Caffe stands.

    Attributes:
        path: the `.solverstate`.
        state: what it holds.
        solver: how the training goes on.
    """

    path: Path
    state: SolverState
    solver: Solver

    @property
    def iteration(self) -> int:
        """Updates that were made."""
        return self.state.iteration

    def find_weights(self) -> Path:
        """The file of weights that belongs to it: where it says, or of that name beside it."""
        named = Path(self.state.learned_net)
        for path in (named, self.path.with_name(named.name)):
            if named.name and path.is_file():
                return path
        hint = "name them with --weights"
        raise WeightsError(f"its weights '{self.state.learned_net}' are not there", place=str(self.path), hint=hint)

    def history(self, graph: Graph) -> History:
        """The history by layer and blob. Raises WeightsError where it is of another net or update rule."""
        return name_history(graph, self.state.history, rounds_of(self.solver.type), str(self.path))

    def go_on(self, start: TrainState, history: History) -> TrainState:
        """The state of a training that has made as many updates, with this history."""
        return start._replace(optimizer=with_history(start.optimizer, history, self.iteration))


def read_caffe_training(path: Path, solver: Solver) -> CaffeTraining:
    """Reads the state of a solver.

    Raises:
        WeightsError: the file cannot be used.
        UsageError: the training is over, or goes on by a rule that Caffe does not have.
    """
    if not rounds_of(solver.type):
        raise UsageError(f"a training of Caffe cannot go on with type {solver.type}", hint="use the type it began with")
    state = read_solverstate(path)
    if state.iteration >= solver.max_iter:
        hint = f"--solver-set max_iter=M with M greater than {state.iteration} prolongs it"
        message = f"the training is at iteration {state.iteration}, and max_iter is {solver.max_iter}"
        raise UsageError(message, hint=hint, place=str(path))
    return CaffeTraining(path, state, solver)
