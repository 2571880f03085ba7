"""Snapshots of small trees in a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from segspec.run.folder import RunFolder
from segspec.run.snapshots import (
    list_snapshots,
    save_snapshot,
)


def trees_of(iteration: int) -> dict[str, Any]:
    params = {"conv1/3x3": {"weight": jnp.full((4, 5), iteration, jnp.float32), "bias": jnp.arange(5.0) / 3}}
    return {"params": params, "state": {}, "optimizer": (jnp.int32(iteration), jax.tree.map(jnp.ones_like, params))}


LIKE = trees_of(0)


def save(run: RunFolder, *iterations: int, keep: int = 100, **metrics: float) -> Path:
    for iteration in iterations:
        path = save_snapshot(run, iteration, trees_of(iteration), {"spec": "segspec: 1", "metrics": metrics}, keep=keep)
    return path


def saved(run: RunFolder) -> list[int]:
    return [int(path.name) for path in list_snapshots(run)]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
