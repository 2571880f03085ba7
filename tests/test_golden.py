"""Every layer agrees with arrays that Caffe wrote, and the tool that says so can say otherwise."""

from __future__ import annotations

from pathlib import Path

import golden
import numpy as np
import pytest

from segspec.spec.solver import Precision

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"segnet": ROOT / "tests/golden/layers", "bvlc": ROOT / "tests/golden/layers_bvlc"}
CASES = [(dialect, path) for dialect, folder in FOLDERS.items() for path in sorted(folder.glob("*.prototxt"))]
MISSING = {"filter"}


def test_the_cases_are_here() -> None:
    assert len(CASES) > 130


@pytest.mark.parametrize(("dialect", "path"), CASES, ids=[f"{path.parent.name}/{path.stem}" for _, path in CASES])
def test_agrees_with_caffe(dialect: str, path: Path) -> None:
    verdict = golden.run_case(path, dialect)
    known = "known" if verdict.name in golden.KNOWN else "ok"
    assert verdict.outcome == ("unsupported" if path.stem in MISSING else known), verdict


@pytest.mark.parametrize("precision", ["high", "bfloat16"])
@pytest.mark.parametrize("case", ["conv_k7p3", "bn_learn", "prelu", "sigmoid", "ip", "pool_max_k2s2_mask_ties"])
def test_agrees_at_other_precisions(case: str, precision: Precision) -> None:
    verdict = golden.run_case(FOLDERS["segnet"] / f"{case}.prototxt", "segnet", precision=precision)
    assert verdict.outcome == "ok", verdict


def test_bfloat16_is_no_excuse_for_nan() -> None:
    verdict = golden.run_case(FOLDERS["segnet"] / "softmaxloss_all_ignored.prototxt", "segnet", precision="bfloat16")
    assert verdict.outcome == "known"


def test_only_what_is_explained_may_differ() -> None:
    assert set(golden.KNOWN) == {"layers/softmaxloss_all_ignored"}


def _copied(case: str, folder: Path, change: str) -> Path:
    """A case in a folder of its own, with one array made wrong."""
    source = FOLDERS["segnet"] / case
    path = folder / f"{case}.prototxt"
    path.write_text(source.with_suffix(".prototxt").read_text())
    with np.load(source.with_suffix(".npz")) as file:
        arrays = dict(file)
    arrays[change] = arrays[change] * 1.001
    np.savez(path.with_suffix(".npz"), **arrays)
    return path


@pytest.mark.parametrize("array", ["top_0", "bottom_0_diff", "param_0_diff", "param_1_diff"])
def test_a_wrong_array_is_found_and_named(array: str, tmp_path: Path) -> None:
    verdict = golden.run_case(_copied("conv_k3p1", tmp_path, array), "segnet")
    assert verdict.outcome == "FAIL"
    assert verdict.remark.startswith(array)
    assert 1e-4 < verdict.error < 1e-2


@pytest.mark.parametrize("precision", ["high", "bfloat16"])
def test_a_wrong_array_is_found_at_other_precisions(precision: Precision, tmp_path: Path) -> None:
    verdict = golden.run_case(_copied("conv_k3p1", tmp_path, "param_0_diff"), "segnet", precision=precision)
    assert verdict.outcome == "FAIL"
    assert verdict.remark.startswith("param_0_diff")


def test_the_exit_status_says_whether_a_case_fell_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _copied("relu", tmp_path, "top_0")
    assert golden.main([str(tmp_path)]) == 1
    assert "1 cases: 0 ok, 0 known, 1 FAIL, 0 unsupported" in capsys.readouterr().out
    assert golden.main([str(tmp_path), "--tolerance", "0.1"]) == 0
    assert golden.main([str(tmp_path), "--precision", "bfloat16"]) == 1


def test_an_unsupported_type_falls_short_unless_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _copied("filter", tmp_path, "top_0")
    assert golden.main([str(tmp_path)]) == 1
    assert "unsupported layer type 'Filter'" in capsys.readouterr().out
    assert golden.main([str(tmp_path), "--allow-unsupported"]) == 0


def test_an_empty_folder_is_no_success(tmp_path: Path) -> None:
    assert golden.main([str(tmp_path)]) == 1


def test_relative_error_knows_shapes_and_nan() -> None:
    one = np.ones((2, 3), np.float32)
    assert golden.relative_error(one, one.reshape(1, 2, 3, 1)) == 0
    assert golden.relative_error(one, one.T) == np.inf
    assert golden.relative_error(one * np.nan, one) == np.inf
    assert golden.relative_error(one, one * 2) == 0.5
