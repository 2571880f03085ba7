"""What keeps a net from being trained or tested, though its shapes fit: told by `check`, refused or told by `train`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from segspec.errors import Diagnostic, SpecError
from segspec.graph.build import build, image_inputs
from segspec.graph.graph import Graph
from segspec.layers.loss import InfogainLoss
from segspec.spec.classes import LARGEST_LABEL, ClassTable
from segspec.spec.netspec import NetSpec


def find_unsettled(spec: NetSpec) -> tuple[Diagnostic, ...]:
    """What a net that is to be trained lacks, as its file alone shows: a loss, or what a loss needs."""
    if not any(layer.layer.role == "loss" for layer in spec.layers):
        message, hint = "the net has no loss to train with", "end it with SoftmaxWithLoss"
        return (Diagnostic(message, place=spec.source.name, hint=hint),)
    return tuple(_unsettled_losses(spec))


def _unsettled_losses(spec: NetSpec) -> Iterator[Diagnostic]:
    for layer in spec.layers:
        rule = getattr(layer.layer, "class_weights", None)
        if isinstance(rule, str) and spec.classes is None:
            yield Diagnostic(f"class_weights: {rule} counts the pixels of each class", layer.span, "declare 'classes'")
        if isinstance(layer.layer, InfogainLoss) and len(layer.bottoms) == 2 and not layer.layer.matrix:
            yield Diagnostic("the matrix of an InfogainLoss is not read from files", layer.span, "write it as 'matrix'")


def numbered_classes(spec: NetSpec, graph: Graph) -> ClassTable | None:
    """The classes of a net without a class table: one a channel of its scores, known by number only.

    A score of one channel, as of edges, tells two classes apart. What the loss ignores is ignored.

    Args:
        spec: the net.
        graph: the same net, built in any phase.
    """
    if graph.prediction is None:
        return None
    table = ClassTable.numbered(max(2, graph.blobs[graph.prediction].shape[-1]))
    ignored = (getattr(layer.layer, "ignore_label", None) for layer in spec.layers if layer.layer.role == "loss")
    outside = (label for label in ignored if isinstance(label, int) and table.count <= label <= LARGEST_LABEL)
    return replace(table, ignore_label=next(outside, None))


def find_other_class_count(graph: Graph, place: str) -> tuple[Diagnostic, ...]:
    """A score with more or fewer channels than there are classes: it would train, and predict nonsense."""
    if graph.classes is None or graph.prediction is None:
        return ()
    channels = graph.blobs[graph.prediction].shape[-1]
    if channels == graph.classes.count:
        return ()
    message = f"'{graph.prediction}' has {channels} channels for {graph.classes.count} classes"
    return (Diagnostic(message, place=place, hint="write num_output: $classes"),)


def find_idleness(graph: Graph, place: str) -> tuple[Diagnostic, ...]:
    """Why a net with a loss would learn nothing, as warnings."""
    losses = [layer for layer in graph.layers if layer.layer.role == "loss"]
    multipliers = [layer.multipliers[blob][0] for layer, blob, _ in graph.owned_params()]
    message = ""
    if losses and not any(any(layer.loss_weights) for layer in graph.layers):
        message = "every loss has loss_weight 0"
    elif losses and not any(multipliers):
        message = "lr_mult is 0 for every blob" if multipliers else "the net has no learned blobs"
    return (Diagnostic(f"the net learns nothing: {message}", place=place, severity="warning"),) if message else ()


def find_need_of_batch(spec: NetSpec, batch: int, size: tuple[int, int], channels: int) -> tuple[Diagnostic, ...]:
    """A warning where a net can be built for a batch of images, but not for one alone, as tests have it."""
    first = _refusal(spec, 1, size, channels)
    if first is None or _refusal(spec, batch, size, channels) is not None:
        return ()
    message = f"the net takes {batch} images at once but not one, so 'segspec test' cannot use it: {first.message}"
    hint = "let no layer divide the images of a batch (axis: 0)"
    return (Diagnostic(message, first.span, hint, first.place, "warning"),)


def _refusal(spec: NetSpec, batch: int, size: tuple[int, int], channels: int) -> Diagnostic | None:
    """Why a net cannot be built for images without labels, or None."""
    try:
        build(spec, "DEPLOY", image_inputs(batch, *size, channels, labels=False))
    except SpecError as error:
        return error.diagnostics[0]
    return None
