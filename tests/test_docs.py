"""The examples of the documentation: every spec and solver is read, every shown message and expansion is exact.

A fenced `yaml` block is a spec, a part of one (completed here), or a solver (`base_lr: ...`). What follows it directly
may be a `text` block, the message it gives, or a `yaml expanded` block, what it expands to. `yaml table` is a class
table, `yaml library` a library of blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from segspec.errors import Source, SpecError
from segspec.graph.check import check
from segspec.layers import LAYERS
from segspec.spec.classes import MAX_CLASSES, read_classes
from segspec.spec.flatten import flat_text
from segspec.spec.net import read_net
from segspec.spec.solver import Solver
from segspec.spec.solver_file import read_solver
from segspec.syntax.budget import MAX_LAYERS
from segspec.syntax.tree import Problems
from segspec.syntax.yaml import parse_yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "README.md",
    ROOT / "specs" / "LAYERS.md",
    ROOT / "specs" / "README.md",
]
_FENCE = re.compile(r"^```(.*)\n((?:(?!```).*\n)*)```$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
_HEADER = "segspec: 1\n"
_MORE = {"classes:": "classes: 11\n", "input:": "input: {height: 64, width: 64}\n", "layers:": "layers: [ReLU]\n"}
# Parts of specs in these pages refer to what is not shown.
_NEED_OTHERS = {"LAYERS.md"}


class Example(NamedTuple):
    """A fenced block, and the kind and text of the one that follows it directly, if one does."""

    page: str
    kind: str
    text: str
    then: str = ""
    result: str = ""


def _examples(page: Path) -> Iterator[Example]:
    previous: Example | None = None
    end = -1
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        if previous is not None:
            yield previous._replace(then=match[1], result=match[2]) if match.start() == end + 1 else previous
        previous, end = Example(page.name, match[1], match[2]), match.end()
    if previous is not None:
        yield previous


FENCED = [example for page in PAGES for example in _examples(page)]
EXAMPLES = [example for example in FENCED if example.kind == "yaml" and example.page not in _NEED_OTHERS]


def _completed(text: str) -> str:
    """A part of a spec as a whole one."""
    if text.startswith("segspec:") or "\nsegspec:" in text:
        return text
    if text.startswith("- "):
        text = "layers:\n" + text
    return _HEADER + "".join(line for key, line in _MORE.items() if not re.search(f"^{key}", text, re.MULTILINE)) + text


def _is_solver(text: str) -> bool:
    return re.search(r"^(base_lr|lr_policy):", text, re.MULTILINE) is not None


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{one.page}-{number}" for number, one in enumerate(EXAMPLES)])
def test_an_example_does_what_the_page_says(example: Example) -> None:
    if _is_solver(example.text):
        assert isinstance(read_solver(Source(example.page, example.text)), Solver)
        return
    source = Source("spec.yaml", _completed(example.text))
    if example.then == "text":
        with pytest.raises(SpecError) as caught:
            check(read_net(source, ROOT / "specs"))
        assert str(caught.value) == example.result.rstrip("\n")
        return
    net = read_net(source, ROOT / "specs")
    assert check(net)
    if example.then == "yaml expanded":
        assert flat_text(net) == example.result


def test_there_are_examples() -> None:
    following = [example.then for example in EXAMPLES]
    assert following.count("text") >= 2
    assert following.count("yaml expanded") >= 1
    assert len(EXAMPLES) > 20


def test_class_tables_are_read() -> None:
    tables = [example.text for example in FENCED if example.kind == "yaml table"]
    assert tables
    for text in tables:
        problems = Problems()
        assert read_classes(parse_yaml(Source("table", text)), ROOT, problems) is not None
        assert not problems.found


def test_a_library_that_is_shown_can_be_used(tmp_path: Path) -> None:
    (library,) = (example.text for example in FENCED if example.kind == "yaml library")
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks/shown.yaml").write_text(library)
    text = f"{_HEADER}use: [shown]\n{_MORE['input:']}layers: [wide: {{out: 8}}, conv_bn: {{out: 4}}]\n"
    assert check(read_net(Source("spec.yaml", text), tmp_path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target, anchor in _LINK.findall(text):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor:
            assert anchor in _anchors(path), f"{target}#{anchor}"


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_language_page_knows_the_limits() -> None:
    text = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    assert f"| layers after all macros | {MAX_LAYERS:,} |" in text
    assert f"| classes | {MAX_CLASSES} |" in text


def test_the_solver_page_names_every_field() -> None:
    text = (ROOT / "docs" / "solver.md").read_text(encoding="utf-8")
    assert not [name for name in Solver.model_fields if f"`{name}`" not in text]


def test_the_language_page_names_every_reference() -> None:
    text = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    assert not [name for layer in LAYERS for name in layer.references if f"| `{name}` |" not in text]
