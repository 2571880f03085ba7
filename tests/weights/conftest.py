"""Caffe's messages as google.protobuf reads and writes them: the other implementation that ours is compared with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

STRING, INT32, INT64, FLOAT, DOUBLE, ENUM, MESSAGE = 9, 5, 3, 2, 1, 14, 11
# name, number, type, whether it repeats, whether it is packed
Entry = tuple[str, int, int, bool, bool]


def one(name: str, number: int, kind: int) -> Entry:
    return (name, number, kind, False, False)


def many(name: str, number: int, kind: int, packed: bool = False) -> Entry:
    return (name, number, kind, True, packed)


def schema(packed: bool) -> dict[str, tuple[Entry, ...]]:
    """The part of caffe.proto that weights need; `packed` says how numbers are written."""
    return {
        "BlobShape": (many("dim", 1, INT64, packed),),
        "BlobProto": (
            *(one(name, number, INT32) for number, name in enumerate(("num", "channels", "height", "width"), 1)),
            many("data", 5, FLOAT, packed),
            many("diff", 6, FLOAT, packed),
            one("shape:BlobShape", 7, MESSAGE),
            many("double_data", 8, DOUBLE, packed),
        ),
        "LayerParameter": (
            one("name", 1, STRING),
            one("type", 2, STRING),
            many("bottom", 3, STRING),
            many("top", 4, STRING),
            many("loss_weight", 5, FLOAT),
            many("blobs:BlobProto", 7, MESSAGE),
            one("phase", 10, INT32),
        ),
        "V0LayerParameter": (one("name", 1, STRING), one("type", 2, STRING), many("blobs:BlobProto", 50, MESSAGE)),
        "V1LayerParameter": (
            one("layer:V0LayerParameter", 1, MESSAGE),
            many("bottom", 2, STRING),
            one("name", 4, STRING),
            one("type", 5, INT32),
            many("blobs:BlobProto", 6, MESSAGE),
            many("blobs_lr", 7, FLOAT),
        ),
        "NetParameter": (
            one("name", 1, STRING),
            many("layers:V1LayerParameter", 2, MESSAGE),
            many("input", 3, STRING),
            many("input_dim", 4, INT32),
            many("layer:LayerParameter", 100, MESSAGE),
        ),
        "SolverState": (
            one("iter", 1, INT32),
            one("learned_net", 2, STRING),
            many("history:BlobProto", 3, MESSAGE),
            one("current_step", 4, INT32),
        ),
    }


def compile_schema(package: str, packed: bool) -> SimpleNamespace:
    """Message classes of the schema."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for message, entries in schema(packed).items():
        declared = file.message_type.add(name=message)
        for name, number, kind, repeats, is_packed in entries:
            plain, _, of = name.partition(":")
            field = declared.field.add(name=plain, number=number, type=kind, label=3 if repeats else 1)
            if of:
                field.type_name = f".{package}.{of}"
            if is_packed:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find: Any = pool.FindMessageTypeByName
    return SimpleNamespace(
        **{name: message_factory.GetMessageClass(find(f"{package}.{name}")) for name in schema(packed)}
    )


@pytest.fixture(scope="session", params=[True, False], ids=["packed", "unpacked"])
def caffe(request: pytest.FixtureRequest) -> SimpleNamespace:
    """Caffe's messages, with numbers packed as Caffe writes them, or each by itself."""
    pytest.importorskip("google.protobuf")
    return compile_schema("packed" if request.param else "unpacked", request.param)
