from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segspec.data.mean import read_mean, with_channel_means
from segspec.data.sources import open_source
from segspec.errors import DataError, Source
from segspec.layers.data import DenseImageData
from segspec.proto.encode import blob, integer, message
from segspec.spec.net import read_net

MEAN = np.random.default_rng(0).normal(100, 20, (4, 5, 3)).astype(np.float32)
PICTURE = np.random.default_rng(1).integers(0, 256, (4, 5, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    planes = np.ascontiguousarray(MEAN.transpose(2, 0, 1))
    sizes = (*integer(1, 1), *integer(2, 3), *integer(3, 4), *integer(4, 5))
    (tmp_path / "old.binaryproto").write_bytes(b"".join((*sizes, *message(5, (planes.tobytes(),)))))
    newer = b"".join(blob(1, planes))
    (tmp_path / "new.binaryproto").write_bytes(newer[newer.index(b"\x3a") :])
    Image.fromarray(PICTURE[..., ::-1]).save(tmp_path / "x.png")
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(tmp_path / "y.png")
    (tmp_path / "list.txt").write_text("x.png\n")
    (tmp_path / "other.txt").write_text("y.png\n")
    return tmp_path


@pytest.mark.parametrize("name", ["old.binaryproto", "new.binaryproto"])
def test_a_mean_image_in_the_shapes_of_both_ages(folder: Path, name: str) -> None:
    np.testing.assert_array_equal(read_mean(folder / name, 3), MEAN)


def test_the_mean_follows_mirror_and_crop(folder: Path) -> None:
    layer = DenseImageData(source="list.txt", mean_file="old.binaryproto", mirror=True, crop_size=(3, 2))
    source = open_source(layer, None, folder)
    rest = PICTURE.astype(np.float32) - MEAN
    windows = [
        image[row : row + 3, column : column + 2]
        for image in (rest, rest[:, ::-1])
        for row in range(2)
        for column in range(4)
    ]
    for seed in range(10):
        found = source.load(0, np.random.default_rng(seed)).image
        assert any(np.array_equal(found, window) for window in windows)
    np.testing.assert_array_equal(source.load(0).image, rest[0:3, 1:3])


@pytest.mark.parametrize(
    ("source", "mean", "words"),
    [
        ("other.txt", "old.binaryproto", "the image is 5 x 5 x 3 .* but the mean image 4 x 5 x 3"),
        ("list.txt", "x.png", "damaged at byte"),
        ("list.txt", "absent", "no such file"),
    ],
)
def test_mistakes(folder: Path, source: str, mean: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_source(DenseImageData(source=source, mean_file=mean), None, folder).load(0)


def test_a_mean_of_other_channels(folder: Path) -> None:
    with pytest.raises(DataError, match=r"is no mean image of 1 channel\(s\): its shape is 1 x 3 x 4 x 5"):
        read_mean(folder / "old.binaryproto", 1)


def test_images_of_any_size_take_the_means_of_the_channels(folder: Path) -> None:
    path = folder / "old.binaryproto"
    data = f"{{type: DenseImageData, source: list.txt, mean_file: {path}}}"
    text = f"segspec: 1\ndata:\n  test: {data}\nlayers:\n  - ReLU\n"
    layer = with_channel_means(read_net(Source("net.yaml", text), folder)).data["test"]
    assert layer.mean_file == ""
    np.testing.assert_allclose(layer.mean_value, MEAN.mean(axis=(0, 1)), rtol=1e-6)
