"""From an image of any size to a label for each of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from segspec.errors import SpecError
from segspec.evaluate.model import Model, deploy_graph
from segspec.graph.graph import Graph
from segspec.graph.nominal import nominal_graph
from segspec.layers.unpooling import Unpooling, Upsample
from segspec.net import Tree, apply
from segspec.ops.resize import resize_bilinear

Image = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
Moments = tuple[jax.Array, jax.Array]
"""(height, width, classes) mean probabilities; (height, width) squared deviations, summed over samples and classes."""

MAX_STRIDE = 128
KEPT_SIZES = 16


class Prediction(NamedTuple):
    """What a net says of an image.

    Attributes:
        labels: (height, width), the class of each pixel.
        uncertainty: (height, width), the variance of the class probabilities between samples, summed over the classes:
            0 where all samples agree, below 1 everywhere; None where one sample was drawn.
    """

    labels: Labels
    uncertainty: npt.NDArray[np.float32] | None


class Predictor:
    """Predicts images one by one; a compiled function is kept for each size of image seen lately.

    An image is resized as the net's data declaration says, padded (by repeating its border) up to the next size the net
    can be built at, run, cropped back, and its scores are resized bilinearly to the image's own size before the best
    class is taken. Where the net can be built at no such size, as with sizes of Upsample layers written as numbers, the
    image is resized to the one that the net is meant for, which `resized` then holds.

    With several samples a net that is random at test, by a Dropout with `sample_weights_test`, is asked as often, and
    the best class is that of the mean probabilities. Source: Kendall, Badrinarayanan, Cipolla 2017, Bayesian SegNet.

    Args:
        model: the net.
        samples: how often it is asked.
        seed: of the samples.

    Raises:
        SpecError: several samples are wanted of a net that is not random.
    """

    def __init__(self, model: Model, *, samples: int = 1, seed: int = 0):
        if samples > 1:
            _refuse_certain(model)
        self.model = model
        self.samples = samples
        self.key = jax.random.key(seed)
        self.resized: tuple[int, int] | None = None
        self._compiled = lru_cache(KEPT_SIZES)(self._compile)
        self._allowed = lru_cache(KEPT_SIZES)(self._allow)

    def predict(self, image: Image) -> Prediction:
        """The class of each pixel.

        Args:
            image: (height, width, channels), blue, green, red, 0..255.
        """
        prepared = self._resize(image)
        padded_size, run = self._compiled(prepared.shape[:2], image.shape[:2])
        bottom, right = padded_size[0] - prepared.shape[0], padded_size[1] - prepared.shape[1]
        padded = np.pad(prepared, ((0, bottom), (0, right), (0, 0)), mode="edge")
        labels, uncertainty = run(self.model.params, self.model.state, padded[None], self.key)
        return Prediction(np.asarray(labels), None if uncertainty is None else np.asarray(uncertainty))

    def _resize(self, image: Image) -> Image:
        layer = self.model.data
        declared = (getattr(layer, "new_height", None), getattr(layer, "new_width", None))
        height, width = self._allowed(image.shape[:2] if None in declared else declared)
        if image.shape[:2] == (height, width):
            return image
        import cv2

        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, np.uint8).reshape(height, width, image.shape[2])

    def _allow(self, size: tuple[int, int]) -> tuple[int, int]:
        """A size itself, if the net can be built at it or a larger one; else the size that the net is meant for."""
        refusal: SpecError | None = None
        try:
            if not misplaces_maxima(fitting_graph(self.model, size)[1]):
                return size
        except SpecError as error:
            refusal = error
        meant = nominal_graph(self.model.spec)
        _, height, width, _ = meant.inputs["data"].shape
        if size == (height, width) or misplaces_maxima(meant):
            if refusal is not None:
                raise refusal
            return size
        self.resized = (height, width)
        return self.resized

    def _compile(
        self, prepared: tuple[int, int], wanted: tuple[int, int]
    ) -> tuple[tuple[int, int], Callable[..., tuple[jax.Array, jax.Array | None]]]:
        """The size to pad to, and the jitted function from a padded image to what is said of the wanted size."""
        size, graph = fitting_graph(self.model, prepared)
        model, score = self.model, graph.prediction
        assert score is not None

        def ask(params: Tree, state: Tree, images: jax.Array, key: jax.Array) -> jax.Array:
            """The scores, or probabilities where the net ends with them, of each pixel."""
            data = images.astype(jnp.float32) if model.data is None else model.data.normalize(images)
            outputs = apply(
                graph,
                params,
                state,
                {"data": data},
                key=key,
                dtype=model.dtype,
                statistics=model.statistics,
                want=(score,),
            )
            scores = outputs.blobs[score].astype(jnp.float32)
            scores = resize_bilinear(scores, size, align_corners=False)[:, : prepared[0], : prepared[1]]
            return resize_bilinear(scores, wanted, align_corners=False)[0]

        def once(params: Tree, state: Tree, images: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
            return likeliest(ask(params, state, images, key)).astype(jnp.uint8), None

        def often(params: Tree, state: Tree, images: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            def add(moments: Moments, number: jax.Array) -> tuple[Moments, None]:
                found = ask(params, state, images, jax.random.fold_in(key, number))
                return _with_sample(moments, found if certain else jax.nn.softmax(found), number), None

            certain = _gives_probabilities(graph)
            shape = (*wanted, graph.blobs[score].shape[-1])
            none = (jnp.zeros(shape, jnp.float32), jnp.zeros(wanted, jnp.float32))
            (mean, deviation), _ = jax.lax.scan(add, none, jnp.arange(self.samples))
            return likeliest(mean).astype(jnp.uint8), jnp.maximum(deviation, 0.0) / self.samples

        return size, jax.jit(once if self.samples == 1 else often)


def likeliest(scores: jax.Array) -> jax.Array:
    """The class of each pixel: (..., classes) to (...). One channel, as of edges, is a logit: above 0 it is class 1."""
    return scores[..., 0] > 0 if scores.shape[-1] == 1 else jnp.argmax(scores, axis=-1)


def _with_sample(moments: Moments, sample: jax.Array, count: jax.Array) -> Moments:
    """Mean, and summed squared deviation from it, after `count` samples and one more (Welford's update)."""
    mean, deviation = moments
    away = sample - mean
    mean = mean + away / (count + 1)
    return mean, deviation + jnp.sum(away * (sample - mean), axis=-1)


def _gives_probabilities(graph: Graph) -> bool:
    """Whether the blob of scores is a softmax already."""
    return any(layer.layer.type == "Softmax" and graph.prediction in layer.tops for layer in graph.layers)


def _refuse_certain(model: Model) -> None:
    if not any(getattr(layer.layer, "sample_weights_test", False) for layer in model.spec.layers):
        hint = "give its Dropout layers sample_weights_test: true"
        message = "the net says the same however often it is asked: no layer is random at test"
        raise SpecError(message, place=model.spec.source.name, hint=hint)


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
