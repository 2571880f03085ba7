"""One net, or several that answer as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from segspec.errors import SpecError
from segspec.evaluate.answers import Prediction, average, best_labels, conclude
from segspec.evaluate.model import Model
from segspec.evaluate.predict import Image, Predictor, is_random, not_random
from segspec.evaluate.views import ONE_VIEW, Views


class Ensemble:
    """Predicts images one by one with one net, or with several of the same classes.

    Each net prepares the image as it does alone, with its own normalisation, size and number of channels; the best
    class is that of the mean of their probabilities. Source: Lakshminarayanan, Pritzel, Blundell 2017, deep ensembles.

    Args:
        models: the nets.
        views: how each image is shown to each of them.
        samples: how often those are asked each time that are random at test.

    Raises:
        SpecError: several samples are wanted, and no net is random.
    """

    def __init__(self, models: Sequence[Model], *, views: Views = ONE_VIEW, samples: int = 1):
        if samples > 1 and not any(map(is_random, models)):
            raise not_random(models[0])
        self.samples = samples
        self.predictors = tuple(
            Predictor(model, views=views, samples=samples if is_random(model) else 1, seed=seed)
            for seed, model in enumerate(models)
        )

    def predict(self, image: Image) -> Prediction:
        """The class of each pixel, of all together and of each net alone; arguments and errors as `Predictor`'s."""
        if len(self.predictors) == 1:
            return self.predictors[0].predict(image)
        answers = [each.ask(with_channels(image, each.model.channels)) for each in self.predictors]
        return conclude(average(answers), tuple(map(best_labels, answers)), uncertain=self.samples > 1)


def with_channels(image: Image, channels: int) -> Image:
    """An image as a net of other channels takes it: colours become grey, grey becomes three equal colours.

    Raises:
        SpecError: there is no such way.
    """
    found = image.shape[2]
    if found == channels:
        return image
    if {found, channels} != {1, 3}:
        raise SpecError(f"the nets take images of different channels: {found} and {channels}")
    turned = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_GRAY2BGR)
    return np.asarray(turned, image.dtype).reshape(*image.shape[:2], channels)
