from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from segspec.layers.base import Blob, Context, ShapeError
from segspec.layers.border import MirrorPad


def padded(x: np.ndarray, pad: tuple[int, int]) -> np.ndarray:
    layer = MirrorPad(pad=pad)
    (y,), _ = layer.forward({}, {}, [jnp.asarray(x)], Context())
    assert y.shape == layer.shapes([Blob(x.shape)])[0].shape
    return np.asarray(y)


def test_the_border_is_the_mirror() -> None:
    x = np.arange(1.0, 5.0, dtype=np.float32).reshape(1, 1, 4, 1)
    assert padded(x, (0, 2)).ravel().tolist() == [3, 2, 1, 2, 3, 4, 3, 2]


def test_a_small_image_is_mirrored_several_times() -> None:
    x = np.arange(1.0, 4.0, dtype=np.float32).reshape(1, 3, 1, 1)
    assert padded(x, (5, 0)).ravel().tolist() == [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2]
    assert padded(x[:, :1], (2, 1)).ravel().tolist() == [1] * 15


@pytest.mark.oracle
def test_it_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype(np.float32)
    theirs = torch.nn.ReflectionPad2d((4, 4, 6, 6))(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_array_equal(padded(x, (6, 4)), theirs.numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize("fields", [{}, {"pad": -1}, {"pad": "same"}])
def test_the_padding_is_a_number_of_pixels(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="pad"):
        MirrorPad.model_validate(fields)


def test_only_images_have_a_border() -> None:
    with pytest.raises(ShapeError, match=r"needs an image .* got 2x7"):
        MirrorPad(pad=(1, 1)).shapes([Blob((2, 7))])
