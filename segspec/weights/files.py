"""Weights as safetensors: one array a blob, named `layer.blob`, in the layout the net stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segspec.errors import WeightsError

Array = npt.NDArray[np.generic]
Blobs = dict[str, dict[str, Array]]
FORMAT = "segspec-1"


def write_weights(path: Path, *trees: Mapping[str, Mapping[str, object]], about: Mapping[str, str] | None = None) -> None:
    """Writes trees of `{layer: {blob: array}}` to one file; the file appears whole or not at all.

    Args:
        path: the file to make.
        trees: parameters, and state if it should travel along; no blob may stand in two of them.
        about: what to say of the file, such as the iteration.

    Raises:
        WeightsError: when the file cannot be written.
    """
    from safetensors.numpy import save_file

    arrays = {
        f"{layer}.{blob}": np.ascontiguousarray(np.asarray(value))
        for tree in trees
        for layer, blobs in tree.items()
        for blob, value in blobs.items()
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, temporary, metadata={"format": FORMAT, **(about or {})})
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WeightsError(f"cannot be written: {error.strerror or error}", place=str(path)) from None


def read_weights(path: Path) -> tuple[Blobs, dict[str, str]]:
    """The blobs of a file by layer, and what the file says of itself.

    Raises:
        WeightsError: when the file is missing, damaged or of a kind that cannot be read.
    """
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
    return blobs, about


def _refuse_kind(path: Path) -> None:
    if path.is_dir():
        raise WeightsError("this is a folder, expected a file of weights", place=str(path))
    if path.suffix in (".pth", ".pt", ".pkl", ".ckpt", ".bin"):
        hint = "a pickle can run any program when it is opened; convert it with safetensors.torch.save_file first"
        raise WeightsError(f"segspec does not open {path.suffix} files", place=str(path), hint=hint)
