"""Weights as safetensors: one array a blob, named `layer.blob`, in the layout the net stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from segspec.atomic import write_atomically
from segspec.errors import Diagnostic, RunError, WeightsError
from segspec.proto.blob import Array

Blobs = dict[str, dict[str, Array]]
FORMAT = "segspec-1"
PICKLES = frozenset((".pth", ".pt", ".pkl", ".ckpt", ".bin"))


@dataclass(frozen=True)
class Found:
    """What a file holds for a net.

    Attributes:
        blobs: the arrays by layer and blob.
        place: the file's name, for messages.
        layout: whether learned blobs lie as the net stores them or as Caffe does.
        miscounted: layers whose blobs could not be told apart, with (what the net has, what the file has).
        warnings: what the user should know of where they come from.
    """

    blobs: Mapping[str, Mapping[str, Array]]
    place: str
    layout: Literal["stored", "caffe"] = "stored"
    miscounted: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()


def write_weights(
    path: Path, *trees: Mapping[str, Mapping[str, object]], about: Mapping[str, str] | None = None
) -> None:
    """Writes trees of `{layer: {blob: array}}` to one file; the file appears whole or not at all.

    Args:
        path: the file to make.
        trees: parameters, and state if it should travel along; no blob may stand in two of them.
        about: what to say of the file, such as the iteration.

    Raises:
        WeightsError: when the file cannot be written.
    """
    from safetensors.numpy import save

    arrays = {
        f"{layer}.{blob}": np.asarray(value, order="C")
        for tree in trees
        for layer, blobs in tree.items()
        for blob, value in blobs.items()
    }
    try:
        write_atomically(path, save(arrays, metadata={"format": FORMAT, **(about or {})}))
    except RunError as error:
        raise WeightsError(error.diagnostics) from None


def read_weights(path: Path) -> tuple[Blobs, dict[str, str]]:
    """The blobs of a file by layer, and what the file says of itself.

    Raises:
        WeightsError: when the file is missing, damaged or of a kind that cannot be read.
    """
    import ml_dtypes  # noqa: F401 - NumPy knows bfloat16 from here on
    from safetensors import SafetensorError, safe_open

    _refuse_kind(path)
    try:
        with safe_open(path, framework="numpy") as file:
            about = dict(file.metadata() or {})
            blobs: Blobs = {}
            for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
                layer, _, blob = key.rpartition(".")
                blobs.setdefault(layer, {})[blob] = file.get_tensor(key)
    except FileNotFoundError:
        raise WeightsError("no such file", place=str(path)) from None
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror or error}", place=str(path)) from None
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"damaged, or not a safetensors file ({error})", place=str(path)) from None
    except (AttributeError, TypeError) as error:  # What safetensors raises for the types that NumPy lacks.
        hint = "save it as float32, float16 or bfloat16"
        raise WeightsError(
            f"holds numbers of a type that cannot be read ({error})", place=str(path), hint=hint
        ) from None
    return blobs, about


def _refuse_kind(path: Path) -> None:
    if path.is_dir():
        raise WeightsError("this is a folder, expected a file of weights", place=str(path))
    if ".solverstate" in path.suffixes[-2:]:
        hint = "train --solverstate goes on from it; its weights are in the .caffemodel beside it"
        raise WeightsError("this is the state of a solver, not weights", place=str(path), hint=hint)
    if path.suffix.lower() in PICKLES:
        hint = "a pickle can run any program when it is opened; convert it with safetensors.torch.save_file first"
        raise WeightsError(f"segspec does not open {path.suffix} files", place=str(path), hint=hint)
