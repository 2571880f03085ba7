"""The tool that trains the variants of the SegNet paper, on a made data set, stopped and gone on with."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import paper_table1 as tool
import pytest
from PIL import Image

from segspec.spec.net import load_net

VARIANTS = ["fcn_basic_no_addition", "segnet_single_channel_decoder"]


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    folder = tmp_path / "camvid"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, count in (("train", 4), ("val", 2)):
        for number in range(count):
            label = np.kron(rng.integers(0, 12, (4, 6)), np.ones((8, 8), int)).astype(np.uint8)
            Image.fromarray(np.stack([20 * label, 255 - 20 * label, label], -1)).save(folder / f"{name}{number}.png")
            Image.fromarray(label).save(folder / f"{name}{number}_label.png")
        lines = [f"{name}{number}.png {name}{number}_label.png" for number in range(count)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def call(camvid: Path, *more: str) -> int:
    sizes = ["--size", "16x24", "--iterations", "2", "--device", "cpu", "--set", "data.train.batch_size=2"]
    sizes += ["--balancing", "median"]
    arguments = ["--camvid", str(camvid), "--out", str(camvid.parent / "out"), *sizes]
    return tool.main([*arguments, "--variants", *VARIANTS, *more])


@pytest.mark.slow
def test_two_variants_are_trained_in_pieces_and_tabled(camvid: Path, capfd: Any) -> None:
    out = camvid.parent / "out"

    def table() -> list[dict[str, Any]]:
        return list(json.loads((out / "table.json").read_text())["rows"])

    assert call(camvid, "--minutes", "0") == 0
    assert [(row["iterations"], row["here"]) for row in table()] in ([(1, None), (0, None)], [(2, None), (0, None)])
    assert "stopped; go on with" in capfd.readouterr().err
    assert call(camvid) == 0
    said = capfd.readouterr()
    assert "resuming" in said.err and "2 of 2 done" in said.out
    assert [(row["spec"], row["iterations"], row["best"], row["images"]) for row in table()] == [
        (variant, 2, row["best"], 2) for variant, row in zip(VARIANTS, table(), strict=True)
    ]
    assert {row["best"] for row in table()} <= {1, 2}
    scores, lines = table()[0]["here"], (out / "table.md").read_text().splitlines()
    assert 0 < scores["mean_iou"] <= scores["class_average"] <= 100
    (line,) = (line for line in lines if "FCN-Basic-NoAddition" in line)
    assert line.startswith("| FCN-Basic-NoAddition | median | 2 | ")
    assert f" | {scores['mean_iou']:.1f} | {scores['boundary_f1']:.2f} | 80.5 | 58.6 | 44.1 | 31.96 |" in line
    assert any("2 of them, which the nets saw at 16x24" in line for line in lines)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/snapshots/*")}
    assert call(camvid) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/snapshots/*")} == before


def test_each_training_has_its_balancing_and_its_size(tmp_path: Path) -> None:
    settings = tool.Settings("/c", (90, 120), ["width=3"])
    median, natural = (tool._changes(tool.Training("fcn_basic", each, tmp_path), settings) for each in tool.BALANCINGS)
    assert [change for change in natural if change not in median] == ["weights="]
    spec = load_net(tool.SPECS / "fcn_basic.yaml", natural[:-1])
    assert spec.data["train"].size == spec.data["test"].size == (90, 120)
    assert natural[-1] == "width=3"


@pytest.mark.slow
def test_a_training_that_cannot_begin_ends_the_work(camvid: Path, capfd: Any) -> None:
    (camvid / "train0.png").unlink()
    assert call(camvid) == 1
    assert capfd.readouterr().err.count("no such file") == 1
    assert "| - |" in (camvid.parent / "out" / "table.md").read_text()


def test_other_settings_need_another_folder(camvid: Path, capsys: Any) -> None:
    out = camvid.parent / "out"
    tool.keep_to(tool.Settings("there", (90, 120)), out)
    tool.keep_to(tool.Settings("there", (90, 120)), out)
    assert call(camvid) == 2
    assert "begun with other settings" in capsys.readouterr().err


def test_the_paper_is_known_for_every_variant() -> None:
    specs = {path.stem for path in tool.SPECS.glob("*.yaml")}
    assert set(tool.published()) == specs
    best = max(tool.published().items(), key=lambda each: each[1].scores["median"].mean_iou)
    assert (best[0], best[1].scores["median"].mean_iou) == ("fcn_basic_no_dim_reduction", 50.1)


def test_a_signal_from_elsewhere_interrupts_while_there_is_time() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), tool.stop_at(time.monotonic() + 60):
        os.kill(os.getpid(), signal.SIGTERM)
    with tool.stop_at(time.monotonic()):
        time.sleep(4 * tool.REMIND_SECONDS)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("size", ["90", "0x120", "90x120x3", "-1x2"])
def test_a_size_has_two_lengths(size: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        tool.main(["--size", size])
    assert "is no size" in capsys.readouterr().err or size == "-1x2"
