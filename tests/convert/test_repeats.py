"""Repetitions become blocks, and carrying the blocks out gives back what was there."""

from __future__ import annotations

from segspec.convert.entry import Entry
from segspec.convert.repeats import recover_blocks


def conv(name: str, out: int, **more: object) -> list[Entry]:
    first = Entry("Convolution", {"name": name, "num_output": out, "kernel_size": 3, **more})
    return [first, Entry("LRN"), Entry("ReLU")]


def test_what_differs_becomes_an_argument() -> None:
    (block,), listed = recover_blocks(
        [*conv("conv1_1", 8), *conv("conv1_2", 8), *conv("conv2_1", 16), *conv("conv2_2", 8), Entry("Softmax")]
    )
    assert (block.name, dict(block.args)) == ("conv_lrn_relu", {"id": "str", "out": 8})
    assert block.items[0].fields == {"name": "conv$id", "num_output": "$out", "kernel_size": 3}
    assert [dict(entry.fields) for entry in listed] == [
        {"id": "1_1"},
        {"id": "1_2"},
        {"id": "2_1", "out": 16},
        {"id": "2_2"},
        {},
    ]


def test_numbers_in_names_are_numbers() -> None:
    (block,), listed = recover_blocks([entry for number in range(1, 5) for entry in conv(f"c{number}", 8)])
    assert block.args["id"] == "int"
    assert [entry.fields["id"] for entry in listed] == [1, 2, 3, 4]


def test_a_name_that_is_nothing_but_its_number_stays_text() -> None:
    (block,), listed = recover_blocks([entry for number in range(1, 5) for entry in conv(str(number), 8)])
    assert block.args["id"] == "str"
    assert [entry.fields["id"] for entry in listed] == ["1", "2", "3", "4"]


def test_letters_behind_the_part_of_a_name_are_told_from_it() -> None:
    (block,), _ = recover_blocks([entry for number in range(1, 5) for entry in conv(f"c{number}_x", 8)])
    assert block.items[0].fields["name"] == "c${id}_x"


def test_names_without_a_pattern_stay() -> None:
    entries = [*conv("a", 8), Entry("BN", {"name": "x"}), *conv("b", 8), Entry("BN", {"name": "y1"})]
    entries += [*conv("c", 8), Entry("BN", {"name": "z3"})]
    blocks, listed = recover_blocks(entries)
    assert not any(item.type == "BN" for block in blocks for item in block.items)
    assert [entry.fields.get("name") for entry in listed if entry.type == "BN"] == ["x", "y1", "z3"]


def test_what_saves_nothing_is_left_alone() -> None:
    entries = [*conv("c1", 8), *conv("c2", 8)]
    assert recover_blocks(entries) == ((), tuple(entries))


def test_a_reference_within_a_block_follows_its_name_and_one_outside_is_an_argument() -> None:
    entries = []
    for number, before in ((1, "data"), (2, "s1"), (3, "s2"), (4, "s3")):
        entries += conv(f"c{number}", 8)
        entries += [Entry("Eltwise", {"name": f"s{number}", "bottom": [before, f"c{number}"]})]
    (block,), listed = recover_blocks(entries)
    assert block.items[3].fields["bottom"] == ["$from", "c$id"]
    assert block.args["from"] == "ref"
    assert [entry.fields["from"] for entry in listed] == ["data", "s1", "s2", "s3"]


def test_blocks_use_blocks() -> None:
    entries = []
    for stage in (1, 2, 3):
        entries += [*conv(f"conv{stage}_1", 8), *conv(f"conv{stage}_2", 8), Entry("PoolingMask", {"name": f"p{stage}"})]
    blocks, listed = recover_blocks(entries)
    assert [len(block.items) for block in blocks][-1] == len(blocks[-1].items)
    assert len(listed) == 3
    assert sum(len(block.items) for block in blocks) < len(entries)
