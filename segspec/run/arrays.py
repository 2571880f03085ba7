"""Trees of arrays as named arrays, and named arrays as the bytes of a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import safetensors

Flat = dict[str, npt.NDArray[Any]]
"""Arrays on the host by their place in the tree: parts joined by `/`, a `/` inside a part written `%2F`."""

_TYPES: dict[str, str] = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_CODES = {name: code for code, name in _TYPES.items()}


class MisfitError(ValueError):
    """Named arrays are not those of a tree. The message names the first that differs."""


def flatten(tree: Any) -> Flat:
    """The arrays of a tree by name, on the host."""
    return {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten(flat: Flat, like: Any) -> Any:
    """The tree that `flatten` took apart.

    Args:
        flat: the arrays by name.
        like: a tree of the same structure. Where it holds NumPy arrays the result does; else the result holds JAX
            arrays, on the devices and with the sharding of those in `like` that were put somewhere.

    Raises:
        MisfitError: a name, shape or type differs.
    """
    places, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [_name(path) for path, _ in places]
    for name in sorted(set(names) ^ set(flat)):
        raise MisfitError(f"'{place_of(name)}' is {'missing' if name in names else 'not expected'}")
    leaves = [_place(name, flat[name], leaf) for name, (_, leaf) in zip(names, places, strict=True)]
    return jax.tree_util.tree_unflatten(structure, leaves)


def encode(flat: Flat) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file, piece by piece, without a second copy of the arrays."""
    header: dict[str, object] = {}
    end = 0
    for name, array in flat.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _CODES[array.dtype.name], "shape": array.shape, "data_offsets": (start, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for array in flat.values():
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def decode(content: bytes) -> Flat:
    """The arrays of a safetensors file."""
    entries: list[tuple[str, Mapping[str, Any]]] = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    return {
        name: np.frombuffer(entry["data"], jnp.dtype(_TYPES[entry["dtype"]])).reshape(entry["shape"])
        for name, entry in entries
    }


def is_finite(array: npt.NDArray[Any]) -> bool:
    """Whether no value is NaN or infinite; whole numbers always are finite."""
    return not jnp.issubdtype(array.dtype, jnp.inexact) or bool(np.isfinite(array).all())


def place_of(name: str) -> str:
    """A name as people write it in messages, with every `/` as it was."""
    return name.replace("%2F", "/").replace("%25", "%")


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(str(_key(part)).replace("%", "%25").replace("/", "%2F") for part in path)


def _key(part: Any) -> object:
    """The key, index or field that one step of a path goes by."""
    match part:
        case jax.tree_util.SequenceKey(idx=key):
            return key
        case jax.tree_util.GetAttrKey(name=key):
            return key
        case _:
            return part.key


def _place(name: str, array: npt.NDArray[Any], like: Any) -> Any:
    """An array where the one it replaces is."""
    if (array.shape, array.dtype) != (like.shape, like.dtype):
        found, expected = (f"{each.dtype} {'x'.join(map(str, each.shape)) or 'scalar'}" for each in (array, like))
        raise MisfitError(f"'{place_of(name)}' is {found} instead of {expected}")
    if isinstance(like, np.ndarray | np.generic):
        return array
    sharding = like.sharding if isinstance(like, jax.Array) and like.committed else None
    # A copy: the training step gives its arguments away, which an alias of this buffer would not survive.
    return jax.device_put(array, sharding, may_alias=False)
