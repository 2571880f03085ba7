from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from segspec.errors import RunError, SegspecError, UsageError
from segspec.evaluate.load import COMPUTED, Choice, Loaded, load, load_run, load_weighted, with_statistics
from segspec.evaluate.model import Model
from segspec.run.folder import RunFolder
from segspec.run.snapshots import save_snapshot
from segspec.weights.files import write_weights

TEXT = """segspec: 1
name: tiny
classes: [ground, thing]
layers:
  - Convolution: {name: part/conv, num_output: 2, kernel_size: 1}
  - BatchNorm: {name: bn}
  - Convolution: {name: score, num_output: $classes, kernel_size: 1}
"""
PLAIN = TEXT.replace("  - BatchNorm: {name: bn}\n", "")


@pytest.fixture
def model(make_model: Any) -> Model:
    return make_model(TEXT.removeprefix("segspec: 1\nname: tiny\n"))


@pytest.fixture
def run(make_run: Any, model: Model, tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "run", TEXT, model, (1, 2))


def write_computed(run: RunFolder, iteration: int) -> None:
    found = {
        "bn": {"mean": np.full(2, 7.0, np.float32), "variance": np.full(2, 9.0, np.float32), "factor": np.float32(1)}
    }
    about = {"iteration": str(iteration), "mode": "exact", "images": "12"}
    write_weights(run.statistics / COMPUTED, found, about=about)


def of(run: RunFolder, choice: Choice = "auto", snapshot: str = "best") -> Loaded:
    return with_statistics(load_run(run.path, snapshot), choice)


def text(loaded: Loaded) -> str:
    return "\n".join(warning.render() for warning in loaded.warnings)


@pytest.mark.parametrize(("snapshot", "iteration"), [("best", 2), ("last", 2), ("1", 1), ("000000001", 1)])
def test_a_snapshot_is_chosen(snapshot: str, iteration: int, run: RunFolder, model: Model) -> None:
    loaded = load_run(run.path, snapshot)
    assert (loaded.iteration, loaded.warnings) == (iteration, ())
    np.testing.assert_array_equal(loaded.model.params["part/conv"]["weight"], model.params["part/conv"]["weight"])


@pytest.mark.parametrize("snapshot", ["3", "latest", "-1", "²"])
def test_a_snapshot_that_is_not_there_is_refused_with_those_that_are(snapshot: str, run: RunFolder) -> None:
    with pytest.raises(RunError, match=f"no snapshot '{snapshot}'\n  there are 1, 2; or write best or last"):
        load_run(run.path, snapshot)


def test_a_damaged_best_snapshot_is_passed_over_with_a_warning(run: RunFolder) -> None:
    file = run.snapshots / "000000002" / "params.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    loaded = load_run(run.path)
    assert loaded.iteration == 1
    assert "000000002: warning: damaged snapshot" in text(loaded)
    (run.snapshots / "000000001" / "state.safetensors").unlink()
    with pytest.raises(RunError, match="every snapshot of this run is damaged"):
        load_run(run.path)


def test_computed_statistics_are_used_for_their_own_snapshot_only(run: RunFolder, model: Model) -> None:
    assert of(run).model.origin == "running averages of the training"
    write_computed(run, 2)
    loaded = of(run)
    assert loaded.model.origin == "computed by compute-bn-stats (exact, 12 images)"
    assert (loaded.model.statistics, loaded.warnings) == ("running", ())
    np.testing.assert_array_equal(loaded.model.state["bn"]["mean"], [7, 7])
    other = of(run, snapshot="1")
    np.testing.assert_array_equal(other.model.state["bn"]["mean"], model.state["bn"]["mean"])
    assert other.model.origin == "running averages of the training"
    assert text(other) == (
        f"{run.statistics / COMPUTED}: warning: these statistics belong to iteration 2 and are not used for 1\n"
        f"  measure them again: segspec compute-bn-stats {run.path} --snapshot 1"
    )


def test_what_is_asked_for_is_used_or_refused(run: RunFolder) -> None:
    with pytest.raises(RunError, match="no computed statistics for iteration 2\n  run segspec compute-bn-stats first"):
        of(run, "computed")
    write_computed(run, 1)
    with pytest.raises(RunError, match="no computed statistics for iteration 2; those there are belong to iteration 1"):
        of(run, "computed")
    assert of(run, "computed", "1").model.origin.startswith("computed")
    assert of(run, "running", "1").model.origin == "running averages of the training"
    batch = of(run, "batch", "1")
    assert (batch.model.statistics, batch.model.origin, batch.warnings) == ("batch", "each image's own", ())


def test_averages_that_were_never_taken_are_not_used(run: RunFolder, model: Model) -> None:
    bare = Model(model.spec, model.params, {"bn": {**model.state["bn"], "factor": jnp.float32(0)}})
    save_snapshot(run, 3, {"params": bare.params, "state": bare.state}, {"metrics": {"miou": 0.9}}, keep=9)
    assert of(run).model.statistics == "batch"
    assert of(run, "running").model.statistics == "running"


def test_a_net_without_normalisation_says_so(tmp_path: Path, make_run: Any, make_model: Any) -> None:
    plain = make_model(PLAIN.removeprefix("segspec: 1\nname: tiny\n"))
    assert of(make_run(tmp_path / "plain", PLAIN, plain)).model.origin == "none in this net"


def test_a_spec_takes_the_weights_of_a_file_a_run_or_a_snapshot(run: RunFolder, model: Model, tmp_path: Path) -> None:
    spec = tmp_path / "net.yaml"
    spec.write_text(TEXT)
    write_weights(tmp_path / "w.safetensors", model.params, model.state)
    for weights in (tmp_path / "w.safetensors", run.path, run.snapshots / "000000001"):
        loaded = load(spec, weights, "best", ())
        assert (loaded.folder, loaded.iteration, loaded.warnings) == (None, None, ())
        np.testing.assert_array_equal(loaded.model.params["part/conv"]["weight"], model.params["part/conv"]["weight"])
        np.testing.assert_array_equal(loaded.model.state["bn"]["factor"], model.state["bn"]["factor"])
    assert with_statistics(loaded, "auto").model.statistics == "running"


def test_blobs_that_a_file_lacks_are_told_of(model: Model, tmp_path: Path) -> None:
    spec = tmp_path / "net.yaml"
    spec.write_text(TEXT)
    write_weights(tmp_path / "w.safetensors", model.params)
    loaded = load_weighted(spec, tmp_path / "w.safetensors")
    assert "warning: blobs that the file lacks keep their initial values" in text(loaded)
    assert "bn.mean, bn.variance, bn.factor" in text(loaded)
    assert with_statistics(loaded, "auto").model.statistics == "batch"
    with pytest.raises(RunError, match="no computed statistics\n"):
        with_statistics(loaded, "computed")


@pytest.mark.parametrize(
    ("path", "weights", "message"),
    [
        ("run", "w.safetensors", "a run folder has weights of its own"),
        ("net.yaml", None, "a spec needs --weights"),
        ("nowhere", None, "there is no such run folder or spec"),
    ],
)
def test_wrong_use_is_told(path: str, weights: str | None, message: str, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(TEXT)
    with pytest.raises(UsageError, match=message):
        load(tmp_path / path, tmp_path / weights if weights else None, "best", ())


def test_a_snapshot_of_another_net_is_refused(run: RunFolder) -> None:
    with pytest.raises(SegspecError, match=r"the snapshot is of another net or solver: 'score/bias' is float32 2"):
        load_run(run.path, overrides=["classes=[a, b, c]"])
