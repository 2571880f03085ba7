"""`segspec check`: builds a net as training would and tells what it found."""

from __future__ import annotations

import json as json_text
from dataclasses import replace

from segspec.errors import Diagnostic, SpecError
from segspec.graph.build import build
from segspec.graph.graph import Graph
from segspec.graph.inputs import net_inputs
from segspec.graph.memory import Setting, predict_memory
from segspec.graph.summary import as_record, as_text, summarize
from segspec.graph.summary import size as bytes_text
from segspec.graph.trainable import find_idleness, find_need_of_batch, find_other_class_count, find_unsettled
from segspec.layers.base import Blob
from segspec.spec.netspec import NetSpec, Phase
from segspec.spec.solver import Solver


def check(
    spec: NetSpec,
    size: tuple[int, int] | None = None,
    phase: Phase = "TRAIN",
    *,
    json: bool = False,
    solver: Solver | None = None,
) -> str:
    """The table of a net's layers and costs.

    Args:
        spec: the net.
        size: (height, width) of the images; by default what the spec declares.
        phase: TRAIN, TEST, or DEPLOY, which leaves out what needs labels.
        json: whether to give JSON rather than a table.
        solver: how it is to be trained, for the memory; by default with SGD in float32.

    Raises:
        SpecError: when shapes do not fit, or no size is known.
    """
    graph = _build(spec, size, phase)
    summary = summarize(graph)
    batch = _batch(spec)
    memory = predict_memory(graph, Setting.of(solver, batch)) if phase == "TRAIN" else None
    if json:
        record = {} if memory is None else {"batch": batch, "training_bytes": memory.total}
        return json_text.dumps({**as_record(summary), **record}, indent=1)
    title = f"{spec.name}, images of {Blob(graph.inputs['data'].shape[1:])}"
    if spec.classes is not None:
        title += f", {spec.classes.count} classes"
    training = "" if memory is None else f"about {bytes_text(memory.total)} for a batch of {batch}, besides the program"
    return f"{title}\n\n{as_text(summary, training)}"


def find_doubts(spec: NetSpec, size: tuple[int, int] | None = None) -> tuple[Diagnostic, ...]:
    """Warnings of what `train` or `test` would refuse in a net whose shapes fit, and of what it could not learn.

    Raises:
        SpecError: as `check`.
    """
    graph, place = _build(spec, size, "TRAIN"), spec.source.name
    found = find_other_class_count(graph, place)
    if "train" in spec.data:
        height, width, channels = graph.inputs["data"].shape[1:]
        found += (*find_unsettled(spec), *find_need_of_batch(spec, _batch(spec), (height, width), channels))
    return (*(replace(each, severity="warning") for each in found), *find_idleness(graph, place))


def _build(spec: NetSpec, size: tuple[int, int] | None, phase: Phase) -> Graph:
    """The net for one image, or for a batch where it takes none alone."""
    labels = phase != "DEPLOY"
    try:
        return build(spec, phase, net_inputs(spec, size, labels=labels))
    except SpecError as error:
        try:
            return build(spec, phase, net_inputs(spec, size, _batch(spec), labels=labels))
        except SpecError:
            raise error from None


def _batch(spec: NetSpec) -> int:
    """Images in a batch of the training, else of the test."""
    layer = spec.data.get("train") or spec.data.get("test")
    return layer.batch_size if layer else 1
