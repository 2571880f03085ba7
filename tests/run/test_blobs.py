from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import RunError, Source, WeightsError
from segspec.graph.build import build, image_inputs
from segspec.run.blobs import read_blobs
from segspec.run.folder import RunFolder
from segspec.run.snapshots import read_arrays, save_snapshot
from segspec.spec.net import read_net
from segspec.weights.files import write_weights

TEXT = "segspec: 1\nlayers: [Convolution: {name: a, num_output: 2, kernel_size: 1}]\n"
GRAPH = build(read_net(Source("net.yaml", TEXT), Path()), "DEPLOY", image_inputs(1, 4, 4, 3, labels=False))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two snapshots, of which the first is the better one; names hold what paths cannot."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.spec.write_text("segspec: 1\n")
    for iteration, miou in ((1, 0.9), (2, 0.5)):
        params = {"e1/conv%2F": {"weight": jnp.full((2, 3), float(iteration))}, "bn": {"scale": jnp.ones(2)}}
        state = {"bn": {"mean": jnp.zeros(2), "factor": jnp.float32(iteration)}}
        trees = {"params": params, "state": state, "optimizer": (jnp.zeros(3),)}
        save_snapshot(run, iteration, trees, {"metrics": {"miou": miou}}, keep=9)
    return run


@pytest.mark.parametrize(("part", "iteration"), [("", 1), ("snapshots/000000001", 1), ("snapshots/000000002", 2)])
def test_a_run_gives_its_best_snapshot_and_a_snapshot_itself(part: str, iteration: int, run: RunFolder) -> None:
    found = read_blobs(run.path / part, GRAPH)
    blobs = found.blobs
    assert found.place == str(run.snapshots / f"{iteration:09d}")
    assert {layer: set(own) for layer, own in blobs.items()} == {
        "e1/conv%2F": {"weight"},
        "bn": {"scale", "mean", "factor"},
    }
    assert blobs["e1/conv%2F"]["weight"].tolist() == [[iteration] * 3] * 2
    assert blobs["bn"]["factor"].shape == ()


def test_without_tests_the_newest_counts(run: RunFolder) -> None:
    other = RunFolder(run.path.parent / "other")
    other.path.mkdir()
    for iteration in (3, 5):
        save_snapshot(other, iteration, {"params": {"a": {"b": jnp.zeros(1)}}, "state": {}}, {}, keep=9)
    assert Path(read_blobs(other.path, GRAPH).place).name == "000000005"


def test_a_file_is_a_file(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", {"a": {"b": np.ones(2)}})
    assert read_blobs(tmp_path / "w.safetensors", GRAPH).place == str(tmp_path / "w.safetensors")


def test_what_holds_no_weights_is_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read_blobs(tmp_path / "none", GRAPH)
    with pytest.raises(WeightsError, match="neither a run nor a snapshot"):
        read_blobs(tmp_path, GRAPH)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "spec.yaml").write_text("segspec: 1\n")
    with pytest.raises(RunError, match="the run has no snapshot yet"):
        read_blobs(empty, GRAPH)


@pytest.mark.parametrize("file", ["params.safetensors", "manifest.json"])
def test_damage_is_found(file: str, run: RunFolder) -> None:
    path = run.snapshots / "000000001"
    (path / file).write_bytes((path / file).read_bytes().replace(b"6", b"7", 1)[:-1])
    with pytest.raises(RunError, match="damaged snapshot"):
        read_arrays(path)


def test_a_damaged_best_snapshot_is_passed_over_with_a_warning(run: RunFolder) -> None:
    params = run.snapshots / "000000001" / "params.safetensors"
    params.write_bytes(params.read_bytes()[:-1])
    found = read_blobs(run.path, GRAPH)
    assert Path(found.place).name == "000000002"
    (warning,) = found.warnings
    assert warning.render().startswith(f"{params.parent}: warning: damaged snapshot passed over: params.safetensors")
    with pytest.raises(RunError, match="damaged snapshot: params"):
        read_blobs(params.parent, GRAPH)
    (run.snapshots / "000000002" / "state.safetensors").unlink()
    with pytest.raises(RunError, match="every snapshot of this run is damaged"):
        read_blobs(run.path, GRAPH)
