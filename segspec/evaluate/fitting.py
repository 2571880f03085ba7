"""At which sizes a net can be asked: the graph for an image, or the next larger one that the net allows."""

from __future__ import annotations

from segspec.errors import SpecError
from segspec.evaluate.model import Model, deploy_graph
from segspec.graph.graph import Graph
from segspec.layers.unpooling import Unpooling, Upsample

MAX_STRIDE = 128


def fitting_graph(model: Model, size: tuple[int, int]) -> tuple[tuple[int, int], Graph]:
    """The graph at the smallest size, from this one upwards in multiples of powers of two, that the net allows.

    A size at which maxima come to other places than they were found at is taken only if there is no other.

    Raises:
        SpecError: when the net cannot be built at any of them; the message is that of the size itself.
    """
    first: SpecError | None = None
    misplacing: tuple[tuple[int, int], Graph] | None = None
    stride = 1
    while stride <= MAX_STRIDE:
        padded = (-(-size[0] // stride) * stride, -(-size[1] // stride) * stride)
        try:
            graph = deploy_graph(model.spec, 1, padded, model.channels)
        except SpecError as error:
            first = first or error
        else:
            _refuse_unusable(graph, model)
            if not misplaces_maxima(graph):
                return padded, graph
            misplacing = misplacing or (padded, graph)
        stride *= 2
    if misplacing is not None:
        return misplacing
    assert first is not None
    raise first


def misplaces_maxima(graph: Graph) -> bool:
    """Whether an unpooling makes an image of another size than was pooled: positions, counted by rows, then shift."""
    for layer in graph.layers:
        window = layer.inputs[1].window if isinstance(layer.layer, Upsample | Unpooling) and layer.inputs[1:] else None
        if window is not None and window.input != graph.blobs[layer.tops[0]].shape[1:3]:
            return True
    return False


def _refuse_unusable(graph: Graph, model: Model) -> None:
    if graph.prediction is None or len(graph.blobs[graph.prediction].shape) != 4:
        found = "no scores" if graph.prediction is None else f"'{graph.prediction}' ({graph.blobs[graph.prediction]})"
        hint = "name the blob of scores with 'output:' in the spec"
        raise SpecError(f"the net gives no image of class scores, but {found}", place=model.spec.source.name, hint=hint)
