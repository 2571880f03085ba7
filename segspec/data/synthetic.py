"""Synthetic data sets: which drawing a data layer means, and writing one to disk in CamVid's layout."""

from __future__ import annotations

import numpy as np

from segspec.data.squares import draw_squares
from segspec.data.street import draw_street
from segspec.layers.data import SyntheticSquares, SyntheticStreet

STREET_CLASSES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)


def draw(layer: SyntheticSquares | SyntheticStreet, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and label number `index` of a synthetic source: a function of the layer's seed and the index alone."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([layer.seed, index])))
    if isinstance(layer, SyntheticStreet):
        return draw_street(rng, layer.height, layer.width)
    return draw_squares(rng, layer.height, layer.width, layer.squares, layer.noise)
