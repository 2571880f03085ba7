"""Between number types."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def as_real(x: jax.Array) -> jax.Array:
    """Integers as float32, real numbers as they are."""
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
