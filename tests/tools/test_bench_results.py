"""The bench's statistics, what it keeps of them, and its bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bench import command
from bench.bars import Cell, Figure, further_rows, main_rows
from bench.figures import Spread, log_slope, pair_ratios, spread
from bench.report import bars, page
from bench.results import Contest, Entry, as_json, contests_of
from bench.suite_nets import refuse_other_networks
from bench.suite_scaling import find_growths, refuse_size

SCHEMA = Path(command.__file__).with_name("bench.schema.json")


def test_quartiles_lie_between_their_neighbours() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(2.0, 3.0, 4.0)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)


def test_what_slows_a_whole_round_down_cancels_in_pairs() -> None:
    assert spread(pair_ratios([1.0, 30.0, 1.0], [2.0, 60.0, 2.0])) == Spread(0.5, 0.5, 0.5)


def test_pairs_are_of_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        pair_ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_a_slope_is_the_exponent_of_growth(power: float) -> None:
    x = [1.0, 2.0, 8.0, 64.0]
    assert log_slope(x, [3.0 * value**power for value in x]) == pytest.approx(power)


def test_a_slope_needs_two_places() -> None:
    assert log_slope([4.0, 4.0], [1.0, 2.0]) is None
    assert log_slope([1.0, 2.0], [0.0, 2.0]) is None


def net_contest(
    ours: Sequence[float], theirs: Sequence[float], suite: str = "train", *, name: str = "segspec", **changes: Any
) -> Contest:
    """segspec, and two of PyTorch of which the first is the better."""
    task = {"action": suite, "network": "segnet", "size": [180, 240], "batch": 1, "precision": "float32"}
    entries = (
        Entry(name, "segspec", tuple(ours), 900, {"parameters": 5}),
        Entry("torch-nchw", "torch", tuple(theirs), 1000, {"parameters": 5}),
        Entry("torch-compile", "torch", tuple(2 * value for value in theirs), 2000, {"parameters": 5}),
    )
    return Contest(suite, {**task, "device": "cpu", **changes}, entries, (0.1, 0.2))


def test_a_ratio_is_to_the_fastest_of_torch() -> None:
    ratio = net_contest([3.0, 1.0, 1.0], [1.0, 2.0, 4.0]).ratio("segspec")
    assert ratio is not None
    assert (ratio.to, ratio.pairs, ratio.spread.median) == ("torch-nchw", (3.0, 0.5, 0.25), 0.5)


def test_memory_is_compared_with_the_least_of_torch() -> None:
    assert net_contest([1.0], [1.0]).memory_ratio("segspec") == 0.9


def test_who_fell_out_is_no_best_and_has_no_ratio() -> None:
    contest = net_contest([1.0], [1.0])
    dead = Entry("torch-nchw", "torch", (0.5,), 1, {}, "killed by SIGKILL")
    contest = Contest("train", contest.task, (contest.entries[0], dead, contest.entries[2]))
    assert contest.best is not None
    assert contest.best.name == "torch-compile"
    assert contest.ratio("torch-nchw") is None


def test_a_network_of_other_parameters_falls_out() -> None:
    contest = net_contest([1.0], [1.0])
    other = Entry("torch-nchw", "torch", (0.5,), 1, {"parameters": 6})
    contest = refuse_other_networks(Contest("train", contest.task, (contest.entries[0], other)))
    assert contest.best is None
    assert contest.entries[1].error == "another network: 6 parameters, where the spec has 5"


def document(contests: Sequence[Contest]) -> dict[str, Any]:
    options = command._options(command._parser().parse_args(["train"]))
    return {
        "version": command.VERSION,
        "made": "2026-01-01T00:00:00+00:00",
        "machine": command.describe_machine(),
        "options": command._shown(options, ["train"]),
        "contests": [as_json(contest) for contest in contests],
    }


def test_the_file_is_as_its_schema_says_and_is_read_back() -> None:
    dead = Contest("train", {}, (Entry("segspec", "segspec", error="ended with status 1"),))
    contests = [net_contest([1.0, 2.0], [1.0, 1.0]), dead]
    written = json.loads(json.dumps(document(contests)))
    jsonschema.validate(written, json.loads(SCHEMA.read_text()))
    assert contests_of(written) == contests


def test_a_page_says_that_its_figures_were_measured_beside_other_programs() -> None:
    contests = [net_contest([1.0], [1.0])]
    measured = document(contests)
    warned = []
    for load in (0.4, 2.0):
        measured["machine"] |= {"usable_cores": 2, "load": load}
        warned.append("are not to be trusted" in page([measured], contests, with_bars=False))
    del measured["machine"]["load"]  # which files of earlier versions do not have
    assert warned == [False, True] and page([measured], contests, with_bars=False)


def test_the_schema_refuses_what_is_not_of_it() -> None:
    written = document([net_contest([1.0], [1.0])])
    written["contests"][0]["contestants"][0]["values"] = ["quick"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((), "not measured"), ((0.9,), "incomplete"), ((0.9, 1.0), "pass"), ((0.9, 1.01), "fail"), ((1.01,), "fail")],
)
def test_a_bar_is_met_by_the_worst_of_all(values: tuple[float, ...], verdict: str) -> None:
    assert Cell(1.0, tuple(Figure(value, "segnet") for value in values), 2).verdict == verdict


def test_a_least_bar_is_met_from_above() -> None:
    figures = (Figure(1.3, "resize"), Figure(1.05, "crop"))
    assert Cell(1.1, figures, 2, least=True).text == "1.05 >= 1.1 **fail** (worst of 2: crop)"


def every_net() -> list[Contest]:
    """All that the first two rows ask, at half of PyTorch's time, but for one at 0.8 of it."""
    contests = []
    for suite in ("train", "infer"):
        for network in ("segnet", "segnet-basic"):
            for size in ([180, 240], [360, 480]):
                for precision in ("float32", "high", "bfloat16"):
                    slow = (suite, network, size) == ("infer", "segnet", [360, 480])
                    task = {"network": network, "size": size, "precision": precision}
                    contests.append(net_contest([0.8 if slow else 0.5], [1.0], suite, **task))
    return contests


def test_the_table_has_the_rows_and_bars_that_are_asked() -> None:
    (train, infer, pure, gpu) = main_rows(every_net())
    assert [[cell.bar for cell in cells] for cells in train[1]] == [[1.0], [0.55], [0.85]]
    assert [[cell.bar for cell in cells] for cells in infer[1]] == [[0.85], [0.45], [0.7]]
    assert [[cell.bar for cell in cells] for cells in pure[1]] == [[1.3, 1.0], [], []]
    assert [[cell.bar for cell in cells] for cells in gpu[1]] == [[0.9, 0.9], [], []]
    assert [cells[0].verdict for cells in train[1]] == ["pass", "pass", "pass"]
    assert [cells[0].verdict for cells in infer[1]] == ["pass", "fail", "fail"]
    assert infer[1][1][0].worst == Figure(0.8, "segnet 360x480")
    assert {cell.verdict for row in (pure, gpu) for cells in row[1] for cell in cells} == {"not measured"}


def test_other_batches_and_sizes_count_for_no_bar() -> None:
    others = [net_contest([9.0], [1.0], batch=4), net_contest([9.0], [1.0], size=[90, 120])]
    assert main_rows(others)[0][1][0][0].verdict == "not measured"


def test_what_gpus_did_counts_for_their_row_alone() -> None:
    rows = main_rows([net_contest([1.0], [2.0], device="gpu", precision="bfloat16")])
    assert rows[3][1][0][0].figures == (Figure(0.5, "segnet 180x240"),)
    assert rows[0][1][2][0].figures == ()


def scaling(network: str, exponent: float, sizes: Sequence[int] = (10, 20, 40)) -> list[Contest]:
    def entry(side: int) -> Entry:
        info = {"bytes_before_first_step": 1000}
        return Entry("segspec", "segspec", ((side * side) ** exponent,), 1000 + 8 * side * side, info)

    task = {"network": network, "axis": "size", "batch": 1, "precision": "float32"}
    return [Contest("scaling", {**task, "size": [side, side]}, (entry(side),)) for side in sizes]


def test_growth_is_fitted_to_time_and_to_memory_beyond_the_start() -> None:
    (growth,) = find_growths(scaling("segnet", 1.5))
    assert (growth.time, growth.memory, growth.points) == (pytest.approx(1.5), pytest.approx(1.0), 3)


def test_growth_too_steep_fails() -> None:
    found = {title: columns[0][0] for title, columns in further_rows(scaling("segnet", 1.5))}
    time, memory = (cell for title, cell in found.items() if "linearly" in title)
    assert (time.verdict, memory.verdict) == ("fail", "incomplete")


def test_a_size_that_does_not_fit_is_not_tried() -> None:
    before = scaling("segnet", 1.0, [100])[0]
    assert refuse_size(before, "segspec", 200 * 200, 10**9) is None
    assert "are free" in (refuse_size(before, "segspec", 200 * 200, 100_000) or "")
    assert refuse_size(before, "torch-nchw", 200 * 200, None) == "it did not come through the smaller task"


def start(command: str, name: str, seconds: float, **task: Any) -> Contest:
    return Contest("startup", {"command": command, "network": "segnet", **task}, (Entry(name, "segspec", (seconds,)),))


def test_starts_and_loaders_have_bars() -> None:
    data = Contest(
        "data", {"variant": "crop"}, (Entry("segspec", "segspec", (1.0,)), Entry("torch-opencv", "torch", (1.5,)))
    )
    contests = [
        start("--help", "segspec", 0.2),
        start("check", "segspec", 1.0),
        start("train, warm", "segspec-train", 5.0, size=[180, 240]),
        start("train, cold", "segspec-train", 50.0, size=[180, 240]),
        start("train, warm", "segspec-train", 50.0, size=[360, 480]),
        data,
    ]
    verdicts = [columns[0][0].verdict for _, columns in further_rows(contests)[-4:]]
    assert verdicts == ["fail", "pass", "pass", "incomplete"]


def test_the_page_tells_of_everything() -> None:
    dead = Contest("infer", net_contest([1.0], [1.0]).task, (Entry("segspec", "segspec", error="ended with status 1"),))
    contests = [net_contest([1.0], [2.0]), dead, *scaling("segnet", 1.0), start("--help", "segspec", 0.2)]
    text = page([document(contests)], contests, with_bars=True)
    for part in ("0.50", "fell out: ended with status 1", "exponent of growth", "not measured", "1.00 (best)"):
        assert part in text


def test_the_table_reads_as_text() -> None:
    lines = bars(every_net()).splitlines()
    assert len({len(line) for line in lines[:6]}) == 1
    assert lines[2].startswith("| SegNet and SegNet-Basic train, 180x240 and 360x480 | 0.5 <= 1 **pass** (worst of 4")
