"""Arrays of a torch module under the names that a net gives them.

Filters and matrices lie as Caffe's do: (out, in, height, width), transposed convolutions (in, out, height, width).
"""

from __future__ import annotations

from collections.abc import Mapping

from segspec.graph.graph import GraphLayer
from segspec.layers.activation import PReLU
from segspec.layers.dense import InnerProduct
from segspec.layers.normalization import BN, BatchNorm
from segspec.proto.blob import Array
from segspec.weights.caffe_blobs import moving_fraction
from segspec.weights.layout import running_from_averages

_STATISTICS = frozenset(("running_mean", "running_var", "num_batches_tracked"))


def name_torch_blobs(layer: GraphLayer, own: Mapping[str, Array]) -> dict[str, Array]:
    """A module's arrays by the names that the layer has for them, in Caffe's shapes.

    What the layer has no name for is left as it is; how many batches were averaged is left out.

    Args:
        layer: of the net.
        own: the arrays of the module, such as `weight` and `running_mean`.
    """
    names = {"weight": "slope"} if isinstance(layer.layer, PReLU) else {}
    if isinstance(layer.layer, BatchNorm | BN):
        names = {"weight": "scale", "bias": "shift"}
    found = {names.get(name, name): array for name, array in own.items() if name not in _STATISTICS}
    if isinstance(layer.layer, InnerProduct) and layer.layer.transpose and "weight" in own:
        found["weight"] = own["weight"].T
    if isinstance(layer.layer, BatchNorm | BN) and layer.state and {"running_mean", "running_var"} <= own.keys():
        mean, variance = own["running_mean"], own["running_var"]
        found.update(running_from_averages(mean, variance, moving_fraction(layer.layer)))
    return found
