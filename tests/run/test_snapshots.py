from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import RunError
from segspec.run import checked
from segspec.run.folder import RunFolder
from segspec.run.intact import load_best, load_newest, read_best
from segspec.run.snapshots import (
    best_snapshot,
    list_snapshots,
    load_snapshot,
    remove_unfinished,
    save_snapshot,
)


def trees_of(iteration: int) -> dict[str, Any]:
    params = {"conv1/3x3": {"weight": jnp.full((4, 5), iteration, jnp.float32), "bias": jnp.arange(5.0) / 3}}
    return {"params": params, "state": {}, "optimizer": (jnp.int32(iteration), jax.tree.map(jnp.ones_like, params))}


LIKE = trees_of(0)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.spec.write_text("segspec: 1\n")
    return run


def save(run: RunFolder, *iterations: int, keep: int = 100, **metrics: float) -> Path:
    for iteration in iterations:
        path = save_snapshot(run, iteration, trees_of(iteration), {"spec": "segspec: 1", "metrics": metrics}, keep=keep)
    return path


def saved(run: RunFolder) -> list[int]:
    return [int(path.name) for path in list_snapshots(run)]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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


def test_a_trainer_killed_while_metrics_are_added_loses_no_snapshot(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(1, 100):
        path = save(run, 3)
        with fault(monkeypatch, at, Killed()) as calls:
            try:
                save(run, 3, miou=0.5)
            except Killed:
                assert load_newest(run, LIKE).meta["metrics"] in ({}, {"miou": 0.5})
        remove_unfinished(run)
        assert not list(run.snapshots.rglob(".*"))
        save(run, 3, miou=0.5)
        assert load_newest(run, LIKE).meta["metrics"] == {"miou": 0.5}
        assert load_newest(run, LIKE).damaged == ()
        if len(calls) < at:
            break
        shutil.rmtree(path)
    assert at > 5 and calls.count("rename") == 2


def test_a_damaged_snapshot_of_the_same_iteration_is_replaced(run: RunFolder) -> None:
    truncate(save(run, 3) / "params.safetensors")
    save(run, 3)
    assert load_newest(run, LIKE).damaged == ()
    assert [path.name for path in run.snapshots.iterdir()] == ["000000003"]


class Killed(BaseException):
    """The trainer is gone: nothing after this runs, nothing is tidied."""


@contextmanager
def fault(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> Iterator[list[str]]:
    """Fails the operation number `at` of those that change the disk; yields the names of all that were called."""
    calls: list[str] = []

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operate(*args: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == at:
                raise error
            return real(*args, **options)

        return operate

    def open_counted(path: Path, mode: str) -> Any:
        return type("Counted", (FileIO,), {"write": failing("write", FileIO.write)})(path, mode)

    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "fsync"):
            patch.setattr(os, name, failing(name, getattr(os, name)))
        patch.setattr(checked, "open", failing("open", open_counted), raising=False)
        yield calls


def failure_of(action: Callable[[], object]) -> str:
    """The message of what went wrong, or nothing."""
    try:
        action()
    except RunError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("number", [28, 5], ids=["ENOSPC", "EIO"])
def test_a_disk_that_fails_at_any_operation_leaves_the_older_snapshots(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = content(save(run, 3))
    expected = f"{run.snapshots}: cannot write the snapshot of iteration 7: {os.strerror(number)}"
    expected += "\n  earlier snapshots are as they were"
    for at in range(1, 100):
        with fault(monkeypatch, at, OSError(number, os.strerror(number))) as calls:
            message = failure_of(lambda: save(run, 7))
        assert message == ("" if len(calls) < at else expected)
        assert content(run.snapshots / "000000003") == before
        assert load_newest(run, LIKE).damaged == ()
        assert not list(run.snapshots.glob(".*"))
        if len(calls) < at:
            break
        shutil.rmtree(run.snapshots / "000000007", ignore_errors=True)
    assert at > 20 and set(calls) == {"open", "write", "fsync", "mkdir", "rename"}
    assert saved(run) == [3, 7]


def test_a_trainer_killed_at_any_operation_leaves_a_snapshot_to_go_on_with(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 3)
    for at in range(1, 100):
        with fault(monkeypatch, at, Killed()) as calls:
            try:
                save(run, 7, keep=1)
                acknowledged = 7
            except Killed:
                acknowledged = 3
        remove_unfinished(run)
        found = load_newest(run, LIKE)
        assert found.iteration >= acknowledged and found.damaged == ()
        jax.tree.map(np.testing.assert_array_equal, found.trees, trees_of(found.iteration))
        assert not list(run.snapshots.glob(".*"))
        if len(calls) < at:
            break
        shutil.rmtree(run.snapshots)
        save(run, 3)
    assert at > 20 and calls.count("rename") == 2


def test_the_disk_knows_everything_before_a_snapshot_gets_its_name(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    renamed: list[int] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        assert {path.stat().st_ino for path in (source, *source.iterdir())} <= set(flushed)
        renamed.append(len(flushed))
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    save(run, 3)
    assert flushed[renamed[0] :] == [run.snapshots.stat().st_ino]
    assert {path.stat().st_ino for path in (run.spec, run.path, run.path.parent)} <= set(flushed)


KILL_TEN_TIMES = """
import os, random, signal, sys, time
from pathlib import Path
import jax, numpy as np
from segspec.run.folder import RunFolder
from segspec.run.snapshots import save_snapshot

def train(run):
    iteration = 0
    while True:
        iteration += 1
        tree = {"conv1": {"weight": np.full(200_000, iteration, np.float32)}}
        save_snapshot(run, iteration, {"params": tree}, {"metrics": {"loss": 1 / iteration}}, keep=2)
        with open(run.path / "acknowledged", "a") as file:
            file.write(f"{iteration}\\n")

random.seed(1)
for number in range(10):
    run = RunFolder(Path(sys.argv[1]) / str(number))
    run.path.mkdir()
    child = os.fork()
    if child == 0:
        train(run)
    while not (run.path / "acknowledged").exists():
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_sigkill_at_random_instants_loses_no_acknowledged_snapshot(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", KILL_TEN_TIMES, str(tmp_path)], check=True, timeout=120)
    for folder in sorted(tmp_path.iterdir()):
        run = RunFolder(folder)
        acknowledged = (folder / "acknowledged").read_text().splitlines()
        remove_unfinished(run)
        found = load_newest(run, {"params": {"conv1": {"weight": np.zeros(200_000, np.float32)}}})
        assert found.damaged == () and found.iteration >= int(acknowledged[-1] if acknowledged else 1)
        assert np.unique(found.trees["params"]["conv1"]["weight"]).tolist() == [found.iteration]
        assert not list(run.snapshots.glob(".*"))
    assert len(list(tmp_path.iterdir())) == 10


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
