"""Contests between processes: turns, deaths, and the command line around them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from bench import command
from bench.contest import Contestant, Rules, Team, refuse_beside, repeats, show_seconds
from bench.contestants import device_environment, net_contestants
from bench.launch import Launch, race
from bench.machine import peak_resident, relevant
from bench.ops_task import convolution_tasks, flops, halved, pool_tasks
from bench.options import Options
from bench.results import Contest, Entry
from bench.worker import environment_of

TASK = {"action": "train", "network": "segnet"}
WORKER = """
import json, sys, os
turns = 0
for line in sys.stdin:
    request = json.loads(line)
    if "open" in request:
        assert request["open"]["network"] == "segnet"
        answer = {"info": {"parameters": 5}, "seconds": 0.1, "peak": 100}
    else:
        turns += 1
        {DEED}
        answer = {"seconds": [0.25] * request["repeat"], "peak": 100 + turns, "last": None}
    print(json.dumps(answer), flush=True)
"""


def contestant(name: str, deed: str = "pass") -> Contestant:
    return Contestant(name, "segspec", (sys.executable, "-c", WORKER.replace("{DEED}", deed)))


def contest(*contestants: Contestant, patience: float = 30.0, said: list[str] | None = None) -> Contest:
    heard: list[str] = [] if said is None else said
    rules = Rules(rounds=3, turn_seconds=0.2, patience=patience, say=heard.append)
    with Team(contestants, rules) as team:
        return team.contest("train", TASK)


def test_every_contestant_has_a_turn_a_round() -> None:
    said: list[str] = []
    found = contest(contestant("one"), contestant("other"), said=said)
    for entry in found.entries:
        assert (entry.values, entry.peak, entry.error) == ((0.25,) * 3, 103, None)
        assert entry.info["repeat"] == 2
    assert "  one: round 3 of 3, median 250 ms" in said


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("turns == 2 and sys.exit('no more of it')", "ended with status 1: no more of it"),
        ("turns == 2 and os.kill(os.getpid(), 9)", "killed by SIGKILL, perhaps for want of memory"),
    ],
)
def test_one_that_dies_is_reported_and_the_others_go_on(deed: str, reason: str) -> None:
    dead, alive = contest(contestant("dead", deed), contestant("alive")).entries
    assert (dead.error, dead.values) == (reason, (0.25,))
    assert (alive.error, len(alive.values)) == (None, 3)


def test_one_that_never_answers_is_given_up() -> None:
    (dead,) = contest(contestant("dead", "import time; time.sleep(60)"), patience=0.5).entries
    assert dead.error == "no answer within 0.5 seconds"


def test_one_that_cannot_be_started_is_reported() -> None:
    absent, alive = contest(Contestant("absent", "torch", ("/no/such/python",)), contestant("alive")).entries
    assert "No such file" in (absent.error or "")
    assert alive.error is None


def test_a_worker_that_failed_at_one_task_is_asked_for_the_next() -> None:
    able = contestant("able", "")
    worker = (sys.executable, "-m", "bench.serve", "ops_segspec")
    rules = Rules(rounds=1, turn_seconds=0.0, say=lambda text: None)
    task = {"op": "pool", "shape": [1, 4, 4, 2], "precision": "float32", "device": "cpu"}
    with Team([Contestant("segspec", "segspec", worker, device_environment("segspec", "cpu"))], rules) as team:
        (failed,) = team.contest("pool", {**task, "shape": [1]}).entries
        (done,) = team.contest("pool", task).entries
    assert able.family == "segspec"
    assert "ValueError" in (failed.error or "")
    assert done.error is None
    assert done.values[0] > 0


def test_a_program_is_timed_until_it_says_what_it_was_started_for(tmp_path: Path) -> None:
    told = 'print("first"); print(\'{"trace": 0.5, "loss": 1.0}\', flush=True); import time; time.sleep(60)'
    launches = [
        Launch("says", "segspec", (sys.executable, "-c", told), '"loss"', emptied=(tmp_path / "cache",)),
        Launch("ends", "segspec", (sys.executable, "-c", "")),
        Launch("fails", "torch", (sys.executable, "-c", "raise SystemExit('no')")),
        Launch("silent", "torch", (sys.executable, "-c", "print(1)"), "iteration"),
    ]
    rules = Rules(rounds=2, say=lambda text: None)
    says, ends, fails, silent = race("startup", {}, launches, rules, warm_up=True).entries
    assert len(says.values) == len(ends.values) == 2
    assert max(says.values) < 30
    assert says.info == {"trace": 0.5, "loss": 1.0}
    assert fails.error == "ended with status 1: no"
    assert silent.error == "ended with status 0: 1"


def test_a_worker_that_would_not_fit_beside_the_others_is_not_started() -> None:
    assert refuse_beside(2 * 10**9, 10**9, "cpu") == (
        "may need 2.0 GB of memory beside the others, where 1.0 GB are free"
    )
    assert refuse_beside(2 * 10**9, 10**9, "gpu") is None
    assert refuse_beside(2 * 10**9, 3 * 10**9, "cpu") is None
    assert refuse_beside(2 * 10**9, None, "cpu") is None


def test_quick_tasks_are_repeated_within_a_turn() -> None:
    assert [repeats(seconds, 0.3) for seconds in (1.0, 0.1, 1e-6)] == [1, 3, 50]


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2 s"), (0.0123, "12.3 ms"), (7e-5, "70 us"), (123.4, "123 s"), (0.4567, "457 ms")]
)
def test_seconds_are_shown_in_a_fitting_unit(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


def test_who_takes_part_depends_on_the_precision() -> None:
    def names(precision: str, *named: str) -> list[str]:
        return [each.name for each in net_contestants(precision, "cpu", named, "python")]

    torch = ["torch-nchw", "torch-channels-last", "torch-compile"]
    assert names("float32") == ["segspec", "pure-jax", *torch]
    assert names("bfloat16") == ["segspec", *torch]
    assert names("high", "pure-jax") == ["pure-jax"]


def test_each_runs_as_its_name_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSPEC_TUNE", "0")
    contestants = net_contestants("float32", "cpu", ("segspec", "pure-jax"), "python")
    found = {each.name: environment_of(each.environment) for each in contestants}
    assert {name: found[name].get("SEGSPEC_NATIVE") for name in found} == {"segspec": None, "pure-jax": "0"}
    assert {name: found[name].get("SEGSPEC_TUNE") for name in found} == {"segspec": None, "pure-jax": None}


def test_the_environment_that_matters_is_told() -> None:
    told = relevant({"HOME": "/root", "OMP_NUM_THREADS": "2", "SEGSPEC_NATIVE": "0"})
    assert told == {"OMP_NUM_THREADS": "2", "SEGSPEC_NATIVE": "0"}


def test_a_process_holds_memory() -> None:
    assert peak_resident() > 2**20


def test_operations_have_the_shapes_of_the_networks() -> None:
    assert halved((360, 480), 4) == (23, 30)
    assert len(list(pool_tasks((360, 480), 1, "float32", "cpu"))) == 20
    first = next(iter(convolution_tasks((360, 480), 2, "float32", "cpu")))
    assert flops(first) == 2 * 2 * 360 * 480 * 9 * 3 * 64
    assert flops(next(iter(pool_tasks((360, 480), 1, "float32", "cpu")))) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: SUITE"),
        (["trian"], "no suite 'trian'; there are train, infer"),
        (["train", "--sizes", "180"], "takes HEIGHTxWIDTH in pixels, such as 360x480; got '180'"),
        (["train", "--networks", "unet"], "no network 'unet'; there are segnet, segnet-basic"),
        (["train", "--rounds", "0"], "takes a whole number from 1 on; got '0'"),
        (["train", "--out", "/no/such/folder/bench.json"], "there is no such folder"),
        (["data", "--data", "/no/such/folder"], "there is no train.txt"),
        (["table", "--with", "/no/such.json"], "/no/such.json: No such file or directory"),
    ],
)
def test_a_wrong_use_is_one_clear_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert told.err.count("\n") == 1


def test_lists_take_commas_and_spaces() -> None:
    words = command._parser().parse_args(["train", "--sizes", "90x120,180x240", "45x60", "--precision", "high"])
    options: Options = command._options(words)
    assert options.sizes == ((90, 120), (180, 240), (45, 60))
    assert options.precisions == ("high",)


def test_another_file_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    path.write_text("[]")
    assert command.main(["table", "--with", str(path)]) == 2
    assert "is no result of the bench" in capsys.readouterr().err


def test_results_are_written_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, markdown = tmp_path / "bench.json", tmp_path / "bench.md"
    seen: list[int] = []

    def suite(options: Options) -> Any:
        for number in range(2):
            if out.exists():
                seen.append(len(json.loads(out.read_text())["contests"]))
            yield Contest("pool", {"op": "pool", "shape": [1], "precision": "float32"}, (Entry("a", "torch", (1.0,)),))
            if number:
                raise KeyboardInterrupt

    monkeypatch.setattr(command, "SUITES", {"pool": suite})
    assert command.main(["pool", "--out", str(out), "--markdown", str(markdown)]) == 130
    assert seen == [1]
    assert len(json.loads(out.read_text())["contests"]) == 2
    assert "## pool" in markdown.read_text()
    assert command.main(["table", "--with", str(out), "--markdown", str(markdown)]) == 0
    told = markdown.read_text()
    assert "## Bars" in told
    assert told.count(f"Measured {json.loads(out.read_text())['made']}:") == told.count("- processor:") == 1
