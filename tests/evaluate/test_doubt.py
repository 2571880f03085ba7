from __future__ import annotations

import numpy as np

from segspec.evaluate.doubt import Doubt


def test_uncertainty_is_averaged_over_right_pixels_and_over_mistakes() -> None:
    doubt = Doubt()
    label = np.array([[0, 1, 255]])
    doubt.add(np.array([[0.1, 0.5, 0.9]], np.float32), np.array([[0, 0, 0]]), label, 255)
    doubt.add(np.array([[0.3, 0.7, 0.9]], np.float32), np.array([[0, 0, 0]]), label, 255)
    assert doubt.as_text() == "mean uncertainty: 0.200 over right pixels, 0.600 over mistakes"


def test_a_kind_of_pixel_that_is_not_there_is_said() -> None:
    doubt = Doubt()
    doubt.add(np.array([[0.25]], np.float32), np.array([[1]]), np.array([[1]]), None)
    assert doubt.as_text() == "mean uncertainty: 0.250 over right pixels, no mistakes"
