"""The batches of DenseImageData against those that caffe-segnet made of the same files."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from segspec.data.loader import training_batches
from segspec.data.sources import open_source
from segspec.spec.classes import ClassTable
from segspec.spec.net import load_net

TABLE = ClassTable(tuple(map(str, range(11))), ((0, 0, 0),) * 11, 11)


@pytest.mark.parametrize("name", ["plain", "resize_up", "resize_down", "gray", "meanscale"])
def test_batches_are_those_of_caffe(shared: Path, name: str) -> None:
    layer = load_net(shared / "golden" / "data" / f"dense_{name}.prototxt").data["train"]
    golden = np.load(shared / "golden" / "data" / f"dense_{name}.npz")
    source = open_source(layer.model_copy(update={"root_folder": "."}), TABLE, shared / "golden")
    batches = training_batches(source, layer.batch_size, workers=0)
    count = sum(key.startswith("data_") for key in golden.files)
    assert count
    for number in range(count):
        batch = next(batches)
        images = np.asarray(layer.normalize(jnp.asarray(batch.data))).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(images, golden[f"data_{number}"], atol=1e-5)
        assert batch.label is not None
        np.testing.assert_array_equal(batch.label[..., 0], golden[f"label_{number}"][:, 0])
