"""A network from a Caffe prototxt."""

from __future__ import annotations

from collections.abc import Sequence as Items
from pathlib import Path

from segspec.errors import Source
from segspec.spec.netspec import NetSpec, Phase


def read_caffe_net(source: Source, beside: Path, overrides: Items[str] = (), phase: Phase = "TRAIN") -> NetSpec:
    raise NotImplementedError
