"""The test pass inside training: loss, mIoU and accuracy over the test images, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from segspec.evaluate.confusion import count_on_device
from segspec.evaluate.metrics import Metrics
from segspec.graph.graph import Graph
from segspec.layers.data import DataLayer
from segspec.net import Tree, apply


class LabelledBatch(Protocol):
    """What a loader delivers; the last batch of a pass may be padded, `count` samples of it are real."""

    @property
    def data(self) -> npt.NDArray[np.generic]: ...

    @property
    def label(self) -> npt.NDArray[np.generic] | None: ...

    @property
    def count(self) -> int: ...


class Validation(NamedTuple):
    """The outcome of one pass.

    Attributes:
        loss: mean over images; NaN when the net has no loss.
        metrics: of all pixels together.
    """

    loss: float
    metrics: Metrics


def validate(
    graph_for: Callable[[int], Graph],
    data: DataLayer,
    params: Tree,
    state: Tree,
    batches: Iterable[LabelledBatch],
    *,
    classes: int,
    ignore_label: int | None,
    dtype: str,
    compiled: dict[int, Callable[..., tuple[jax.Array, jax.Array]]],
) -> Validation:
    """Runs the net in phase TEST over labelled batches.

    Args:
        graph_for: the TEST graph for a batch of so many images.
        data: the source of the images, for its normalisation.
        params, state: the net's arrays.
        batches: the images and labels.
        classes: number of classes.
        ignore_label: label value that counts nowhere.
        dtype: what convolutions compute in.
        compiled: the functions compiled so far by number of images; kept by the caller from pass to pass.
    """
    matrix = np.zeros((classes, classes), np.int64)
    loss, images = 0.0, 0
    for batch in batches:
        count = batch.count
        assert batch.label is not None
        if count not in compiled:
            compiled[count] = _compile(graph_for(count), data, classes, ignore_label, dtype)
        found, part = compiled[count](params, state, batch.data[:count], batch.label[:count])
        matrix += np.asarray(part, np.int64)
        loss += float(found) * count
        images += count
    return Validation(loss / images if images else float("nan"), Metrics(matrix))


def _compile(
    graph: Graph, data: DataLayer, classes: int, ignore_label: int | None, dtype: str
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    score = graph.prediction
    assert score is not None

    @jax.jit
    def run(params: Tree, state: Tree, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        inputs = {"data": data.normalize(images), "label": labels}
        outputs = apply(graph, params, state, inputs, key=jax.random.key(0), dtype=dtype, want=(score,))
        scores = outputs.blobs[score].astype(jnp.float32)
        if scores.shape[1:3] != labels.shape[1:3]:
            scores = jax.image.resize(scores, (*labels.shape[:3], scores.shape[3]), "linear")
        predicted = jnp.argmax(scores, axis=-1)
        return outputs.loss, count_on_device(predicted, labels[..., 0], classes, ignore_label)

    return run
