"""Layer types of Caffe and its forks that are not there on purpose, and why."""

from __future__ import annotations

from collections.abc import Mapping

_RECURRENT = "it runs over time and keeps a memory from batch to batch, and nets here see single images"
_FIELD = (
    "a random field over all pairs of pixels needs a filter on a lattice of colours; leave it out and read its input"
)

ABSENT: Mapping[str, str] = {
    "Filter": "how many samples it lets through depends on the numbers in them, and a compiled net has fixed shapes",
    "LSTM": _RECURRENT,
    "LSTMUnit": _RECURRENT,
    "RNN": _RECURRENT,
    "Recurrent": _RECURRENT,
    "DenseCRF": _FIELD,
    "MultiStageMeanfield": _FIELD,
    "Python": "what it computes stands in a program beside the net",
}
"""The reason by type."""
