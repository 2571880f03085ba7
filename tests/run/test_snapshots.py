from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from snapshot_runs import LIKE, content, save, saved, trees_of

from segspec.errors import RunError
from segspec.run.folder import RunFolder
from segspec.run.intact import load_best, load_newest, read_best
from segspec.run.snapshots import (
    best_snapshot,
    load_snapshot,
    save_snapshot,
)


def test_what_was_saved_comes_back_bit_for_bit(run: RunFolder) -> None:
    save(run, 3, 7)
    found = load_newest(run, LIKE)
    assert (found.iteration, found.path.name, found.damaged) == (7, "000000007", ())
    assert found.meta == {"spec": "segspec: 1", "metrics": {}, "iteration": 7}
    assert jax.tree.structure(found.trees) == jax.tree.structure(trees_of(7))
    jax.tree.map(np.testing.assert_array_equal, found.trees, trees_of(7))


def test_only_what_is_asked_for_is_read(run: RunFolder) -> None:
    path = save(run, 3)
    (path / "optimizer.safetensors").unlink()
    assert load_newest(run, {"params": LIKE["params"]}).iteration == 3


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zero(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("damage", [truncate, flip, empty, zero, Path.unlink])
@pytest.mark.parametrize("name", ["params.safetensors", "optimizer.safetensors", "meta.json", "manifest.json"])
def test_a_damaged_newest_snapshot_is_passed_over(run: RunFolder, name: str, damage: Callable[[Path], None]) -> None:
    damage(save(run, 3, 7) / name)
    found = load_newest(run, LIKE)
    assert found.iteration == 3
    (warning,) = found.damaged
    text = warning.render()
    assert text.startswith(f"{run.snapshots / '000000007'}: warning: damaged snapshot passed over: ")
    assert len(text.splitlines()) == 1 and (name in text or name == "manifest.json")


def test_where_the_best_is_damaged_the_newest_that_is_not_is_taken(run: RunFolder) -> None:
    for iteration, miou in ((3, 0.2), (7, 0.9), (9, 0.1), (11, 0.3)):
        save(run, iteration, miou=miou)
    assert load_best(run, LIKE).iteration == int(read_best(run)[0].name) == 7
    for iteration in (7, 11):
        truncate(run.snapshots / f"{iteration:09d}" / "params.safetensors")
    found = load_best(run, LIKE)
    assert (found.iteration, [Path(fault.place).name for fault in found.damaged]) == (9, ["000000007", "000000011"])
    path, trees, damaged = read_best(run)
    assert (path, damaged) == (found.path, found.damaged)
    assert set(trees) == {"params", "state", "optimizer"}


def test_every_bit_of_a_snapshot_counts(run: RunFolder) -> None:
    path = save(run, 7)
    for name, data in content(path).items():
        for position in range(0, len(data), max(1, len(data) // 40)):
            (path / name).write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
            try:
                jax.tree.map(np.testing.assert_array_equal, load_snapshot(path, LIKE).trees, trees_of(7))
            except RunError:
                continue
            assert name == "manifest.json" and data[position : position + 1].isspace()
        (path / name).write_bytes(data)


def test_when_all_are_damaged_training_does_not_start_over(run: RunFolder) -> None:
    for iteration in (3, 7):
        flip(save(run, iteration) / "params.safetensors")
    with pytest.raises(RunError, match="every snapshot of this run is damaged") as caught:
        load_newest(run, LIKE)
    assert "000000003" in str(caught.value) and "000000007" in str(caught.value)
    with pytest.raises(RunError, match=r"damaged snapshot: params.safetensors is not what was written"):
        load_snapshot(run.snapshots / "000000007", LIKE)


def test_a_run_without_snapshots_says_so(run: RunFolder) -> None:
    with pytest.raises(RunError, match="the run has no snapshot yet"):
        load_newest(run, LIKE)


def test_a_snapshot_of_another_net_is_refused_and_not_taken_for_damaged(run: RunFolder) -> None:
    save(run, 3, 7)
    other = {**LIKE, "params": {"conv1/3x3": {"weight": jnp.zeros((4, 6)), "bias": jnp.zeros(5)}}}
    expected = r"another net or solver: 'conv1/3x3/weight' is float32 4x5 instead of float32 4x6"
    with pytest.raises(RunError, match=expected):
        load_newest(run, other)


def test_the_newest_and_the_best_are_kept(run: RunFolder) -> None:
    for iteration, miou in enumerate([0.1, 0.5, 0.2, math.nan, 0.3, 0.4]):
        save(run, iteration, keep=2, miou=miou, loss=1.0)
    assert saved(run) == [1, 4, 5]
    assert best_snapshot(run) == run.snapshots / "000000001"
    assert {path.name for path in run.snapshots.iterdir()} == {"000000001", "000000004", "000000005"}


def test_without_a_test_the_least_loss_is_the_best(run: RunFolder) -> None:
    for iteration, loss in enumerate([3.0, 1.0, math.inf, 2.0, 4.0]):
        save(run, iteration, keep=1, loss=loss)
    assert saved(run) == [1, 4]


def test_one_test_outranks_every_loss(run: RunFolder) -> None:
    save(run, 1, loss=0.01)
    save(run, 2, miou=0.1, loss=9.0)
    assert best_snapshot(run) == run.snapshots / "000000002"
    flip(run.snapshots / "000000002" / "meta.json")
    assert best_snapshot(run) == run.snapshots / "000000001"


def test_without_metrics_none_is_the_best(run: RunFolder) -> None:
    save(run, 1, 2, 3, keep=2)
    assert saved(run) == [2, 3] and best_snapshot(run) is None


def test_more_than_nine_digits_are_still_in_order(run: RunFolder) -> None:
    save(run, 1_000_000_000, 999_999_999)
    assert saved(run) == [999_999_999, 1_000_000_000]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_never_saved(run: RunFolder, value: float) -> None:
    save(run, 3)
    trees = trees_of(7)
    trees["params"]["conv1/3x3"]["bias"] = jnp.array([0, 0, value, 0, 0])
    with pytest.raises(RunError, match=r"no snapshot of iteration 7: params 'conv1/3x3/bias' holds NaN or Inf"):
        save_snapshot(run, 7, trees, {}, keep=1)
    assert saved(run) == [3]


def test_an_intact_snapshot_of_the_same_iteration_stays(run: RunFolder) -> None:
    before = content(save(run, 3, miou=0.5))
    save(run, 3)
    assert content(run.snapshots / "000000003") == before


def test_what_a_later_test_finds_is_added_once(run: RunFolder) -> None:
    path = save(run, 3)
    arrays = {name: data for name, data in content(path).items() if name != "manifest.json"}
    save(run, 3, miou=0.5, loss=math.nan)
    save(run, 3, miou=0.9)
    assert load_newest(run, LIKE).meta["metrics"] == {"miou": 0.5, "loss": None}
    assert {name: data for name, data in content(path).items() if name in arrays} == arrays
    save(run, 7, miou=0.2)
    assert best_snapshot(run) == path
    flip(path / "metrics.json")
    assert load_newest(run, LIKE).iteration == 7 and best_snapshot(run) == run.snapshots / "000000007"


def test_a_damaged_snapshot_of_the_same_iteration_is_replaced(run: RunFolder) -> None:
    truncate(save(run, 3) / "params.safetensors")
    save(run, 3)
    assert load_newest(run, LIKE).damaged == ()
    assert [path.name for path in run.snapshots.iterdir()] == ["000000003"]


LOAD_ON_FOUR = """
import sys
from pathlib import Path
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from segspec.run.folder import RunFolder
from segspec.run.intact import load_newest
from segspec.run.snapshots import save_snapshot

run = RunFolder(Path(sys.argv[1]))
mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
sharding = NamedSharding(mesh, PartitionSpec("batch"))
like = {"params": {"conv1": {"weight": jax.device_put(np.zeros((8, 3), np.float32), sharding)}}}
found = load_newest(run, like).trees["params"]["conv1"]["weight"]
assert found.sharding == sharding and len(found.addressable_shards) == 4
np.testing.assert_array_equal(found, np.arange(24).reshape(8, 3))
save_snapshot(run, 2, {"params": {"conv1": {"weight": found + 1}}}, {}, keep=5)
"""


def test_a_snapshot_moves_between_one_device_and_four(run: RunFolder) -> None:
    tree = {"conv1": {"weight": jnp.arange(24.0).reshape(8, 3)}}
    save_snapshot(run, 1, {"params": tree}, {}, keep=5)
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    subprocess.run([sys.executable, "-c", LOAD_ON_FOUR, str(run.path)], check=True, timeout=120, env=environment)
    found = load_newest(run, {"params": tree})
    np.testing.assert_array_equal(found.trees["params"]["conv1"]["weight"], tree["conv1"]["weight"] + 1)


def test_the_files_are_plain_json_and_safetensors(run: RunFolder) -> None:
    path = save(run, 3, miou=math.nan)
    assert sorted(content(path)) == [
        "manifest.json",
        "meta.json",
        "optimizer.safetensors",
        "params.safetensors",
        "state.safetensors",
    ]
    text = (path / "meta.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"] == {"miou": None}
