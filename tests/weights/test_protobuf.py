"""google.protobuf as the judge of what is read and written, and mutants that must be read or refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segspec.weights.caffemodel import CaffeLayer, read_caffemodel, write_caffemodel

NAMES = st.text(max_size=8).filter(lambda name: not any(0xD800 <= ord(letter) < 0xE000 for letter in name))
ARRAYS = arrays(np.float32, array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
LAYERS = st.lists(st.tuples(NAMES, NAMES, st.lists(ARRAYS, max_size=3)), min_size=1, max_size=4)


def fill(blob: Any, array: np.ndarray, form: int) -> None:
    """A blob in one of the forms that files have."""
    if form == 1 and array.ndim <= 4:
        sizes = [1] * (4 - array.ndim) + list(array.shape)
        blob.num, blob.channels, blob.height, blob.width = sizes
    else:
        blob.shape.dim.extend(array.shape)
        blob.shape.SetInParent()
    (blob.double_data if form == 2 else blob.data).extend(array.ravel().tolist())


@given(layers=LAYERS, form=st.integers(0, 2), old=st.booleans(), junk=st.booleans())
def test_what_google_writes_is_read(
    caffe: SimpleNamespace, layers: list[tuple[str, str, list[np.ndarray]]], form: int, old: bool, junk: bool
) -> None:
    net = caffe.NetParameter(name="net")
    for name, kind, blobs in layers:
        layer = (net.layers if old else net.layer).add(name=name)
        if junk:
            layer.bottom.append("data")
            (layer.blobs_lr if old else layer.loss_weight).extend([1, 2])
        if not old:
            layer.type = kind
        for array in blobs:
            fill(layer.blobs.add(diff=[1, 2] if junk else []), array, form)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.caffemodel"
        path.write_bytes(net.SerializeToString())
        found = read_caffemodel(path)
        assert [layer.name for layer in found] == [name for name, _, _ in layers]
        for layer, (_, kind, blobs) in zip(found, layers, strict=True):
            assert layer.type == ("" if old else kind)
            for ours, array in zip(layer.blobs, blobs, strict=True):
                shape = (1,) * (4 - array.ndim) + array.shape if form == 1 and array.ndim <= 4 else array.shape
                assert ours.shape == shape
                np.testing.assert_array_equal(ours.astype(np.float32), array.reshape(shape))


@given(layers=LAYERS)
def test_google_reads_what_is_written(caffe: SimpleNamespace, layers: list[tuple[str, str, list[np.ndarray]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.caffemodel"
        write_caffemodel(path, "net", [CaffeLayer(name, kind, tuple(blobs)) for name, kind, blobs in layers])
        net = caffe.NetParameter.FromString(path.read_bytes())
        assert net.name == "net"
        assert [(layer.name, layer.type) for layer in net.layer] == [(name, kind) for name, kind, _ in layers]
        for layer, (_, _, blobs) in zip(net.layer, layers, strict=True):
            for blob, array in zip(layer.blobs, blobs, strict=True):
                assert tuple(blob.shape.dim) == array.shape
                np.testing.assert_array_equal(np.float32(list(blob.data)).reshape(array.shape), array)
        for layer, (_, _, blobs) in zip(read_caffemodel(path), layers, strict=True):
            assert [blob.tobytes() for blob in layer.blobs] == [blob.tobytes() for blob in blobs]
