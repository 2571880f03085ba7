"""`train --weights` from a run, a snapshot or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_runs import train

from segspec.run.snapshots import read_arrays
from segspec.weights.files import write_weights

pytestmark = pytest.mark.usefixtures("quick")


class TestWeights:
    """`--weights` from a run, a snapshot or a file."""

    @pytest.fixture
    def source(self, project: Any, tmp_path: Path) -> Path:
        run = tmp_path / "source"
        assert train(project, run, "--solver-set", "max_iter=4") == 0
        return run

    def started(self, run: Path) -> dict[str, Any]:
        """The parameters that a run started from."""
        return read_arrays(run / "snapshots" / "000000000")["params"]

    @pytest.mark.parametrize(("part", "iteration"), [("", 4), ("snapshots/000000002", 2)])
    def test_a_run_or_a_snapshot_hands_its_weights_on(
        self, part: str, iteration: int, project: Any, source: Path, tmp_path: Path, capsys: Any
    ) -> None:
        capsys.readouterr()
        run = tmp_path / "run"
        more = ("--solver-set", "max_iter=1", "--skip", "bn")
        assert train(project, run, "--weights", str(source / part), *more) == 0
        told = capsys.readouterr().err
        assert f"weights from {source}/snapshots/{iteration:09d}" in told
        assert "loaded      4 blobs" in told
        assert "initial     5 blobs: bn.scale" in told
        theirs = read_arrays(source / "snapshots" / f"{iteration:09d}")["params"]
        for name, array in self.started(run).items():
            assert np.array_equal(array, theirs[name]) == (not name.startswith("bn"))

    def test_a_file_hands_its_weights_on(self, project: Any, tmp_path: Path, capsys: Any) -> None:
        rng = np.random.default_rng(0)
        weight = rng.normal(size=(1, 1, 4, 2)).astype(np.float32)
        write_weights(tmp_path / "w.safetensors", {"score": {"weight": weight}, "extra": {"bias": np.zeros(3)}})
        run = tmp_path / "run"
        assert train(project, run, "--weights", str(tmp_path / "w.safetensors"), "--solver-set", "max_iter=1") == 0
        told = capsys.readouterr().err
        assert "loaded      1 blobs" in told
        assert "unused      1 blobs: extra.bias" in told
        np.testing.assert_array_equal(self.started(run)["score/weight"], weight)

    def test_another_number_of_classes_names_the_layer_to_skip(
        self, project: Any, source: Path, tmp_path: Path, capsys: Any
    ) -> None:
        spec = ("--set", "classes=[a, b, c]")
        assert train(project, tmp_path / "run", "--weights", str(source), *spec) == 1
        told = capsys.readouterr().err
        assert "mismatched  score.weight: the net has 1x1x4x3, the file 1x1x4x2" in told
        assert "--skip score" in told
        assert not (tmp_path / "run").exists()
        more = ("--skip", "score", "--solver-set", "max_iter=1")
        assert train(project, tmp_path / "run", "--weights", str(source), *spec, *more) == 0

    def test_names_that_lead_nowhere_are_refused(self, project: Any, source: Path, tmp_path: Path, capsys: Any) -> None:
        run = tmp_path / "run"
        assert train(project, run, "--weights", str(source), "--skip", "scor") == 1
        assert "no layer 'scor' to skip\n  did you mean 'score'?" in capsys.readouterr().err
        assert train(project, run, "--weights", str(project.folder)) == 1
        assert "neither a run nor a snapshot" in capsys.readouterr().err
        for params in source.glob("snapshots/*/params.safetensors"):
            params.write_bytes(params.read_bytes()[:-1])
        assert train(project, run, "--weights", str(source)) == 1
        told = capsys.readouterr().err
        assert "damaged snapshot passed over: params.safetensors" in told
        assert "every snapshot of this run is damaged" in told
        assert not run.exists()
