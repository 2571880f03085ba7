"""What a net costs before anything is trained: a table of layers and totals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from segspec.graph.graph import Graph
from segspec.graph.receptive_field import Field, receptive_fields


@dataclass(frozen=True)
class Row:
    """One layer of the table.

    Attributes:
        layer, type: name and type.
        output: shape of the first output, without the batch.
        parameters: numbers learned by the layer itself.
        multiply_adds: of one forward pass over one image.
        activations: bytes of all outputs for one image.
        field: receptive field of the first output, or None for losses and metrics.
    """

    layer: str
    type: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activations: int
    field: Field | None


@dataclass(frozen=True)
class Summary:
    """The table and its totals, for one image.

    Attributes:
        rows: one a layer.
        parameters: numbers learned by the net, shared blobs once.
        multiply_adds: of one forward pass.
        input_bytes: the image, its label and whatever else is fed.
        training_bytes: all outputs, as a backward pass needs them.
        inference_bytes: the most that is alive at once when outputs are dropped after their last use.
        scores: shape and receptive field of the class scores, or None.
    """

    rows: tuple[Row, ...]
    parameters: int
    multiply_adds: int
    input_bytes: int
    training_bytes: int
    inference_bytes: int
    scores: tuple[tuple[int, ...], Field] | None


def summarize(graph: Graph) -> Summary:
    """The costs of a graph for one image, whatever batch it was built for."""
    fields = receptive_fields(graph)
    images = graph.inputs["data"].shape[0]
    rows = []
    for layer in graph.layers:
        feature = layer.layer.role == "feature" and bool(layer.tops)
        activations = sum(blob.bytes for blob in layer.outputs) // images
        output = layer.outputs[0].shape[1:] if layer.outputs else ()
        field = fields[layer.tops[0]] if feature else None
        kind = layer.layer.type
        products = layer.multiply_adds // images
        rows.append(Row(layer.name, kind, output, layer.parameters, products, activations, field))
    scores = None
    if graph.prediction is not None:
        scores = (graph.blobs[graph.prediction].shape[1:], fields[graph.prediction])
    return Summary(
        tuple(rows),
        graph.parameters,
        sum(row.multiply_adds for row in rows),
        sum(blob.bytes for blob in graph.inputs.values()) // images,
        sum(row.activations for row in rows),
        _peak_alive(graph) // images,
        scores,
    )


def _peak_alive(graph: Graph) -> int:
    """Bytes of the outputs alive together at the worst moment, each dropped after its last reader."""
    last = {bottom: index for index, layer in enumerate(graph.layers) for bottom in layer.bottoms}
    alive = {name: blob.bytes for name, blob in graph.inputs.items()}
    total = peak = sum(alive.values())
    for index, layer in enumerate(graph.layers):
        for top, blob in zip(layer.tops, layer.outputs, strict=True):
            alive[top] = blob.bytes
            total += alive[top]
        peak = max(peak, total)
        for name in {*layer.bottoms, *layer.tops} - {graph.prediction}:
            if last.get(name, -1) <= index:
                total -= alive.pop(name, 0)
    return peak


def as_text(summary: Summary, training: str = "") -> str:
    """The summary as a table for a terminal.

    Args:
        summary: of one image.
        training: what is said of the memory of a training; empty: nothing.
    """
    header = ("layer", "type", "output", "parameters", "multiply-adds", "activations", "sees")
    cells = [
        (
            row.layer,
            row.type,
            shape(row.output),
            f"{row.parameters:,}" if row.parameters else "",
            count(row.multiply_adds) if row.multiply_adds else "",
            size(row.activations) if row.output else "",
            _seen(row.field) if row.field else "",
        )
        for row in summary.rows
    ]
    return "\n".join([*_aligned([header, *cells], left=2), "", *_totals(summary, training)])


def _totals(summary: Summary, training: str) -> Iterable[str]:
    weights = 4 * summary.parameters
    yield f"parameters     {summary.parameters:,}  ({size(weights)})"
    forward, both = count(summary.multiply_adds), count(3 * summary.multiply_adds)
    yield f"multiply-adds  {forward} an image to infer, about {both} to train"
    yield f"inference      about {size(summary.inference_bytes + weights)} for one image"
    if training:
        yield f"training       {training}"
    if summary.scores is not None:
        scores, field = summary.scores
        yield f"scores         {shape(scores)}; each sees {_seen(field)} of {field.image[0]}x{field.image[1]} pixels"


def _seen(field: Field) -> str:
    return "all" if field.whole else "x".join(map(str, field.extent))


def _aligned(rows: list[tuple[str, ...]], left: int) -> list[str]:
    """Columns padded to equal width: the first `left` flush left, the others flush right; a rule under the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        parts = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def shape(dimensions: tuple[int, ...]) -> str:
    """`90x120x64`, or `scalar`."""
    return "x".join(map(str, dimensions)) or "scalar"


def count(number: int) -> str:
    """A large count with a unit: 53.7 G."""
    for unit, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return str(number)


def size(number: int) -> str:
    """Bytes with a binary unit: 12.4 MB."""
    for unit, factor in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"


def as_record(summary: Summary) -> dict[str, Any]:
    """The summary as plain values, for `--json`."""
    rows = [
        {
            "layer": row.layer,
            "type": row.type,
            "output": list(row.output),
            "parameters": row.parameters,
            "multiply_adds": row.multiply_adds,
            "activation_bytes": row.activations,
            "receptive_field": list(row.field.extent) if row.field else None,
        }
        for row in summary.rows
    ]
    return {
        "layers": rows,
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "input_bytes": summary.input_bytes,
        "training_activation_bytes": summary.training_bytes,
        "inference_activation_bytes": summary.inference_bytes,
    }
