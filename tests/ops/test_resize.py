from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segspec.ops.resize import resize_bilinear

SIDES = st.integers(1, 7)


def reference(x: np.ndarray[Any, Any], wanted: int, *, align_corners: bool) -> np.ndarray[Any, Any]:
    """Linear interpolation along axis 0 at the positions that the output reads."""
    length = len(x)
    if align_corners:
        places = np.linspace(0, length - 1, wanted) if wanted > 1 else np.zeros(1)
    else:
        places = (np.arange(wanted) + 0.5) * length / wanted - 0.5
    columns = x.reshape(length, -1)
    found = [np.interp(places, np.arange(length), column) for column in columns.T]
    return np.stack(found, 1).reshape(wanted, *x.shape[1:])


@settings(max_examples=20)
@given(size=st.tuples(SIDES, SIDES), wanted=st.tuples(SIDES, SIDES), align_corners=st.booleans())
def test_any_size_agrees_with_interpolation_along_both_sides(
    size: tuple[int, int], wanted: tuple[int, int], align_corners: bool
) -> None:
    x = np.random.default_rng(0).normal(size=(1, *size, 2)).astype(np.float32)
    rows = reference(x[0].astype(np.float64), wanted[0], align_corners=align_corners)
    both = reference(rows.transpose(1, 0, 2), wanted[1], align_corners=align_corners).transpose(1, 0, 2)
    np.testing.assert_allclose(
        resize_bilinear(jnp.asarray(x), wanted, align_corners=align_corners)[0], both, rtol=1e-5, atol=1e-6
    )


def test_corners_keep_their_values_exactly() -> None:
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 7, 3)), jnp.float32)
    large = resize_bilinear(x, (13, 11))
    np.testing.assert_array_equal(large[:, ::12, ::10], x[:, ::4, ::6])


def test_the_input_size_changes_nothing() -> None:
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 5, 7, 3)), jnp.float32)
    for align_corners in (True, False):
        np.testing.assert_array_equal(resize_bilinear(x, (5, 7), align_corners=align_corners), x)


def test_labels_shrunk_by_a_divisor_stay_labels() -> None:
    labels = jnp.asarray(np.random.default_rng(2).integers(0, 256, (1, 33, 49, 1)))
    small = resize_bilinear(labels, (5, 7))
    assert small.dtype == labels.dtype
    np.testing.assert_array_equal(small, labels[:, ::8, ::8])


def test_bfloat16_interpolates_in_float32() -> None:
    x = jnp.asarray(np.random.default_rng(3).normal(size=(1, 4, 5, 2)), jnp.bfloat16)
    half = resize_bilinear(x, (9, 9))
    assert half.dtype == jnp.bfloat16
    exact = resize_bilinear(x.astype(jnp.float32), (9, 9)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(half.astype(jnp.float32), exact.astype(jnp.float32))


def test_gradient_needs_no_scatter() -> None:
    program = jax.make_jaxpr(jax.grad(lambda x: jnp.sum(resize_bilinear(x, (9, 9)) ** 2)))(jnp.ones((1, 4, 5, 2)))
    assert "scatter" not in str(program) and "gather" not in str(program)


@pytest.mark.oracle
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("wanted", [(9, 15), (3, 4), (5, 20), (1, 1)])
def test_agrees_with_torch_forward_and_backward(wanted: tuple[int, int], align_corners: bool) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(4).normal(size=(2, 3, 5, 8)).astype(np.float32)
    there = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.interpolate(there, wanted, mode="bilinear", align_corners=align_corners)
    theirs.backward(theirs.detach())
    ours, pull = jax.vjp(
        lambda x: resize_bilinear(x, wanted, align_corners=align_corners), jnp.asarray(x.transpose(0, 2, 3, 1))
    )
    np.testing.assert_allclose(ours, theirs.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pull(ours)[0], there.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
