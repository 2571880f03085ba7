"""Nets in Caffe's text, from a few words."""

from __future__ import annotations

from typing import Any

import pytest

from segspec.errors import Source, SpecError
from segspec.spec.caffe.net import read_caffe_net
from segspec.spec.netspec import NetSpec, Phase

HEAD = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


def read(text: str, *overrides: str, phase: Phase = "TRAIN") -> NetSpec:
    return read_caffe_net(Source("net.prototxt", text), overrides, phase)


def layer(kind: str, more: str = "", *, name: str = "l", bottom: str = "data", top: str = "top") -> str:
    tops = f'top: "{top}"' if top else ""
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" {tops} {more} }}\n'


def typed(kind: str, more: str = "") -> Any:
    """The one layer of a net, typed."""
    return read(HEAD + layer(kind, more)).layers[0].layer


def complaint(text: str, *overrides: str, phase: Phase = "TRAIN") -> str:
    with pytest.raises(SpecError) as caught:
        read(text, *overrides, phase=phase)
    return str(caught.value)


CONV = "num_output: 4 kernel_size: 3"
