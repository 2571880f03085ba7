"""Mean images: a BlobProto that is subtracted from every image, as Caffe's compute_image_mean writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from segspec.errors import DataError
from segspec.proto.blob import read_blob
from segspec.proto.wire import open_message
from segspec.spec.netspec import NetSpec


def read_mean(path: Path, channels: int) -> np.ndarray:
    """The mean image of a file.

    Args:
        path: a `.binaryproto`.
        channels: of the images it is for.

    Returns:
        float32 (height, width, channels).

    Raises:
        DataError: the file cannot be read, or holds something other than one image of so many channels.
    """
    array = read_blob(open_message(path, DataError), "the mean image")
    shape = array.shape[1:] if array.ndim == 4 and array.shape[0] == 1 else array.shape
    if len(shape) != 3 or shape[0] != channels or not array.size:
        found = " x ".join(map(str, array.shape))
        message = (
            f"is no mean image of {channels} channel(s): its shape is {found} (images x channels x height x width)"
        )
        raise DataError(message, place=str(path), hint="make it with Caffe's compute_image_mean")
    return np.ascontiguousarray(array.reshape(shape).transpose(1, 2, 0), np.float32)


def with_channel_means(spec: NetSpec) -> NetSpec:
    """The net with each mean image replaced by its mean of every channel: for images of any size."""
    data = dict(spec.data)
    for phase, layer in spec.data.items():
        if layer.mean_file:
            means = read_mean(Path(layer.mean_file), layer.channels).mean(axis=(0, 1), dtype=np.float64)
            data[phase] = layer.model_copy(update={"mean_file": "", "mean_value": tuple(means.tolist())})
    return replace(spec, data=data)
