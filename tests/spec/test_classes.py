"""Class tables: every way to write one, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from segspec.errors import Source, SpecError
from segspec.spec.classes import ClassTable, distinct_color, load_classes, read_classes
from segspec.spec.library import shipped
from segspec.syntax.tree import Problems
from segspec.syntax.yaml import parse_yaml

SPECS = shipped("specs")


def read(text: str, beside: Path = SPECS) -> tuple[ClassTable | None, list[str]]:
    problems = Problems()
    table = read_classes(parse_yaml(Source("x.yaml", text)), beside, problems)
    return table, [found.message for found in problems.found]


def table(text: str, beside: Path = SPECS) -> ClassTable:
    found, problems = read(text, beside)
    assert not problems
    assert found is not None
    return found


def test_camvid_is_the_table_of_the_paper() -> None:
    camvid = table("camvid")
    assert camvid.names[:3] == ("Sky", "Building", "Pole")
    assert camvid.colors[10] == (0, 128, 192)
    assert (camvid.count, camvid.ignore_label, camvid.ignore_color, camvid.ignore_name) == (11, 11, (0, 0, 0), "void")


def test_a_number_makes_numbered_classes() -> None:
    assert table("3").names == ("class 0", "class 1", "class 2")


def test_names_may_look_like_anything() -> None:
    assert table("[no, yes, 3, true, 1.50]").names == ("no", "yes", "3", "true", "1.5")


def test_colours_are_those_of_pascal_voc() -> None:
    assert [distinct_color(index) for index in (0, 1, 2, 8, 20, 255)] == [
        *((0, 0, 0), (128, 0, 0), (0, 128, 0), (64, 0, 0), (0, 64, 128), (224, 224, 192)),
    ]
    assert len({distinct_color(index) for index in range(256)}) == 256


def test_names_with_an_ignored_label_take_colours_by_themselves() -> None:
    named = ClassTable.named(("road", "3"))
    ignoring = table("{classes: [road, 3], ignore: {label: 255}}")
    assert (ignoring.names, ignoring.colors, ignoring.ignore_label) == (named.names, named.colors, 255)
    assert ignoring.ignore_color not in ignoring.colors
    assert table("{classes: [a, b], ignore: {label: 9, color: [1, 2, 3]}}").ignore_color == (1, 2, 3)
    assert table("{classes: [a, b], ids: [7, 3]}").ids == (7, 3)


def test_a_table_beside_the_spec_comes_before_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes/camvid.yaml").write_text("classes: {mine: [1, 2, 3], yours: [4, 5, 6]}\n")
    assert table("camvid", tmp_path).names == ("mine", "yours")
    assert table("classes/camvid.yaml", tmp_path).names == ("mine", "yours")


def test_cityscapes_as_published_is_the_same_classes_by_other_numbers() -> None:
    trained, published = table("cityscapes"), table("cityscapes_ids")
    assert (published.names, published.colors) == (trained.names, trained.colors)
    assert published.ids is not None
    assert sorted([*published.ids, *published.ignore_ids]) == list(range(34))
    numbers = dict(zip(published.names, published.ids, strict=True))
    assert (numbers["road"], numbers["vegetation"], numbers["train"], numbers["bicycle"]) == (7, 21, 31, 33)


@pytest.mark.parametrize(
    ("name", "count"),
    [("ade20k", 150), ("camvid32", 32), ("cityscapes", 19), ("pascal_voc", 21), ("sun_rgbd", 37)],
)
def test_the_usual_data_sets_have_tables(name: str, count: int) -> None:
    found = table(name)
    assert found.count == count
    assert found.ignore_label == (None if name == "camvid32" else 255)


def test_pascal_voc_has_the_colours_that_numbered_classes_take() -> None:
    assert table("pascal_voc").colors == table("21").colors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "'classes' must be a class table's name, a number from 2 to 255, or a list of names; got 0"),
        ("1", "'classes' must be a class table's name, a number from 2 to 255, or a list of names; got 1"),
        ("256", "'classes' must be a class table's name, a number from 2 to 255, or a list of names; got 256"),
        ("true", "'classes' must be a class table's name, a number from 2 to 255, or a list of names; got true"),
        ("2.0", "'classes' must be a class table's name, a number from 2 to 255, or a list of names; got 2.0"),
        ("[a]", "'classes' must be a class table's name, a number from 2 to 255, or a list of names; got a list of 1"),
        ("[a, [b]]", "'classes' must be a class table's name, a number from 2 to 255, or a list of names; got a list of 2"),  # noqa: E501
        ("[a, b, a]", "class 'a' is listed twice"),
        (
            "{classes: {a: [0, 0, 0], b: [1, 1, 1]}, ids: [3]}",
            "'ids' must name a number for each of the 2 classes, got 1",
        ),
        (
            "{classes: {a: [0, 0, 0], b: [1, 1, 1]}, ids: [3, 4], ignore: {label: 9, ids: [4]}}",
            "the number 4 stands twice in the 'ids' of the class table",
        ),
        (
            "{classes: {a: [0, 0, 0], b: [1, 1, 1]}, ignore: {label: 9, ids: [4]}}",
            "'ids' of the ignored label need 'ids' of the classes",
        ),
        ("[a, ~]", "a class needs a name"),
        ("[a, '']", "a class needs a name"),
        ("camvit", "no class table 'camvit' (looked for classes/camvit.yaml)"),
        ("''", "no class table '' (looked for classes/.yaml)"),
        ("{classes: [a, b, a], ignore: {label: 9}}", "class 'a' is listed twice"),
        ("{classes: [a, [b]]}", "'classes' of the class table must be a mapping, got a list of 2"),
        ("{classes: []}", "'classes' of the class table must have at least 1 entry, got a mapping"),
        ("{classes: {}}", "'classes' of the class table must have at least 1 entry, got a mapping"),
        ("{classes: {a: [1, 2]}}", "'classes.a' of the class table must be [red, green, blue], each from 0 to 255, got a list of 2"),  # noqa: E501
        ("{classes: {a: [1, 2, 256]}}", "'classes.a' of the class table must be [red, green, blue], each from 0 to 255, got a list of 3"),  # noqa: E501
        ("{classes: {a: red}}", "'classes.a' of the class table must be [red, green, blue], each from 0 to 255, got 'red'"),  # noqa: E501
        ("{classes: {a: [1, 1, 1], b: [2, 2, 2]}, ignore: {label: 1}}", "the ignored label 1 is the label of class 'b'"),  # noqa: E501
        ("{classes: {a: [1, 1, 1]}, ignore: {label: 256}}", "'ignore.label' of the class table must be at most 255, got 256"),  # noqa: E501
        ("{classes: {a: [1, 1, 1]}, ignore: 3}", "'ignore' of the class table must be a mapping, got 3"),
        ("{clases: {a: [1, 1, 1]}}", "the class table has no parameter 'clases'"),
    ],
)  # fmt: skip
def test_mistakes(text: str, message: str) -> None:
    found, problems = read(text)
    assert found is None
    assert message in problems


def test_a_table_file_that_is_no_mapping(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("- a\n- b\n")
    assert read("t.yaml", tmp_path) == (None, ["a class table is a mapping, got a list of 2"])


def test_a_command_line_names_a_table_as_a_spec_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("classes: {ground: [1, 2, 3], thing: [4, 5, 6]}\nignore: {label: 9}\n")
    own = load_classes("own.yaml")
    assert (own.names, own.ignore_label) == (("ground", "thing"), 9)
    assert load_classes("camvid").names[0] == "Sky"
    assert load_classes("[ground, thing]").names == own.names
    with pytest.raises(SpecError, match=r"--classes:1:1: no class table 'none.yaml' \(looked for none.yaml\)"):
        load_classes("none.yaml")
