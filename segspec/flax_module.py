"""`SpecNet`: a network spec as a Flax NNX module, for people who train with Flax their own way."""

from __future__ import annotations

from collections.abc import Mapping

import jax
from flax import nnx

from segspec.graph.graph import Graph
from segspec.net import Outputs, Tree, apply, init


class SpecNet(nnx.Module):
    """A network spec as a Flax module.

    Holds the same trees as the core: `params` as `nnx.Param`, `state` as `nnx.BatchStat`, each `{layer: {blob: ...}}`.
    Calling it gives what `segspec.net.apply` gives, and updates the state when training.

    Example:
        >>> net = SpecNet(graph, seed=1)
        >>> scores = net({"data": images}).blobs[graph.prediction]
    """

    def __init__(self, graph: Graph, seed: int = 0):
        params, state = init(graph, seed)
        self.graph = graph
        self.params = nnx.data(jax.tree.map(nnx.Param, params))
        self.batch_stats = nnx.data(jax.tree.map(nnx.BatchStat, state))

    def __call__(
        self,
        inputs: Mapping[str, jax.Array],
        *,
        train: bool = False,
        key: jax.Array | None = None,
        want: tuple[str, ...] | None = None,
    ) -> Outputs:
        """Runs the net.

        Args:
            inputs: arrays for `graph.inputs`.
            train: whether the phase is TRAIN; the module's statistics are then updated.
            key: random key for dropout.
            want: blobs to return beside losses and metrics; by default the class scores.
        """
        if want is None:
            want = (self.graph.prediction,) if self.graph.prediction else ()
        outputs = apply(
            self.graph, _values(self.params), _values(self.batch_stats), inputs, train=train, key=key, want=want
        )
        if train:
            self.batch_stats = nnx.data(jax.tree.map(nnx.BatchStat, outputs.state))
        return outputs


def _values(tree: Mapping[str, Mapping[str, nnx.Variable[jax.Array]]]) -> Tree:
    return {layer: {blob: variable[...] for blob, variable in blobs.items()} for layer, blobs in tree.items()}
