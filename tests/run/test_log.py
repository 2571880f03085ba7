from __future__ import annotations

import json
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from segspec.errors import RunError
from segspec.run.log import Log, read_log


def write(path: Path, *iterations: int, done: int = 0) -> None:
    with Log(path, done) as log:
        for iteration in iterations:
            log.append({"iteration": iteration, "loss": 1.5})


def test_a_record_can_be_read_before_the_log_is_closed(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as log:
        log.append({"iteration": 0, "loss": np.float32(0.25), "miou": 0.5})
        assert read_log(log.path) == [{"iteration": 0, "loss": 0.25, "miou": 0.5}]


def test_what_is_not_finite_stays_json(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as log:
        log.append({"iteration": 0, "loss": float("nan"), "smoothed_loss": np.float32("inf")})
    text = log.path.read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"iteration": 0, "loss": None, "smoothed_loss": None}


def test_resuming_drops_what_will_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 0, 10, 20, 25, 30)
    write(path, 30, 40, done=20)
    assert [record["iteration"] for record in read_log(path)] == [0, 10, 20, 30, 40]


@pytest.mark.parametrize(
    "torn", [b'{"iteration": 30, "lo', b'{"iteration": 30}', b"\0\0\0\0", b"\xff\xfe\n", b"[1]\n", b'{"a": 1}\n']
)
def test_a_torn_last_line_is_passed_over_and_then_removed(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 0, 10)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert [record["iteration"] for record in read_log(path)] == [0, 10]
    write(path, done=40)
    assert path.read_bytes() == whole
    write(path, 40, done=40)
    assert [record["iteration"] for record in read_log(path)] == [0, 10, 40]


def test_a_damaged_line_in_the_middle_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 0, 10, 20)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0\0\n" + lines[2])
    write(path, done=40)
    assert path.read_bytes() == lines[0] + lines[2]
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_full_disk_is_one_message_and_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = FileIO.write, [0]

    class Full(FileIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            written[0] += 1
            if written[0] == 3:
                return real(self, data[:5])
            if written[0] > 3:
                raise OSError(28, "No space left on device")
            return real(self, data)

    monkeypatch.setattr("segspec.run.log.FileIO", Full)
    with Log(tmp_path / "log.jsonl") as log:
        log.append({"iteration": 0})
        log.append({"iteration": 1})
        with pytest.raises(RunError, match=r"log.jsonl: cannot keep the log: No space left on device"):
            log.append({"iteration": 2})
    assert log.path.read_text() == '{"iteration": 0}\n{"iteration": 1}\n'


def test_a_log_that_cannot_be_opened_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot keep the log"):
        Log(tmp_path / "missing" / "log.jsonl")
    with pytest.raises(RunError, match="cannot keep the log"):
        read_log(tmp_path / "log.jsonl")
