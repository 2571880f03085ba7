"""From an image of any size to a label for each of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from segspec.errors import SpecError
from segspec.evaluate.model import Model, deploy_graph
from segspec.graph.graph import Graph
from segspec.net import apply
from segspec.ops.resize import resize_bilinear

Image = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
MAX_STRIDE = 128
KEPT_SIZES = 16


class Predictor:
    """Predicts images one by one; a compiled function is kept for each size of image seen lately.

    An image is resized as the net's data declaration says, padded (by repeating its border) up to the next size the net
    can be built at, run, cropped back, and its scores are resized bilinearly to the image's own size before the best
    class is taken.
    """

    def __init__(self, model: Model, *, seed: int = 0):
        self.model = model
        self.key = jax.random.key(seed)
        self._compiled = lru_cache(KEPT_SIZES)(self._compile)

    def labels(self, image: Image) -> Labels:
        """The class of each pixel.

        Args:
            image: (height, width, channels), blue, green, red, 0..255.

        Returns:
            (height, width).
        """
        prepared = self._resize(image)
        padded_size, run = self._compiled(prepared.shape[:2], image.shape[:2])
        bottom, right = padded_size[0] - prepared.shape[0], padded_size[1] - prepared.shape[1]
        padded = np.pad(prepared, ((0, bottom), (0, right), (0, 0)), mode="edge")
        return np.asarray(run(self.model.params, self.model.state, padded[None], self.key))

    def _resize(self, image: Image) -> Image:
        layer = self.model.data
        height, width = getattr(layer, "new_height", None), getattr(layer, "new_width", None)
        if height is None or width is None or image.shape[:2] == (height, width):
            return image
        import cv2

        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, np.uint8).reshape(height, width, image.shape[2])

    def _compile(
        self, prepared: tuple[int, int], wanted: tuple[int, int]
    ) -> tuple[tuple[int, int], Callable[..., jax.Array]]:
        """The size to pad to, and the jitted function from a padded image to the labels of the wanted size."""
        size, graph = fitting_graph(self.model, prepared)
        model, score = self.model, graph.prediction
        assert score is not None

        def run(params: object, state: object, images: jax.Array, key: jax.Array) -> jax.Array:
            data = images.astype(jnp.float32) if model.data is None else model.data.normalize(images)
            outputs = apply(
                graph,
                params,  # type: ignore[arg-type]
                state,  # type: ignore[arg-type]
                {"data": data},
                key=key,
                dtype=model.dtype,
                statistics=model.statistics,
                want=(score,),
            )
            scores = outputs.blobs[score].astype(jnp.float32)
            scores = resize_bilinear(scores, size, align_corners=False)[:, : prepared[0], : prepared[1]]
            scores = resize_bilinear(scores, wanted, align_corners=False)
            return jnp.argmax(scores[0], axis=-1).astype(jnp.uint8)

        return size, jax.jit(run)


def fitting_graph(model: Model, size: tuple[int, int]) -> tuple[tuple[int, int], Graph]:
    """The graph at the smallest size, from this one upwards in multiples of powers of two, that the net allows.

    Raises:
        SpecError: when the net cannot be built at any of them; the message is that of the size itself.
    """
    first: SpecError | None = None
    stride = 1
    while stride <= MAX_STRIDE:
        padded = (-(-size[0] // stride) * stride, -(-size[1] // stride) * stride)
        try:
            graph = deploy_graph(model.spec, 1, padded, model.channels)
        except SpecError as error:
            first = first or error
        else:
            _refuse_unusable(graph, model)
            return padded, graph
        stride *= 2
    assert first is not None
    raise first


def _refuse_unusable(graph: Graph, model: Model) -> None:
    if graph.prediction is None or len(graph.blobs[graph.prediction].shape) != 4:
        found = "no scores" if graph.prediction is None else f"'{graph.prediction}' ({graph.blobs[graph.prediction]})"
        hint = "name the blob of scores with 'output:' in the spec"
        raise SpecError(f"the net gives no image of class scores, but {found}", place=model.spec.source.name, hint=hint)
