"""From an image of any size to a label for each of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from segspec.errors import SpecError
from segspec.evaluate.answers import (
    Answer,
    Prediction,
    as_probabilities,
    average,
    best_labels,
    conclude,
    ends_in_sigmoid,
    likeliest,
    merge,
)
from segspec.evaluate.fitting import fitting_graph, misplaces_maxima
from segspec.evaluate.model import Model
from segspec.evaluate.views import ONE_VIEW, View, Views
from segspec.graph.graph import Graph
from segspec.graph.nominal import nominal_graph
from segspec.net import Tree, apply
from segspec.ops.resize import resize_bilinear
from segspec.ops.window import Pair

Image = npt.NDArray[np.uint8]

KEPT_SIZES = 16
MISPLACED = "its unpooling would put maxima where they were not found"


Ask = Callable[[Tree, Tree, jax.Array, jax.Array], jax.Array]
"""From params, state, images and a key to the scores of each pixel of the wanted size."""


class Predictor:
    """Predicts images one by one with one net; a compiled function is kept for each size of image seen lately.

    An image is resized as the net's data declaration says, padded (by repeating its border) up to the next size the net
    can be built at, run, cropped back, and its scores are resized bilinearly to the image's own size before the best
    class is taken. Where the net can be built at no such size, as with sizes of Upsample layers written as numbers, the
    image is resized to the one that the net is meant for, which `resized` then holds.

    With several samples a net that is random at test, by a Dropout with `sample_weights_test`, is asked as often; with
    several views it is shown the image mirrored or at other scales, relative to the size that it would have had. The
    best class is then that of the mean probabilities, a softmax of the resized scores. Source of the samples: Kendall,
    Badrinarayanan, Cipolla 2017, Bayesian SegNet.

    Args:
        model: the net.
        views: how each image is shown.
        samples: how often it is asked each time.
        seed: of the samples.

    Raises:
        SpecError: several samples are wanted of a net that is not random.
    """

    def __init__(self, model: Model, *, views: Views = ONE_VIEW, samples: int = 1, seed: int = 0):
        if samples > 1 and not is_random(model):
            raise not_random(model)
        self.model = model
        self.views = views
        self.samples = samples
        self.key = jax.random.key(seed)
        self.resized: Pair | None = None
        self._label = lru_cache(KEPT_SIZES)(self._compile_labels)
        self._answer = lru_cache(KEPT_SIZES * len(views))(self._compile_answer)
        self._allowed = lru_cache(KEPT_SIZES)(self._allow)
        self._scaled = lru_cache(KEPT_SIZES * len(views))(self._scale)

    def predict(self, image: Image) -> Prediction:
        """The class of each pixel.

        Args:
            image: (height, width, channels), blue, green, red, 0..255.

        Raises:
            SpecError: the net takes no image of this size, or not at the scale of a view.
        """
        if len(self.views) == self.samples == 1:
            prepared = self.prepare(image)
            size, run = self._label(prepared.shape[:2], image.shape[:2])
            return Prediction(np.asarray(run(*self._fed(prepared, size, 0))))
        answers = self._answers(image)
        first = next(answers)
        alone = (best_labels(first),) if len(self.views) > 1 else ()
        return conclude(average(chain([first], answers)), alone, uncertain=self.samples > 1)

    def ask(self, image: Image) -> Answer:
        """The probabilities of each pixel, averaged over views and samples; `image` and errors as in `predict`."""
        return average(self._answers(image))

    def prepare(self, image: Image, scale: float = 1.0) -> Image:
        """The image at the size at which the net takes it. Raises SpecError where it takes none at this scale."""
        size = self._size(image, scale)
        if image.shape[:2] == size:
            return image
        resized = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, image.dtype).reshape(*size, image.shape[2])

    def _answers(self, image: Image) -> Iterator[Answer]:
        """An answer for each view."""
        return (self._see(image, number, view) for number, view in enumerate(self.views))

    def _see(self, image: Image, number: int, view: View) -> Answer:
        prepared = self.prepare(image, view.scale)
        size, run = self._answer(prepared.shape[:2], image.shape[:2])
        found = run(*self._fed(prepared[:, ::-1] if view.mirrored else prepared, size, number))
        return Answer(*(value[:, ::-1] for value in found)) if view.mirrored else found

    def _fed(self, prepared: Image, size: Pair, view: int) -> tuple[Tree, Tree, Image, jax.Array]:
        """What a compiled function takes: arrays of the net, the padded image, and the key of its samples."""
        bottom, right = size[0] - prepared.shape[0], size[1] - prepared.shape[1]
        padded = np.pad(prepared, ((0, bottom), (0, right), (0, 0)), mode="edge")
        key = jax.random.fold_in(self.key, view) if view else self.key
        return self.model.params, self.model.state, padded[None], key

    def _size(self, image: Image, scale: float) -> Pair:
        """The size at which an image is shown."""
        layer = self.model.data
        declared = (getattr(layer, "new_height", None), getattr(layer, "new_width", None))
        wanted = image.shape[:2] if None in declared else declared
        size = self._allowed(wanted)
        if size != wanted:
            self.resized = size
        return size if scale == 1.0 else self._scaled(size, scale)

    def _allow(self, size: Pair) -> Pair:
        """A size itself, if the net can be built at it or a larger one; else the size that the net is meant for."""
        refusal = self._refusal(size)
        if refusal is None:
            return size
        meant = nominal_graph(self.model.spec)
        _, height, width, _ = meant.inputs["data"].shape
        if size == (height, width) or misplaces_maxima(meant):
            if isinstance(refusal, SpecError):
                raise refusal
            return size
        return (height, width)

    def _scale(self, size: Pair, scale: float) -> Pair:
        """A size times a scale. Raises SpecError where the net does not allow the result."""
        scaled = (max(1, round(scale * size[0])), max(1, round(scale * size[1])))
        refusal = self._refusal(scaled)
        if refusal is None or (refusal == MISPLACED and misplaces_maxima(nominal_graph(self.model.spec))):
            return scaled
        reason = refusal.diagnostics[0].message if isinstance(refusal, SpecError) else refusal
        message = f"the net cannot be shown images of {size[0]}x{size[1]} at scale {scale:g}, {scaled[0]}x{scaled[1]}"
        hint = f"leave {scale:g} out of --tta; flip needs no other size"
        raise SpecError(f"{message}\n{reason}", place=self.model.spec.source.name, hint=hint)

    def _refusal(self, size: Pair) -> SpecError | str | None:
        """Why the net takes no image of a size, padded or not; None where it does."""
        try:
            graph = fitting_graph(self.model, size)[1]
        except SpecError as error:
            return error
        return MISPLACED if misplaces_maxima(graph) else None

    def _asking(self, prepared: Pair, wanted: Pair) -> tuple[Pair, Graph, Ask]:
        """The size to pad to, the graph, and the function from a padded image to what is said of the wanted size."""
        size, graph = fitting_graph(self.model, prepared)
        model, score = self.model, graph.prediction
        assert score is not None

        def ask(params: Tree, state: Tree, images: jax.Array, key: jax.Array) -> jax.Array:
            data = images.astype(jnp.float32) if model.data is None else model.data.normalize(images)
            given = {"data": data}
            outputs = apply(
                graph, params, state, given, key=key, dtype=model.dtype, statistics=model.statistics, want=(score,)
            )
            scores = outputs.blobs[score].astype(jnp.float32)
            scores = resize_bilinear(scores, size, align_corners=False)[:, : prepared[0], : prepared[1]]
            return resize_bilinear(scores, wanted, align_corners=False)[0]

        return size, graph, ask

    def _compile_labels(self, prepared: Pair, wanted: Pair) -> tuple[Pair, Callable[..., jax.Array]]:
        """The size to pad to, and the jitted function to the best classes."""
        size, graph, ask = self._asking(prepared, wanted)
        decided = ends_in_sigmoid(graph)

        @jax.jit
        def run(params: Tree, state: Tree, images: jax.Array, key: jax.Array) -> jax.Array:
            scores = ask(params, state, images, key)
            return likeliest(as_probabilities(scores, graph) if decided else scores).astype(jnp.uint8)

        return size, run

    def _compile_answer(self, prepared: Pair, wanted: Pair) -> tuple[Pair, Callable[..., Answer]]:
        """The size to pad to, and the jitted function to the mean over samples."""
        size, graph, ask = self._asking(prepared, wanted)

        @jax.jit
        def run(params: Tree, state: Tree, images: jax.Array, key: jax.Array) -> Answer:
            def add(so_far: Answer, number: jax.Array) -> tuple[Answer, None]:
                own = key if self.samples == 1 else jax.random.fold_in(key, number)
                probabilities = as_probabilities(ask(params, state, images, own), graph)
                return merge(so_far, Answer(probabilities, jnp.zeros(wanted, jnp.float32)), number), None

            classes = max(2, graph.blobs[graph.prediction or ""].shape[-1])
            nothing = Answer(jnp.zeros((*wanted, classes), jnp.float32), jnp.zeros(wanted, jnp.float32))
            return jax.lax.scan(add, nothing, jnp.arange(self.samples))[0]

        return size, run


def is_random(model: Model) -> bool:
    """Whether a layer of the net is random at test."""
    return any(getattr(layer.layer, "sample_weights_test", False) for layer in model.spec.layers)


def not_random(model: Model) -> SpecError:
    """What there is to say where several samples are wanted of a net that always says the same."""
    hint = "give its Dropout layers sample_weights_test: true"
    message = "the net says the same however often it is asked: no layer is random at test"
    return SpecError(message, place=model.spec.source.name, hint=hint)
