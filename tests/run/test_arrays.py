from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from segspec.run.arrays import MisfitError, decode, encode, flatten, is_finite, unflatten

TYPES = ["bool", "uint8", "int8", "uint16", "int16", "float16", "bfloat16", "uint32", "int32", "float32"]
TYPES += ["uint64", "int64", "float64", "complex64", "float8_e4m3fn", "float8_e5m2"]


class Moments(NamedTuple):
    updates: Any
    mean: Any


def bits(array: Any) -> bytes:
    return bytes(np.asarray(array).tobytes())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_every_type_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape)) * jnp.dtype(dtype).itemsize
    random = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, size, np.uint8).tobytes()
    array = np.frombuffer(random, jnp.dtype(dtype)).reshape(shape)
    found = decode(b"".join(encode({"conv1/weight": array})))["conv1/weight"]
    assert (found.dtype, found.shape, bits(found)) == (array.dtype, array.shape, bits(array))


def test_the_file_is_one_that_others_read() -> None:
    flat = {"a/weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.int64(7)[None], "c": np.array(True)}
    found = safetensors.numpy.load(b"".join(encode(flat)))
    assert found.keys() == flat.keys()
    for name, array in flat.items():
        np.testing.assert_array_equal(found[name], array)


def test_no_arrays_are_a_file_as_well() -> None:
    assert decode(b"".join(encode({}))) == {}


def test_names_tell_layers_with_slashes_from_blobs() -> None:
    zero = np.zeros(1)
    tree = {"a/b": {"c": zero}, "a": {"b/c": zero + 1, "b%2Fc": zero + 2}, "": {"..": zero + 3}}
    flat = flatten(tree)
    assert set(flat) == {"a%2Fb/c", "a/b%2Fc", "a/b%252Fc", "/.."}
    jax.tree.map(np.testing.assert_array_equal, unflatten(flat, tree), tree)


def test_tuples_named_tuples_and_empty_parts_come_back() -> None:
    tree = (Moments(jnp.int32(3), {"a/b": {"w": jnp.ones(2)}}), (), {"x": {}})
    flat = flatten(tree)
    assert set(flat) == {"0/updates", "0/mean/a%2Fb/w"}
    found = unflatten(flat, tree)
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    assert isinstance(found[0].updates, jax.Array) and int(found[0].updates) == 3


def test_numpy_arrays_stay_on_the_host() -> None:
    tree = {"count": np.array(2**40)}
    found = unflatten(flatten(tree), tree)["count"]
    assert isinstance(found, np.ndarray) and found == 2**40


def test_shapes_alone_are_enough_to_read() -> None:
    tree = {"w": jnp.arange(4.0)}
    found = unflatten(flatten(tree), jax.eval_shape(lambda: tree))["w"]
    np.testing.assert_array_equal(found, tree["w"])
    assert not found.committed


def test_what_is_read_survives_that_its_source_is_given_away() -> None:
    flat = {"w": np.arange(1024, dtype=np.float32)}
    found = unflatten(flat, {"w": jnp.zeros(1024)})["w"]
    jax.jit(lambda w: w + 1, donate_argnums=0)(found).block_until_ready()
    np.testing.assert_array_equal(flat["w"], np.arange(1024))


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": np.zeros((2, 3), np.float32)}, "'b' is not expected"),
        ({"w": np.zeros((2, 3), np.float32), "b": np.zeros(3), "c": np.zeros(3)}, "'c' is missing"),
        ({"w": np.zeros((3, 2), np.float32), "b": np.zeros(3)}, "'w' is float32 2x3 instead of float32 3x2"),
        ({"w": np.zeros((2, 3), np.float16), "b": np.zeros(3)}, "'w' is float32 2x3 instead of float16 2x3"),
        ({"w": np.zeros((2, 3), np.float32), "b": np.zeros(())}, "'b' is float64 3 instead of float64 scalar"),
    ],
)
def test_another_tree_is_refused_by_name(like: dict[str, Any], message: str) -> None:
    flat = flatten({"w": np.zeros((2, 3), np.float32), "b": np.zeros(3)})
    with pytest.raises(MisfitError, match=message):
        unflatten(flat, like)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_noticed(dtype: str, value: float) -> None:
    array = np.zeros((3, 4), jnp.dtype(dtype))
    assert is_finite(array)
    array[2, 1] = value
    assert not is_finite(array)


def test_whole_numbers_are_finite() -> None:
    assert is_finite(np.array([2**31 - 1], np.int32)) and is_finite(np.array(True))
