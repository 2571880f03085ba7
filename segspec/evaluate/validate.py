"""The test pass inside training: loss, mIoU and accuracy over the test images, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from segspec.data.loader import evaluation_batches
from segspec.data.sample import ImageSource
from segspec.evaluate.answers import likeliest
from segspec.evaluate.confusion import Matrix, count_on_device
from segspec.evaluate.metrics import Metrics
from segspec.graph.build import build
from segspec.graph.graph import Graph
from segspec.graph.inputs import source_inputs
from segspec.layers.data import DataLayer
from segspec.net import Tree, apply
from segspec.ops.resize import resize_bilinear
from segspec.spec.netspec import NetSpec

KEPT_SHAPES = 64


class Validation(NamedTuple):
    """The outcome of one pass.

    Attributes:
        loss: mean over images.
        metrics: of all pixels together.
    """

    loss: float
    metrics: Metrics

    @property
    def miou(self) -> float:
        """Mean IoU, 0..1."""
        return self.metrics.mean_iou

    @property
    def accuracy(self) -> float:
        """Share of right pixels, 0..1."""
        return self.metrics.global_accuracy


Run = Callable[[Tree, Tree, ArrayLike, ArrayLike], tuple[jax.Array, jax.Array]]
Stop = Callable[[], bool]
Validate = Callable[[Tree, Tree, Stop], Validation | None]


def make_validator(spec: NetSpec, source: ImageSource, dtype: str, batches: int = 0, workers: int = 2) -> Validate:
    """A function of parameters and state that tests a net on its test images, in phase TEST.

    It is given a third function, asked after each batch; when that says so, the pass is given up and gives None.

    Args:
        spec: the net, with test data.
        source: the test images; they need labels.
        dtype: what convolutions compute in.
        batches: how many batches a pass takes; 0: every image once.
        workers: threads that read images.
    """
    data = spec.data["test"]
    table = spec.classes

    @lru_cache(KEPT_SHAPES)
    def run_for(count: int, height: int, width: int) -> Run:
        graph = build(spec, "TEST", source_inputs(data, (height, width), count))
        classes = table.count if table else max(2, graph.blobs[graph.prediction or ""].shape[-1])
        return _compile(graph, data, classes, table.ignore_label if table else None, dtype)

    def validate(params: Tree, state: Tree, stop: Stop) -> Validation | None:
        matrices: list[Matrix] = []
        loss, images = 0.0, 0
        with evaluation_batches(source, data.batch_size, workers=workers) as loader:
            for batch in islice(loader, batches or None):
                count = batch.count
                assert batch.label is not None
                run = run_for(count, *batch.data.shape[1:3])
                found, matrix = run(params, state, batch.data[:count], batch.label[:count])
                matrices.append(np.asarray(matrix, np.int64))
                loss += float(found) * count
                images += count
                if stop():
                    return None
        return Validation(loss / images, Metrics(np.sum(matrices, axis=0)))

    return validate


def _compile(graph: Graph, data: DataLayer, classes: int, ignore_label: int | None, dtype: str) -> Run:
    """The compiled pass over one batch: its loss and confusion matrix."""
    score = graph.prediction
    assert score is not None

    @jax.jit
    def run(params: Tree, state: Tree, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        inputs = {"data": data.normalize(images), "label": labels}
        outputs = apply(graph, params, state, inputs, key=jax.random.key(0), dtype=dtype, want=(score,))
        scores = outputs.blobs[score].astype(jnp.float32)
        if labels.ndim > 1:
            scores = resize_bilinear(scores, (labels.shape[1], labels.shape[2]), align_corners=False)
        predicted = likeliest(scores).reshape(labels.shape)
        return outputs.loss, count_on_device(predicted, labels, classes, ignore_label)

    return run
