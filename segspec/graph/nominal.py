"""A net at the size it is meant for, when no image says one."""

from __future__ import annotations

from dataclasses import replace

from segspec.errors import SpecError
from segspec.graph.build import build
from segspec.graph.graph import Graph
from segspec.graph.inputs import declared_size, net_inputs
from segspec.graph.trainable import find_need_of_batch
from segspec.spec.netspec import NetSpec, Phase

FALLBACK_SIZES = ((64, 64), (256, 256), (360, 480), (473, 473), (572, 572), (713, 713))
"""Tried in turn where nothing is declared: a small one, and those that well-known nets with fixed windows need."""


def nominal_graph(spec: NetSpec, phase: Phase = "DEPLOY", size: tuple[int, int] | None = None) -> Graph:
    """A graph for one image of the size asked for, of the declared one, or of some size that the net allows.

    Raises:
        SpecError: the net can be built for none of the sizes tried; the message is that of the first.
    """
    known = size or declared_size(spec)
    refused: list[SpecError] = []
    for candidate in (known,) if known else FALLBACK_SIZES:
        try:
            return build(spec, phase, net_inputs(spec, candidate, labels=phase != "DEPLOY"))
        except SpecError as error:
            refused.append(error)
    for layer in spec.data.values():
        if doubts := find_need_of_batch(spec, layer.batch_size, known or FALLBACK_SIZES[0], layer.channels):
            raise SpecError([replace(doubt, severity="error") for doubt in doubts])
    raise refused[0]
