"""A net and a solver are found from what the command line names: both, or Caffe's solver alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import SpecError, UsageError
from segspec.layers.data import DenseImageData
from segspec.spec.training import load_training

NET = """
layer { name: "d" type: "DenseImageData" top: "data" top: "label" include { phase: TRAIN STAGE }
  dense_image_data_param { source: "train.txt" batch_size: 2 } }
layer { name: "d" type: "DenseImageData" top: "data" top: "label" include { phase: TEST }
  dense_image_data_param { source: "test.txt" } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" }
"""
SOLVER = 'net: "nets/n.prototxt" base_lr: 0.1 max_iter: 3 lr_policy: "fixed" test_iter: 2\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a net and a solver whose paths are relative to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "n.prototxt").write_text(NET.replace("STAGE", ""))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


def sources(training: object) -> dict[str, str]:
    data = training.spec.data  # type: ignore[attr-defined]
    assert all(isinstance(layer, DenseImageData) for layer in data.values())
    return {phase: layer.source for phase, layer in data.items()}


def test_caffes_solver_finds_its_net_from_the_working_directory(folder: Path) -> None:
    training = load_training(None, Path("solver.prototxt"))
    assert training.solver.max_iter == 3
    assert sources(training) == {"train": "train.txt", "test": "test.txt"}
    assert training.warnings == ()


@pytest.mark.parametrize("place", ["sub", "sub/nets"])
def test_a_net_beside_its_solver_is_found_and_said(folder: Path, place: str) -> None:
    (folder / "sub").mkdir()
    (folder / place).mkdir(exist_ok=True)
    (folder / "nets" / "n.prototxt").rename(folder / place / "n.prototxt")
    (folder / "solver.prototxt").rename(folder / "sub" / "solver.prototxt")
    training = load_training(None, Path("sub/solver.prototxt"))
    assert training.warnings[0].message == (
        f"there is no 'nets/n.prototxt' in the working directory; {place}/n.prototxt is taken"
    )


def test_a_net_that_is_nowhere(folder: Path) -> None:
    (folder / "nets" / "n.prototxt").unlink()
    with pytest.raises(SpecError, match=r"solver.prototxt:1:6: there is no net 'nets/n.prototxt'"):
        load_training(None, Path("solver.prototxt"))


def test_a_template_in_the_path_is_named(folder: Path) -> None:
    (folder / "solver.prototxt").write_text(SOLVER.replace("nets/", "${EXP}/"))
    with pytest.raises(SpecError, match=r"nothing fills '\$\{EXP\}' in the path of the net"):
        load_training(None, Path("solver.prototxt"))
    assert load_training(None, Path("solver.prototxt"), (), ["EXP=nets"]).spec.name == "n"


def test_overrides_reach_the_net(folder: Path) -> None:
    training = load_training(None, Path("solver.prototxt"), ["d.dense_image_data_param.batch_size=5"], ["max_iter=9"])
    assert (training.spec.data["train"].batch_size, training.solver.max_iter) == (5, 9)


def test_a_test_net_of_its_own_gives_the_test_images(folder: Path) -> None:
    (folder / "t.prototxt").write_text(NET.replace("STAGE", "").replace("test.txt", "other.txt"))
    (folder / "solver.prototxt").write_text(SOLVER.replace("net:", "train_net:") + 'test_net: "t.prototxt"')
    assert sources(load_training(None, Path("solver.prototxt"))) == {"train": "train.txt", "test": "other.txt"}


def test_the_stage_of_training_is_asked_for(folder: Path) -> None:
    (folder / "nets" / "n.prototxt").write_text(NET.replace("STAGE", 'stage: "fit"'))
    with pytest.raises(SpecError, match="--stage fit brings it"):
        load_training(None, Path("solver.prototxt"))
    (folder / "solver.prototxt").write_text(SOLVER + 'train_state { stage: "fit" }')
    alone = load_training(None, Path("solver.prototxt"))
    given = load_training(Path("nets/n.prototxt"), Path("solver.prototxt"))
    assert sources(alone) == sources(given) == {"train": "train.txt", "test": "test.txt"}


def test_the_level_of_training_is_asked_for(folder: Path) -> None:
    (folder / "nets" / "n.prototxt").write_text(NET.replace("STAGE", "min_level: 2"))
    (folder / "solver.prototxt").write_text(SOLVER + "train_state { level: 2 }")
    alone = load_training(None, Path("solver.prototxt"))
    given = load_training(Path("nets/n.prototxt"), Path("solver.prototxt"))
    assert sources(alone) == sources(given) == {"train": "train.txt", "test": "test.txt"}


def test_a_net_inside_the_solver(folder: Path) -> None:
    text = f"net_param {{ name: 'inner' {NET.replace('STAGE', '')} }} base_lr: 1 max_iter: 1 lr_policy: 'fixed'"
    (folder / "solver.prototxt").write_text(text)
    training = load_training(None, Path("solver.prototxt"))
    assert training.spec.name == "inner"
    assert sources(training) == {"train": "train.txt", "test": "test.txt"}


def test_a_solver_in_yaml_needs_a_net(folder: Path) -> None:
    (folder / "s.yaml").write_text("base_lr: 1\nmax_iter: 1\n")
    with pytest.raises(UsageError, match="train takes a network spec and a solver"):
        load_training(None, Path("s.yaml"))
    with pytest.raises(UsageError, match="train takes a network spec and a solver"):
        load_training(None, Path("nets/n.prototxt"))
    assert load_training(Path("nets/n.prototxt"), Path("s.yaml")).solver.base_lr == 1
    assert load_training(Path("nets/n.prototxt"), Path("solver.prototxt")).spec.name == "n"


def test_a_solver_without_a_net_says_how_to_give_one(folder: Path) -> None:
    (folder / "solver.prototxt").write_text("base_lr: 1 max_iter: 1 lr_policy: 'fixed'")
    with pytest.raises(SpecError, match="the solver names no net"):
        load_training(None, Path("solver.prototxt"))
