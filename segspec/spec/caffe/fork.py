"""Whose Caffe a prototxt was written for, and what of it says nothing about the net."""

from __future__ import annotations

from collections.abc import Sequence as Items

from segspec.spec.caffe.fields import text, texts
from segspec.spec.caffe.layer import Dialect
from segspec.syntax.tree import Mapping

NET_SILENT = (
    *("force_backward", "debug_info", "eltwise_mem_sharing", "global_grad_scale", "reduce_buckets"),
    *("default_forward_type", "default_backward_type", "default_forward_math", "default_backward_math"),
    *("default_conv_algos_override", "default_cudnn_math_override", "global_grad_scale_adaptive"),
)
"""Fields of a net that choose how Caffe and NVIDIA's fork compute."""

SINKS = frozenset(("MatWrite", "HDF5Output"))
"""Types that write what they read to files, which commands do here."""

_SEGNET_TYPES = frozenset(("BN", "Upsample", "DenseImageData"))


def tell_dialect(layers: Items[Mapping]) -> Dialect:
    """caffe-segnet's where a layer type or a pooling mask shows it, else BVLC's."""
    for layer in layers:
        kind = text(layer, "type")
        if kind in _SEGNET_TYPES or (kind == "Pooling" and len(texts(layer, "top")) > 1):
            return "segnet"
    return "bvlc"
