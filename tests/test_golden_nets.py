"""Whole nets, trainings and statistics agree with arrays that Caffe wrote; the tool can say otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import golden_nets as tool
import numpy as np
import pytest

from segspec.spec.solver import Precision

CASES = {
    "nets": ("small_segnet_basic_inference", "small_bayesian_segnet_basic"),
    "traj": ("tiny_sgd", "tiny_sgd_bn_itersize2", "tiny_nesterov", "bvlc_adam", "bvlc_rmsprop", "bvlc_lr_poly"),
    "bnstats": ("segnet_basic_bn",),
}


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder, names in CASES.items() for name in names])
def test_agrees_with_caffe(folder: str, name: str, shared: Path) -> None:
    root = shared / "golden"
    (case,) = [case for case in tool.run_folder(root / folder, root, [name]) if case.name == f"{folder}/{name}"]
    assert case.ok, str(case)
    assert len(case.figures) > 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision"), [("nets/small_segnet_basic_inference", "bfloat16"), ("traj/tiny_sgd_bn", "high")]
)
def test_agrees_at_other_precisions(name: str, precision: Precision, shared: Path) -> None:
    root = shared / "golden"
    folder, _, stem = name.partition("/")
    (case,) = [case for case in tool.run_folder(root / folder, root, [stem], precision) if case.name == name]
    assert case.ok, str(case)


@pytest.mark.parametrize("precision", ["float32", "high", "bfloat16"])
def test_an_array_that_differs_is_found(precision: Precision, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nets"
    folder.mkdir()
    name = "small_segnet_basic_inference"
    shutil.copy(shared / f"golden/nets/{name}.prototxt", folder)
    shutil.copy(shared / "golden/nets/small_segnet_basic.caffemodel", folder)
    with np.load(shared / f"golden/nets/{name}.npz") as file:
        arrays = dict(file)
    arrays["conv1_bn/conv1"] = arrays["conv1_bn/conv1"] * np.float32(1.001)
    np.savez(folder / f"{name}.npz", **arrays)
    (case,) = tool.run_folder(folder, tmp_path, precision=precision)
    assert [figure.what for figure in case.figures if not figure.ok] == ["conv1_bn/conv1"]
    assert str(case).startswith("FAIL")


def test_a_folder_without_weights_is_a_failure(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nets"
    folder.mkdir()
    for ending in ("prototxt", "npz"):
        shutil.copy(shared / f"golden/nets/small_segnet_basic_inference.{ending}", folder)
    assert tool.main([str(folder)]) == 1
