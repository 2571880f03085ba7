"""The tool that reads whole folders of prototxts tells what it found, and fails where it should."""

from __future__ import annotations

import json
from pathlib import Path

import corpus
import pytest

CONV = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
"""
INPUT = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }'
SOURCE = 'layer { name: "d" type: "WindowData" top: "data" top: "label" include { RULE } }'


def judge(folder: Path, text: str, **row: object) -> object:
    (folder / "n.prototxt").write_text(text)
    return corpus.judge(folder, corpus.Row("n.prototxt", **row))


def test_a_fed_net_is_built_and_counted(tmp_path: Path) -> None:
    found = judge(tmp_path, INPUT + CONV, params=8)
    assert (found.status, found.phases, found.params) == ("ok", ["DEPLOY"], 8)


def test_every_state_that_has_data_is_built(tmp_path: Path) -> None:
    rules = ("phase: TRAIN", "phase: TEST stage: 'a'", "phase: TEST stage: 'b'")
    found = judge(tmp_path, "".join(SOURCE.replace("RULE", rule) for rule in rules) + CONV)
    assert (found.status, found.phases) == ("ok", ["TRAIN", "TEST+a", "TEST+b"])


@pytest.mark.parametrize(
    ("text", "status", "cause"),
    [
        (INPUT + CONV.replace("Convolution", "Foo"), "cause", "unsupported layer type Foo"),
        (INPUT + CONV.replace("num_output: 2", "num_output: ${N}"), "cause", "unfilled template '${N}'"),
        (INPUT + CONV.replace("num_output: 2", ""), "cause", "a num_output is left out, for a program to fill in"),
        (CONV, "cause", "no data layer and no input"),
        (INPUT + CONV.replace("{", "[", 1), "FAILED", "refused"),
        (INPUT + CONV.replace("size: 1", "size: 9"), "FAILED", "refused"),
        ("base_lr: 0.1 max_iter: 3 lr_policy: 'fixed'", "ok", None),
        ("base_lr: 0.1 max_iter: 0 lr_policy: 'fixed'", "FAILED", "refused"),
    ],
)
def test_verdicts(tmp_path: Path, text: str, status: str, cause: str | None) -> None:
    found = judge(tmp_path, text)
    assert (found.status, found.causes) == (status, [cause] if cause else [])


def test_a_count_that_nothing_explains_is_a_failure(tmp_path: Path) -> None:
    dense = 'layer { name: "i" type: "InnerProduct" bottom: "data" top: "i" inner_product_param { num_output: 2 } }'
    assert judge(tmp_path, INPUT + dense, params=7).status == "FAILED"
    found = judge(tmp_path, INPUT + dense, params=2 * 3 * 4 * 4 + 2, shape=(1, 3, 4, 4))
    assert found.status == "ok"
    assert "it fed the net with 1x3x4x4, the file says 1x3x8x8" in found.notes[0]


def test_shared_blobs_may_be_counted_wherever_they_are_used(tmp_path: Path) -> None:
    conv = CONV.replace('top: "c"', 'top: "c" param { name: "w" } param { name: "b" }')
    found = judge(tmp_path, INPUT + conv + conv.replace('"c"', '"e"'), params=16)
    assert (found.status, found.params) == ("ok", 8)
    assert "shared blobs are counted there wherever they are used" in found.notes[0]


def test_an_undeclared_size_is_searched(tmp_path: Path) -> None:
    source = SOURCE.replace("RULE", "phase: TRAIN")
    pool = 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 500 } }'
    assert judge(tmp_path, source + pool).notes == ["TRAIN: the size of images is not declared; 512x512 fits"]
    assert judge(tmp_path, source + pool.replace("500", "600")).status == "cause"


def test_a_traceback_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(corpus, "parse_prototxt", crash)
    assert judge(tmp_path, INPUT + CONV).causes == ["traceback"]


def test_a_folder_and_its_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.prototxt").write_text(INPUT + CONV)
    (tmp_path / "b.prototxt").write_text("{")
    (tmp_path / "m.csv").write_text('file,kind,params,input\na.prototxt,deploy,8,"[1, 3, 8, 8]"\n')
    assert corpus.main([str(tmp_path), "--manifest", str(tmp_path / "m.csv")]) == 0
    assert "ok     a.prototxt: DEPLOY  8" in capsys.readouterr().out
    assert corpus.main([str(tmp_path), "--json"]) == 1
    assert [found["status"] for found in json.loads(capsys.readouterr().out)] == ["ok", "FAILED"]


def test_real_files(shared: Path) -> None:
    rows = corpus.read_manifest(shared / "corpus" / "manifest.csv")
    verdicts = [corpus.judge(shared / "corpus", row) for row in rows[::12]]
    assert [(verdict.file, verdict.notes) for verdict in verdicts if verdict.status == "FAILED"] == []
    assert sum(verdict.params is not None for verdict in verdicts) > len(verdicts) // 2
