"""The order of a backward pass changes no number, and memory is what it is there for."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.ops.schedule import learn_first, make_once, recompute, wait_for


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_waiting_changes_no_number_and_no_type(dtype: Any) -> None:
    value, others = normal(3, 4).astype(dtype), (normal(2, 2), normal(1), jnp.float32(2), jnp.zeros((0, 3)))
    found = jax.jit(wait_for)(value, *others)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, value)
    assert wait_for(value) is value


def test_what_is_waited_for_is_not_optimised_away() -> None:
    compiled = jax.jit(lambda value, other: wait_for(value, jnp.sin(other))).lower(normal(3), normal(4)).compile()
    assert "sine" in compiled.as_text()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_waited_for_may_be_anything(number: float) -> None:
    np.testing.assert_array_equal(jax.jit(wait_for)(normal(3), jnp.full((4, 4), number)), normal(3))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32])
def test_what_is_made_once_is_what_it_was(dtype: Any) -> None:
    numbers = jnp.asarray([[255, 3], [0, 7]], dtype)
    for found in (
        jax.jit(make_once, static_argnums=1)(numbers, 256),
        jax.vmap(lambda row: make_once(row, 256))(numbers),
    ):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, numbers)
    assert make_once(jnp.zeros((0, 2), dtype), 4).shape == (0, 2)


def test_what_is_made_once_is_not_made_by_each_reader() -> None:
    def comparisons(once: bool) -> int:
        def run(a: jax.Array, b: jax.Array) -> jax.Array:
            greater = (a > b).astype(jnp.uint8)
            greater = make_once(greater, 2) if once else greater
            return jnp.where(greater == 1, jnp.sort(jnp.where(greater == 1, a, b)), a)

        text = jax.jit(run).lower(normal(64, 64), normal(64, 64)).compile().as_text()
        return str(text).count("direction=GT")

    assert (comparisons(once=True), comparisons(once=False)) == (1, 2)


def test_weights_before_inputs_gives_the_same_gradients() -> None:
    def loss(weights: dict[str, jax.Array], x: jax.Array, *, ordered: bool) -> jax.Array:
        if ordered:
            weights, (x,) = learn_first(weights, [x])
        return jnp.sum(jnp.tanh(x @ weights["weight"]) ** 2)

    arguments = ({"weight": normal(4, 5)}, normal(3, 4, seed=1))
    plain, ordered = (jax.jit(jax.grad(lambda *a, o=o: loss(*a, ordered=o), (0, 1)))(*arguments) for o in (False, True))
    jax.tree.map(np.testing.assert_array_equal, plain, ordered)


def layers(learned: dict[str, jax.Array], inputs: dict[str, jax.Array], fixed: dict[str, jax.Array]) -> Any:
    x = inputs["x"]
    for number in range(3):
        x = jnp.sin(x @ learned[f"w{number}"]) * fixed["mask"]
    return {"x": x, "label": fixed["label"], "sum": jnp.sum(x)}


def gradients(recomputed: bool) -> Any:
    learned = {f"w{number}": normal(4, 4, seed=number) for number in range(3)}
    fixed = {"mask": normal(4, seed=8), "label": jnp.arange(3)}

    def loss(learned: Any, x: jax.Array) -> jax.Array:
        made = (recompute(layers) if recomputed else layers)(learned, {"x": x}, fixed)
        return jnp.sum(made["x"] ** 2) + made["sum"] + made["label"][0]

    return jax.jit(jax.grad(loss, (0, 1)))(learned, normal(3, 4, seed=9))


def test_recomputing_gives_the_same_gradients() -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), gradients(False), gradients(True))


def test_recomputing_keeps_the_arguments_alone() -> None:
    arguments = (
        {f"w{n}": normal(4, 4) for n in range(3)},
        {"x": normal(3, 4)},
        {"mask": normal(4), "label": normal(3)},
    )
    _, pull = jax.vjp(lambda learned, inputs: recompute(layers)(learned, inputs, arguments[2]), *arguments[:2])
    kept = sum(leaf.size for leaf in jax.tree.leaves(pull))
    assert kept == sum(leaf.size for leaf in jax.tree.leaves(arguments))
